/** Kysely on PostgreSQL, for migrations and the cold queries: a small pool beside the engine's own connections. */
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import type { Database, Db } from '../sql/schema.ts';
import { connectionConfig } from './connection.ts';

const connectionsMax = 6;

/** Closes its connections when it is destroyed. */
export function kyselyOn(url: string): Db {
  const pool = new pg.Pool({ ...connectionConfig(url, 'atoll queries'), max: connectionsMax });
  // An idle connection that breaks is replaced when the next query comes.
  pool.on('error', () => undefined);
  // One that breaks between two queries of a transaction tells nobody else, and unheard it would end the process.
  pool.on('connect', (client) => void client.on('error', () => undefined));
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
}

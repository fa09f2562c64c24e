/**
 * Connections to PostgreSQL: with time limits on everything, a type for each kind of value, and the kinds of failure told apart.
 */
import type { Duplex } from 'node:stream';
import pg from 'pg';
import { AtollError, codeOf } from '#protocol/errors.ts';

/** How long one statement may take, and wait for a lock another transaction holds. */
const statementMsMax = 10_000;
const lockMsMax = 5_000;
/** A process that stops in the middle of a transaction does not keep its locks for longer. */
const idleMsMax = 15_000;
const connectMsMax = 10_000;

const int8 = 20;

/** Integers as numbers: nothing of ours outgrows 2^53 but amounts of credit, which are numeric and stay text. */
const types: pg.CustomTypesConfig = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    oid === int8 && format !== 'binary' ? Number : (pg.types.getTypeParser(oid, format) as unknown),
} as pg.CustomTypesConfig;

/** `url` may hold a password, so it is never shown. */
export function connectionConfig(url: string, name: string): pg.ClientConfig {
  return {
    connectionString: url,
    application_name: name,
    types,
    keepAlive: true,
    connectionTimeoutMillis: connectMsMax,
    statement_timeout: statementMsMax,
    lock_timeout: lockMsMax,
    idle_in_transaction_session_timeout: idleMsMax,
    // The client's own limit, for a server that does not answer at all.
    query_timeout: 2 * statementMsMax,
  };
}

/** Every statement of ours goes by an index, also while a young table looks small enough to be read whole; and is planned once. */
const planning = 'SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off';

export async function connect(url: string, name: string, pipeline = false): Promise<pg.Client> {
  const client = new pg.Client({ ...connectionConfig(url, name), pipeline } as pg.ClientConfig);
  // Without a listener a connection that breaks would end the process; who uses the client sees its queries fail.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query(planning);
    return client;
  } catch (error) {
    void client.end().catch(() => undefined);
    throw error;
  }
}

/** What `send` gives to the connection goes out in one piece: a system call costs as much as a small statement. */
export function corked<T>(client: pg.Client, send: () => T): T {
  const { stream } = (client as unknown as { connection: { stream: Duplex } }).connection;
  stream.cork();
  try {
    return send();
  } finally {
    stream.uncork();
  }
}

/** SQLSTATE of an error that the server sent; null for others, such as a connection that broke. */
export function sqlState(error: unknown): string | null {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : null;
}

/** The transaction met another one and can simply be run again: deadlock, serialisation, a lock not to be had, a key just taken. */
export function isCollision(error: unknown): boolean {
  return ['40P01', '40001', '55P03', '23505', staleState].includes(sqlState(error) ?? '');
}

/** What a statement of ours that compares versions fails with: a division by zero, which nothing else of ours can do. */
const staleState = '22012';

/** Rows are not as the transaction took them to be. */
export function isStale(error: unknown): boolean {
  return sqlState(error) === staleState;
}

/** What was to be written is at fault, not the database. */
export function isBadData(error: unknown): boolean {
  return /^(22|23|54)/.test(sqlState(error) ?? '');
}

export function storageFailed(cause: unknown): AtollError {
  if (codeOf(cause) === 'storage_failed') return cause as AtollError;
  return new AtollError('storage_failed', 'The database did not take it. Try again; the log says why.', {
    cause,
  });
}

/** Throws `bad_config` for a database that cannot be reached when the process starts. */
export function cannotConnect(cause: unknown): AtollError {
  if (cause instanceof AtollError) return cause;
  return new AtollError(
    'bad_config',
    `The database of DATABASE_URL cannot be used: ${(cause as Error).message}. Start it, or correct the address.`,
  );
}

/**
 * Advisory locks, by name: what only one process may do at a time. A lock belongs to a transaction or to a connection, and the server gives it
 * back when that ends, also by kill -9, so none is ever stale.
 */
import { sql } from 'kysely';
import pg from 'pg';
import type { Trx } from '../sql/ports.ts';
import { connectionConfig } from './connection.ts';

/** "atol": the first of two keys, shared by all locks of ours; the bus has 1. */
const space = 0x61746f6c;
const keys = { sealer: 2, presences: 3, anchoring: 4 } as const;
export type LockName = keyof typeof keys;

/** Takes a lock until the end of the transaction; false when another has it. */
export async function tryLock(trx: Trx, name: LockName): Promise<boolean> {
  const { rows } = await sql<{ taken: boolean }>`
    SELECT pg_try_advisory_xact_lock(${sql.lit(space)}, ${sql.lit(keys[name])}) AS taken`.execute(trx);
  return rows[0]?.taken ?? false;
}

/** Takes a lock until the end of the transaction, however long another has it. */
export async function waitLock(trx: Trx, name: LockName): Promise<void> {
  await sql`SELECT pg_advisory_xact_lock(${sql.lit(space)}, ${sql.lit(keys[name])})`.execute(trx);
}

/** A lock that a process keeps for as long as it lives and is connected, once it has it. */
export class Leadership {
  readonly #url: string;
  readonly #name: LockName;
  #client: pg.Client | null = null;
  #isLeader = false;
  #asking: Promise<boolean> | null = null;
  #closed = false;

  constructor(url: string, name: LockName) {
    this.#url = url;
    this.#name = name;
  }

  /** Whether this process has the lock, or gets it now. Never rejects: who cannot ask does not lead. */
  isLeader(): Promise<boolean> {
    if (this.#isLeader) return Promise.resolve(true);
    this.#asking ??= this.#ask()
      .catch(() => false)
      .finally(() => (this.#asking = null));
    return this.#asking;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#asking;
    const client = this.#client;
    this.#client = null;
    this.#isLeader = false;
    await client?.end().catch(() => undefined);
  }

  async #ask(): Promise<boolean> {
    if (this.#closed) return false;
    const client = (this.#client ??= await this.#connect());
    const text = 'SELECT pg_try_advisory_lock($1, $2) AS taken';
    const { rows } = await client.query<{ taken: boolean }>(text, [space, keys[this.#name]]);
    this.#isLeader = (rows[0]?.taken ?? false) && this.#client === client;
    return this.#isLeader;
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client(connectionConfig(this.#url, `atoll ${this.#name}`));
    const lost = () => {
      if (this.#client === client) this.#client = null;
      this.#isLeader = false;
      void client.end().catch(() => undefined);
    };
    client.on('error', lost);
    client.on('end', lost);
    await client.connect();
    return client;
  }
}

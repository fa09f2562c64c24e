/**
 * The bus over PostgreSQL, for processes that share nothing else: batches as rows of an UNLOGGED table, and a doorbell (NOTIFY) with each, at most
 * 20 a second from a process and never inside a transaction that writes anything else.
 *
 * Inserts take an advisory lock before they draw their number, so numbers appear in order and a reader that asks for what comes after the last
 * one it has seen misses nothing. After a crash of the server the table is empty and its numbers begin anew: whoever connects again starts
 * from the newest row and tells of a gap. Readers also look without a bell, since a bell can be lost.
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { AtollError, codeOf } from '#protocol/errors.ts';
import { type BusMessage, readBatch } from './messages.ts';
import { Outbox } from './outbox.ts';
import { type EventBus, Listeners } from './port.ts';

export interface PostgresBusOptions {
  /** May hold a password, so it is never shown. */
  url: string;
  /** Called when the connection is lost and when it is back. */
  onState?: (connected: boolean) => void;
}

const flushMs = 50;
const pollMs = 1_000;
/** Rows older than this have been read by everybody who will. */
const keepMs = 60_000;
const reconnectMsMin = 250;
const reconnectMsMax = 2_000;
const statementMsMax = 10_000;
/** "atol", the bus: keys of advisory locks are shared by all who use the database. */
const lockKey = [0x61746f6c, 1] as const;

const create = `
  SELECT pg_advisory_xact_lock(${lockKey.join()});
  CREATE UNLOGGED TABLE IF NOT EXISTS bus (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sender text NOT NULL,
    batch bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
  );`;
const insert = `
  WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(${lockKey.join()})),
    added AS (INSERT INTO bus (sender, batch) SELECT $1, $2 FROM locked RETURNING id)
  SELECT pg_notify('atoll_bus', '') FROM added`;
const newest = 'SELECT coalesce(max(id), 0)::text AS id FROM bus';
const after = 'SELECT id::text AS id, sender, batch FROM bus WHERE bus.id > $1 ORDER BY bus.id LIMIT 500';
const prune = `DELETE FROM bus WHERE at < clock_timestamp() - interval '${keepMs} milliseconds'`;

interface Row {
  id: string;
  sender: string;
  batch: Buffer;
}

/** Throws `bad_config` when the database cannot be reached. */
export async function openPostgresBus(options: PostgresBusOptions): Promise<EventBus> {
  const bus = new PostgresBus(options);
  try {
    await bus.open();
  } catch (cause) {
    await bus.close();
    if (codeOf(cause) !== 'internal') throw cause;
    throw new AtollError(
      'bad_config',
      `The database of DATABASE_URL cannot be used: ${(cause as Error).message}. Start it, or correct the address.`,
    );
  }
  return bus;
}

class PostgresBus implements EventBus {
  readonly isShared = true;
  readonly #options: PostgresBusOptions;
  readonly #sender = randomBytes(8).toString('hex');
  readonly #heard = new Listeners<[BusMessage]>();
  readonly #gaps = new Listeners<[]>();
  readonly #outbox: Outbox;
  #client: pg.Client | null = null;
  #last = '0';
  #reading = false;
  #rung = false;
  #prunedAt = 0;
  #failures = 0;
  #timers: NodeJS.Timeout[] = [];
  #closed = false;

  constructor(options: PostgresBusOptions) {
    this.#options = options;
    this.#outbox = new Outbox(flushMs, (batch) => this.#insert(batch));
  }

  async open(): Promise<void> {
    await this.#connect();
    this.#timers.push(setInterval(() => this.#ring(), pollMs));
  }

  publish(message: BusMessage): void {
    if (this.#client) this.#outbox.push(message);
  }

  subscribe(listener: (message: BusMessage) => void): () => void {
    return this.#heard.add(listener);
  }

  onGap(listener: () => void): () => void {
    return this.#gaps.add(listener);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    await this.#outbox.close();
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => undefined);
  }

  async #connect(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#options.url,
      application_name: 'atoll bus',
      keepAlive: true,
      connectionTimeoutMillis: statementMsMax,
      query_timeout: statementMsMax,
    });
    client.on('error', () => this.#lost(client));
    client.on('end', () => this.#lost(client));
    client.on('notification', () => this.#ring());
    try {
      await client.connect();
      // Hints are not worth a flush of the log.
      await client.query('SET synchronous_commit = off');
      await client.query(`SET statement_timeout = ${statementMsMax}`);
      await client.query(create);
      await client.query('LISTEN atoll_bus');
      this.#last = (await client.query<{ id: string }>(newest)).rows[0]?.id ?? '0';
    } catch (error) {
      void client.end().catch(() => undefined);
      throw error;
    }
    if (this.#closed) return void client.end().catch(() => undefined);
    this.#client = client;
    this.#failures = 0;
    this.#options.onState?.(true);
  }

  #lost(client: pg.Client): void {
    if (this.#client !== client || this.#closed) return;
    this.#client = null;
    this.#options.onState?.(false);
    this.#reconnectLater();
  }

  #reconnectLater(): void {
    if (this.#closed) return;
    const ms = Math.min(reconnectMsMax, reconnectMsMin * 2 ** Math.min(8, this.#failures++));
    this.#timers = this.#timers.slice(0, 1);
    this.#timers.push(
      setTimeout(() => {
        this.#connect().then(
          () => this.#gaps.call(),
          () => this.#reconnectLater(),
        );
      }, ms),
    );
  }

  async #insert(batch: Uint8Array): Promise<void> {
    const client = this.#client;
    if (!client) return;
    await client.query({ name: 'insert', text: insert, values: [this.#sender, Buffer.from(batch)] });
    const now = performance.now();
    if (now - this.#prunedAt < keepMs / 2) return;
    this.#prunedAt = now;
    await client.query(prune);
  }

  /** Somebody has, or may have, said something. */
  #ring(): void {
    this.#rung = true;
    if (!this.#reading) void this.#read();
  }

  async #read(): Promise<void> {
    this.#reading = true;
    while (this.#rung && this.#client) {
      this.#rung = false;
      try {
        const { rows } = await this.#client.query<Row>({ name: 'after', text: after, values: [this.#last] });
        for (const row of rows) this.#deliver(row);
        if (rows.length > 0) this.#rung = true;
      } catch {
        break; // the connection's own handlers see to it; the next poll reads again
      }
    }
    this.#reading = false;
  }

  #deliver({ id, sender, batch }: Row): void {
    this.#last = id;
    if (sender === this.#sender) return;
    for (const message of readBatch(batch)) this.#heard.call(message);
  }
}

/**
 * Runs operations on PostgreSQL: group commit over a few connections, many operations to a transaction, callers resolved only after COMMIT.
 *
 * A batch loads what its operations say they will read, runs them in order over those rows, and writes what changed. Meeting another transaction
 * (a deadlock, a lock, a key that was just taken) it runs again; losing the database it fails for all its callers with `storage_failed`. Where
 * the data itself is refused, the operations run one by one, so that the one at fault fails alone.
 */
import type pg from 'pg';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { type Climate, type Engine, Miss, type Operation, type Search } from '../../record/view.ts';
import { Batch } from './batch.ts';
import { connect, isBadData, isCollision, storageFailed } from './connection.ts';
import { Loader, type Place, poolPrefix, Wanted } from './loader.ts';
import { commit, statementsOf } from './writer.ts';

export interface EngineOptions {
  url: string;
  climate: () => Climate;
  now?: () => number;
  flushMs?: number;
  batchMax?: number;
  /** Batches under way at a time, each on a connection of its own. */
  connections?: number;
  onBatch?: (size: number, ms: number) => void;
  /** Called when the first of its connections is there again and when the last one is lost. */
  onState?: (connected: boolean) => void;
}

interface Pending {
  operation: Operation<unknown>;
  resolve: (value: never) => void;
  reject: (error: unknown) => void;
}

type Outcome = { ok: true; value: unknown } | { ok: false; error: unknown };

const collisionsMax = 8;
/** Rounds of loading what operations turned out to read, before a batch is given up. */
const missesMax = 32;
const reconnectMsMin = 100;
const reconnectMsMax = 2_000;
/** Windows of up to so many units are loaded whole; of larger ones a random stretch. */
const stretchMin = 64;
/** The bounds of a long stretch of the queue are looked up this often. */
const windowMs = 200;

export class PostgresEngine implements Engine {
  readonly #options: EngineOptions;
  readonly #batchMax: number;
  readonly #idle: pg.Client[] = [];
  readonly #all = new Set<pg.Client>();
  #queue: Pending[] = [];
  #timer: NodeJS.Timeout | null = null;
  #busy = 0;
  #window: { size: number; at: number; first: number; last: number } | null = null;
  /** An operation has been seen to read about the other contributors of its unit: they are loaded with the rest from then on. */
  #judgesAll = false;
  /** The same of the purses of the units' jobs. */
  #readsPools = false;
  #closed = false;
  readonly #reconnects = new Set<NodeJS.Timeout>();
  #drained: (() => void) | null = null;

  private constructor(options: EngineOptions) {
    this.#options = options;
    this.#batchMax = options.batchMax ?? 256;
  }

  /** Rejects when the database cannot be reached. */
  static async open(options: EngineOptions): Promise<PostgresEngine> {
    const engine = new PostgresEngine(options);
    try {
      for (let i = 0; i < (options.connections ?? 2); i++) await engine.#connect();
    } catch (error) {
      await engine.close();
      throw error;
    }
    return engine;
  }

  get isConnected(): boolean {
    return this.#all.size > 0;
  }

  run<T>(operation: Operation<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new AtollError('unavailable', 'The storage is closed.'));
    if (this.#all.size === 0) {
      return Promise.reject(storageFailed(new Error('There is no connection to the database.')));
    }
    if (this.#queue.length >= limits.operationsQueueMax) {
      return Promise.reject(new AtollError('unavailable', 'The database is behind. Try again in a moment.'));
    }
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ operation, resolve: resolve as (value: never) => void, reject });
      if (this.#queue.length >= this.#batchMax) this.#flush();
      else this.#timer ??= setTimeout(() => this.#flush(), this.#options.flushMs ?? 5);
    });
  }

  /** Finishes what is queued, then closes its connections. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#reconnects) clearTimeout(timer);
    this.#flush();
    if (this.#busy > 0) await new Promise<void>((resolve) => (this.#drained = resolve));
    const lost = storageFailed(new Error('The storage was closed.'));
    for (const { reject } of this.#queue.splice(0)) reject(lost);
    await Promise.all([...this.#all].map((client) => client.end().catch(() => undefined)));
  }

  /** Starts as many batches as there are connections for. What arrives while all are busy makes the next batch. */
  #flush(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    while (this.#queue.length > 0) {
      const client = this.#idle.pop();
      if (!client) return;
      const pending = this.#queue.splice(0, this.#batchMax);
      this.#busy++;
      void this.#runBatch(client, pending).finally(() => {
        this.#busy--;
        if (this.#all.has(client)) this.#idle.push(client);
        if (this.#queue.length > 0) this.#flush();
        if (this.#busy === 0) this.#drained?.();
      });
    }
  }

  async #runBatch(client: pg.Client, pending: readonly Pending[]): Promise<void> {
    const startedAt = performance.now();
    try {
      const outcomes = await this.#transact(client, pending);
      this.#options.onBatch?.(pending.length, performance.now() - startedAt);
      outcomes.forEach((outcome, i) => {
        const { resolve, reject } = pending[i] as Pending;
        if (outcome.ok) resolve(outcome.value as never);
        else reject(outcome.error);
      });
    } catch (error) {
      if (isBadData(error) && pending.length > 1) {
        for (const each of pending) await this.#runBatch(client, [each]);
        return;
      }
      const failure = storageFailed(error);
      for (const { reject } of pending) reject(failure);
    }
  }

  /** One transaction, run again when it meets another one. */
  async #transact(client: pg.Client, pending: readonly Pending[]): Promise<Outcome[]> {
    const wanted = new Wanted();
    for (const { operation } of pending) wanted.add(operation.hints);
    for (let collisions = 0; ; collisions++) {
      try {
        return await this.#tryOnce(client, pending, wanted);
      } catch (error) {
        await client.query('ROLLBACK').catch(() => undefined);
        if (!isCollision(error) || collisions === collisionsMax) throw error;
        // Two that met would meet again at the same step.
        await new Promise((resolve) => setTimeout(resolve, (1 + Math.random()) * 2 ** collisions));
      }
    }
  }

  async #tryOnce(client: pg.Client, pending: readonly Pending[], wanted: Wanted): Promise<Outcome[]> {
    const batch = new Batch(this.#options.climate());
    const loader = new Loader(client, batch);
    const searches = pending.flatMap(({ operation }) => operation.hints.search ?? []);
    const place = await this.#place(client, searches);
    const touched = await this.#touched(loader, searches, wanted);
    const overdue = mostOf(searches);
    wanted.judgesAll = this.#judgesAll;
    wanted.readsPools = this.#readsPools;
    const begun = client.query('BEGIN');
    const loading = loader.load(wanted, { wait: true, place, overdue });
    const [, late] = await Promise.all([begun, loading]);
    const offers = new Offers(batch, late, touched);
    const outcomes = await this.#settle(pending, batch, loader, wanted, offers);
    await commit(client, statementsOf(batch, (this.#options.now ?? Date.now)()));
    return outcomes;
  }

  /** Runs the operations until none reads what is not there. */
  async #settle(
    pending: readonly Pending[],
    batch: Batch,
    loader: Loader,
    wanted: Wanted,
    offers: Offers,
  ): Promise<Outcome[]> {
    for (let rounds = 0; rounds < missesMax; rounds++) {
      const misses: Miss[] = [];
      const outcomes = pending.map(({ operation }): Outcome => {
        const offered = offers.of(operation.hints.search);
        try {
          return { ok: true, value: batch.attempt(() => operation.run(batch, offered)) };
        } catch (error) {
          if (error instanceof Miss) misses.push(error);
          return { ok: false, error };
        }
      });
      if (misses.length === 0) return outcomes;
      batch.reset();
      for (const { hints } of misses) wanted.add(hints);
      this.#learn(misses);
      await loader.load(wanted, { wait: false });
    }
    throw new AtollError('internal', 'Operations read more and more rows that were not loaded.');
  }

  /** What operations read without saying so, the next batches load with the rest. */
  #learn(misses: readonly Miss[]): void {
    for (const { hints } of misses) {
      if (hints.contributors) this.#judgesAll = true;
      if (hints.accounts?.some((id) => id.startsWith(poolPrefix))) this.#readsPools = true;
    }
  }

  async #touched(loader: Loader, searches: readonly Search[], wanted: Wanted): Promise<Map<Search, Cid[]>> {
    const found = new Map<Search, Cid[]>();
    for (const search of searches) {
      if (search.kind !== 'touched') continue;
      const units = await loader.touched(search);
      found.set(search, units);
      wanted.add({ units });
    }
    return found;
  }

  /** A random stretch of the queue's window, long enough for all who ask. */
  async #place(client: pg.Client, searches: readonly Search[]): Promise<Place | null> {
    const asks = searches.filter((search) => search.kind === 'work');
    if (asks.length === 0) return null;
    const size = Math.max(...asks.map((search) => search.window));
    // Every ask may take a unit out of the window, and another one comes in at its end.
    if (size <= stretchMin) return { from: -Infinity, most: size + asks.length };
    const most = stretchMin + asks.length;
    const { first, last } = await this.#bounds(client, size);
    // As much before the first as a stretch is long, and none that reaches beyond the last: both ends come up as often as the middle.
    const length = ((last - first) * most) / size;
    const random = (asks[0] as (typeof asks)[0]).random / 2 ** 32;
    return {
      from: Math.min(first - length + random * (last - first + length), last - length + length / most),
      most,
    };
  }

  async #bounds(client: pg.Client, size: number): Promise<{ first: number; last: number }> {
    const now = performance.now();
    const known = this.#window;
    if (known && known.size >= size && known.size < 2 * size && now - known.at < windowMs) return known;
    const { rows } = await client.query<{ first: number | null; last: number | null }>({
      name: 'window',
      text: `SELECT min(queue) AS first, max(queue) AS last FROM
        (SELECT queue FROM units WHERE wanted > 0 AND paused = 0 ORDER BY queue LIMIT $1) w`,
      values: [size],
    });
    const { first, last } = rows[0] ?? { first: 0, last: 0 };
    this.#window = { size, at: now, first: first ?? 0, last: last ?? 0 };
    return this.#window;
  }

  async #connect(): Promise<void> {
    const client = await connect(this.#options.url, 'atoll', true);
    if (this.#closed) return void client.end().catch(() => undefined);
    client.on('error', () => this.#lost(client));
    client.on('end', () => this.#lost(client));
    this.#all.add(client);
    this.#idle.push(client);
    if (this.#all.size === 1) this.#options.onState?.(true);
    this.#flush();
  }

  #lost(client: pg.Client): void {
    if (!this.#all.delete(client)) return;
    const at = this.#idle.indexOf(client);
    if (at >= 0) this.#idle.splice(at, 1);
    void client.end().catch(() => undefined);
    if (this.#closed) return;
    if (this.#all.size === 0) {
      this.#options.onState?.(false);
      const failure = storageFailed(new Error('The connection to the database was lost.'));
      for (const { reject } of this.#queue.splice(0)) reject(failure);
    }
    this.#reconnect(0);
  }

  #reconnect(failures: number): void {
    if (this.#closed) return;
    const timer = setTimeout(
      () => {
        this.#reconnects.delete(timer);
        this.#connect().catch(() => this.#reconnect(failures + 1));
      },
      Math.min(reconnectMsMax, reconnectMsMin * 2 ** Math.min(8, failures)),
    );
    this.#reconnects.add(timer);
  }
}

/** One look for what is overdue serves all that ask. */
function mostOf(searches: readonly Search[]): Search | null {
  const asked = searches.filter((search) => search.kind === 'due');
  if (asked.length === 0) return null;
  return {
    kind: 'due',
    before: Math.max(...asked.map(({ before }) => before)),
    most: Math.max(...asked.map(({ most }) => most)),
  };
}

/** What was found for each operation that searched. */
class Offers {
  readonly #batch: Batch;
  readonly #due: readonly Cid[];
  readonly #touched: ReadonlyMap<Search, readonly Cid[]>;
  #work: readonly Cid[] | null = null;

  constructor(batch: Batch, due: readonly Cid[], touched: ReadonlyMap<Search, readonly Cid[]>) {
    this.#batch = batch;
    this.#due = due;
    this.#touched = touched;
  }

  of(search: Search | undefined): readonly Cid[] {
    if (!search) return [];
    if (search.kind === 'touched') return this.#touched.get(search) ?? [];
    if (search.kind === 'work') return this.#workFor(search);
    const isDue = (cid: Cid) => (this.#batch.unit(cid)?.dueAt ?? Infinity) < search.before;
    return this.#due.filter(isDue).slice(0, search.most);
  }

  /** From a random place of the window on, without what earlier operations of the batch have taken meanwhile. */
  #workFor({ random, window, most }: Extract<Search, { kind: 'work' }>): Cid[] {
    this.#work ??= this.#batch.wanting();
    const wants = (cid: Cid) => (this.#batch.unit(cid)?.wanted ?? 0) > 0;
    const inWindow = window <= stretchMin ? firstOf(this.#work, window, wants) : this.#work;
    const { length } = inWindow;
    const from = Math.floor((random / 2 ** 32) * length);
    const offered: Cid[] = [];
    for (let i = 0; i < length && offered.length < most; i++) {
      const cid = inWindow[(from + i) % length] as Cid;
      if (wants(cid)) offered.push(cid);
    }
    return offered;
  }
}

function firstOf<T>(list: readonly T[], most: number, test: (item: T) => boolean): T[] {
  const found: T[] = [];
  for (const item of list) {
    if (found.length === most) break;
    if (test(item)) found.push(item);
  }
  return found;
}

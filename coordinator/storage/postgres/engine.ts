/**
 * Runs operations on PostgreSQL: group commit, many operations to a transaction, callers resolved only after COMMIT.
 *
 * One batch is under way at a time unless more connections are asked for: what arrives meanwhile makes the next one larger, and what this process
 * knows of the database is then exact but for what others do. Meeting another transaction (a deadlock, a lock, a key that was just taken) a
 * batch runs again; losing the database it fails for all its callers with `storage_failed`. Where the data itself is refused, the operations
 * run one by one, so that the one at fault fails alone.
 */
import type pg from 'pg';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { Climate, Engine, Operation } from '../../record/view.ts';
import type { AgreedUnit } from '../port.ts';
import { replicaRecord } from '../sql/units.ts';
import { RowCache } from './cache.ts';
import { connect, isBadData, isCollision, isStale, storageFailed } from './connection.ts';
import { BatchTransaction, type Outcome, type Pending as Asked } from './transaction.ts';
import { type Slice, WorkWindow } from './work-window.ts';

export interface EngineOptions {
  url: string;
  climate: () => Climate;
  now?: () => number;
  flushMs?: number;
  batchMax?: number;
  /** Batches under way at a time, each on a connection of its own. */
  connections?: number;
  /** This process's part of the work that nobody has begun; all of it unless said otherwise. */
  slice?: () => Slice;
  onBatch?: (size: number, ms: number) => void;
  /** Called when the first of its connections is there again and when the last one is lost. */
  onState?: (connected: boolean) => void;
}

interface Pending extends Asked {
  resolve: (value: never) => void;
  reject: (error: unknown) => void;
}

const collisionsMax = 8;
/** After a batch was refused, so many others go the careful way, and twice as many after every further one. */
const carefulMin = 8;
const carefulMax = 512;
const knownMs = 1_000;
const reconnectMsMin = 100;
const reconnectMsMax = 2_000;
export class PostgresEngine implements Engine {
  readonly #options: EngineOptions;
  readonly #batchMax: number;
  readonly #cache = new RowCache();
  readonly #window: WorkWindow;
  readonly #idle: pg.Client[] = [];
  readonly #all = new Set<pg.Client>();
  #queue: Pending[] = [];
  #timer: NodeJS.Timeout | null = null;
  #busy = 0;
  /** Batches that still go the careful way, and how many did at the last time. */
  #careful = 0;
  #carefulFor = carefulMin;
  #closed = false;
  readonly #reconnects = new Set<NodeJS.Timeout>();
  #drained: (() => void) | null = null;

  private constructor(options: EngineOptions) {
    this.#options = options;
    this.#batchMax = options.batchMax ?? 256;
    this.#window = new WorkWindow(this.#cache, options.slice ?? (() => ({ index: 0, count: 1 })));
  }

  /** Rejects when the database cannot be reached. */
  static async open(options: EngineOptions): Promise<PostgresEngine> {
    const engine = new PostgresEngine(options);
    try {
      for (let i = 0; i < (options.connections ?? 1); i++) await engine.#connect();
    } catch (error) {
      await engine.close();
      throw error;
    }
    return engine;
  }

  get isConnected(): boolean {
    return this.#all.size > 0;
  }

  /** A unit that this process has seen agreed a moment ago; null where the database has to be asked. */
  agreed(cid: Cid): AgreedUnit | null {
    const known = this.#cache.unit(cid);
    if (known?.row.phase !== 'agreed' || performance.now() - known.writtenAt > knownMs) return null;
    const { attempt, digest } = known.row;
    return { cid, attempt, digest, replicas: known.replicas.map(replicaRecord) };
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
      const at = performance.now();
      this.#queue.push({ operation, at, resolve: resolve as (value: never) => void, reject });
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
    for (let collisions = 0; ; collisions++) {
      const now = (this.#options.now ?? Date.now)();
      const shared = { cache: this.#cache, window: this.#window, climate: this.#options.climate() };
      const transaction = new BatchTransaction(client, pending, shared);
      try {
        const outcomes = await transaction.run(now, this.#careful > 0, collisions > 0);
        this.#noteSuccess();
        return outcomes;
      } catch (error) {
        if (isStale(error)) this.#noteStale();
        if (!isStale(error)) transaction.batch.forget();
        await client.query('ROLLBACK').catch(() => undefined);
        if (!isCollision(error) || collisions === collisionsMax) throw error;
        if (isStale(error)) continue;
        // Two that met would meet again at the same step.
        await new Promise((resolve) => setTimeout(resolve, (1 + Math.random()) * 2 ** collisions));
      }
    }
  }

  /** Others change what this process works on: it takes locks first for a while. */
  #noteStale(): void {
    this.#careful = this.#carefulFor;
    this.#carefulFor = Math.min(carefulMax, 2 * this.#carefulFor);
  }

  #noteSuccess(): void {
    if (this.#careful > 0) this.#careful--;
    else this.#carefulFor = Math.max(carefulMin, this.#carefulFor / 2);
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
    this.#cache.clear();
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

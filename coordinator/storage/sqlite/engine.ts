/**
 * Group commit on SQLite: operations queue up, run one after the other inside one transaction, and one sync of the log makes them all durable.
 *
 * An operation that throws leaves nothing and takes nothing else with it. The disk syncs in a thread of its own while the next batch fills up and
 * runs, and callers are resolved only after it. A batch whose transaction is lost (disk full, I/O error) fails for all its callers with
 * `storage_failed`, and none of it is on disk. Everything within a batch happens in one turn of the event loop; whoever needs several turns takes the
 * connection for itself (`alone`), and batches wait.
 */
import type BetterSqlite3 from 'better-sqlite3';
import { AtollError } from '#protocol/errors.ts';
import type { Engine, Operation } from '../../record/view.ts';
import { partsOf } from './parts.ts';
import type { SqliteStore } from './store.ts';

export interface EngineOptions {
  flushMs: number;
  batchMax: number;
  now: () => number;
  /** Makes durable what has been committed so far; unless given, a commit does that. */
  sync?: () => Promise<void>;
  onBatch?: (size: number, ms: number) => void;
  /** The tables lag behind the journal by so much time at most. */
  settleMs?: number;
}

const settleMsDefault = 2_000;
/** Rows that the tables may lack: what happens to a row until they follow is written once, and writing so many takes some 50 ms. */
const pendingMax = 8_192;

interface Caller {
  done: () => void;
  failed: (error: unknown) => void;
}

interface Pending {
  operation: Operation<unknown>;
  resolve: (value: never) => void;
  reject: (error: unknown) => void;
}

export class SqliteEngine implements Engine {
  readonly #db: BetterSqlite3.Database;
  readonly #store: SqliteStore;
  readonly #options: EngineOptions;
  readonly #statements: Record<'begin' | 'commit' | 'rollback', BetterSqlite3.Statement>;
  #queue: Pending[] = [];
  #timer: NodeJS.Timeout | null = null;
  #settling: NodeJS.Timeout | null = null;
  /** Since when the tables lag behind, by the clock of the process. */
  #behindSince = 0;
  /** Those whose transaction has been committed, and not synced yet. */
  #unsynced: Caller[] = [];
  #syncing: Promise<void> | null = null;
  #isSynced = true;
  /** A sync failed: what was committed before may be lost, so nothing that comes after may be acknowledged. */
  #broken: AtollError | null = null;
  /** Those who have the connection for themselves, one after the other. */
  #taken: Promise<unknown> = Promise.resolve();
  #isTaken = false;
  #closed = false;

  constructor(db: BetterSqlite3.Database, store: SqliteStore, options: EngineOptions) {
    this.#db = db;
    this.#store = store;
    this.#options = options;
    this.#statements = {
      begin: db.prepare('BEGIN IMMEDIATE'),
      commit: db.prepare('COMMIT'),
      rollback: db.prepare('ROLLBACK'),
    };
  }

  run<T>(operation: Operation<T>): Promise<T> {
    if (this.#closed) return Promise.reject(closed());
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ operation, resolve: resolve as (value: never) => void, reject });
      if (this.#queue.length >= this.#options.batchMax) this.flush();
      else this.#timer ??= setTimeout(() => this.flush(), this.#options.flushMs);
    });
  }

  /** Runs `work` while no batch does, for what takes several turns of the event loop. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(closed());
    const done = this.#taken.then(async () => {
      this.#isTaken = true;
      try {
        return await work();
      } finally {
        this.#isTaken = false;
        this.#isSynced = false;
        // Before the next one gets it, so that no number of them keeps batches waiting.
        this.flush();
      }
    });
    this.#taken = done.catch(() => undefined);
    return done;
  }

  /** Resolves once everything that has been committed is durable. */
  durable(): Promise<void> {
    if (this.#broken) return Promise.reject(this.#broken);
    if (!this.#options.sync || (this.#isSynced && !this.#syncing)) return Promise.resolve();
    return new Promise((done, failed) => this.#await([{ done, failed }]));
  }

  /** `alone`, in a transaction, for what needs one turn only; the tables follow with it if they will soon anyway. Throws `storage_failed`. */
  transaction<T>(work: () => T): Promise<T> {
    return this.alone(async () =>
      this.#inTransaction(() => {
        const value = work();
        // What the sealer has yet to get to stays in the journal, to be written once.
        const isDue = performance.now() - this.#behindSince > this.#settleMs / 2;
        if (isDue && !this.#store.lacks(['transfers'])) this.settle();
        return value;
      }),
    );
  }

  get #settleMs(): number {
    return this.#options.settleMs ?? settleMsDefault;
  }

  /** Brings the tables up to what the batches have made of them. Throws `storage_failed`. */
  settle(): void {
    if (this.#settling) clearTimeout(this.#settling);
    this.#settling = null;
    if (!this.#store.isSettled) this.#inTransaction(() => this.#store.settle());
  }

  /**
   * The same as far as a statement of others needs it. One that writes finds the journal empty: what is in there comes up again after a crash, and
   * must be older than what others wrote. Throws `storage_failed`.
   */
  settleFor(text: string): void {
    const { parts, writes } = partsOf(text);
    if (parts.length === 0) return;
    if (writes) this.settle();
    else if (this.#store.lacks(parts)) this.#inTransaction(() => this.#store.settle(parts));
  }

  /** A transaction of its own, or part of one that is under way: then whoever began that sees to it when it is lost. */
  #inTransaction<T>(work: () => T): T {
    if (this.#db.inTransaction) return work();
    try {
      this.#statements.begin.run();
      const value = work();
      this.#statements.commit.run();
      return value;
    } catch (cause) {
      this.#undo();
      throw storageFailed(cause);
    }
  }

  /** Commits what has queued up, unless somebody has the connection: then it is committed after them. */
  flush(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#queue.length === 0 || this.#isTaken) return;
    const batch = this.#queue;
    this.#queue = [];
    const startedAt = performance.now();
    const callers = this.#broken ? failedBy(batch, this.#broken) : this.#commitBatch(batch);
    this.#options.onBatch?.(batch.length, performance.now() - startedAt);
    this.#await(callers);
    if (this.#store.pending > pendingMax || this.#store.isFull) this.#settleSoon(0);
    else if (!this.#store.isSettled) this.#settleSoon(this.#settleMs);
  }

  /** What was asked before is done; what is asked from now on is refused. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#taken;
    this.flush();
    if (!this.#broken) this.settle();
    await this.#syncing;
    if (this.#settling) clearTimeout(this.#settling);
  }

  #settleSoon(ms: number): void {
    if (this.#settling && ms > 0) return;
    if (this.#settling) clearTimeout(this.#settling);
    else this.#behindSince = performance.now();
    this.#settling = setTimeout(() => {
      this.#settling = null;
      if (this.#isTaken) return this.#settleSoon(this.#options.flushMs);
      try {
        this.settle();
        if (this.#store.isFull) this.#store.trim();
      } catch {
        // The journal has it all: the next batch, or whoever reads the tables, tries again and says so.
      }
    }, ms).unref();
  }

  #await(callers: readonly Caller[]): void {
    if (!this.#options.sync) {
      for (const { done } of callers) done();
      return;
    }
    for (const caller of callers) this.#unsynced.push(caller);
    this.#syncing ??= this.#syncAll(this.#options.sync).finally(() => (this.#syncing = null));
  }

  /** One sync after the other, each for all that was committed before it began. */
  async #syncAll(sync: () => Promise<void>): Promise<void> {
    while (this.#unsynced.length > 0) {
      const callers = this.#unsynced;
      this.#unsynced = [];
      try {
        if (!this.#broken && !this.#isSynced) {
          this.#isSynced = true;
          await sync();
        }
      } catch (cause) {
        this.#broken = syncFailed(cause);
      }
      for (const { done, failed } of callers) {
        if (this.#broken) failed(this.#broken);
        else done();
      }
    }
  }

  /** What to tell each caller, once the transaction is durable. */
  #commitBatch(batch: readonly Pending[]): Caller[] {
    try {
      this.#statements.begin.run();
      this.#store.now = this.#options.now();
      const callers = batch.map((pending) => this.#runOne(pending));
      this.#store.save();
      this.#statements.commit.run();
      this.#isSynced = false;
      return callers;
    } catch (cause) {
      this.#undo();
      return failedBy(batch, storageFailed(cause));
    }
  }

  /** Throws only when the whole transaction is lost. */
  #runOne({ operation, resolve, reject }: Pending): Caller {
    try {
      const value = this.#store.runNow(operation);
      return { done: () => resolve(value as never), failed: reject };
    } catch (error) {
      if (isDatabaseError(error) || !this.#db.inTransaction) throw error;
      return { done: () => reject(error), failed: reject };
    }
  }

  #undo(): void {
    this.#store.reset();
    try {
      if (this.#db.inTransaction) this.#statements.rollback.run();
    } catch {
      // The next BEGIN says what is wrong.
    }
  }
}

function failedBy(batch: readonly Pending[], error: AtollError): Caller[] {
  return batch.map(({ reject }) => ({ done: () => reject(error), failed: reject }));
}

/** SQLite may have rolled the transaction back by itself, or be unable to go on. */
function isDatabaseError(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && code.startsWith('SQLITE_');
}

export function storageFailed(cause: unknown): AtollError {
  return new AtollError(
    'storage_failed',
    'The database could not be written. Check the disk space and permissions of the data directory.',
    { cause },
  );
}

/** What a disk has not taken it may have dropped, so a second try that succeeds would prove nothing: only reading it all again does. */
function syncFailed(cause: unknown): AtollError {
  return new AtollError(
    'storage_failed',
    'The disk did not take what was written, so nothing more is acknowledged. Check it, and start the coordinator again.',
    { cause },
  );
}

function closed(): AtollError {
  return new AtollError('unavailable', 'The storage is closed.');
}

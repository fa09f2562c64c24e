/**
 * Group commit on SQLite: operations queue up, run one after the other inside one transaction, and one fsync makes them all durable.
 *
 * An operation that throws leaves nothing and takes nothing else with it. Callers are resolved only after COMMIT. A batch whose transaction is
 * lost (disk full, I/O error) fails for all its callers with `storage_failed`, and none of it is on disk. Everything within a batch happens in
 * one turn of the event loop; whoever needs several turns takes the connection for itself (`alone`), and batches wait.
 */
import type BetterSqlite3 from 'better-sqlite3';
import { AtollError } from '#protocol/errors.ts';
import type { Engine, Operation } from '../../record/view.ts';
import type { SqliteStore } from './store.ts';

export interface EngineOptions {
  flushMs: number;
  batchMax: number;
  now: () => number;
  onBatch?: (size: number, ms: number) => void;
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
        // Before the next one gets it, so that no number of them keeps batches waiting.
        this.flush();
      }
    });
    this.#taken = done.catch(() => undefined);
    return done;
  }

  /** Commits what has queued up, unless somebody has the connection: then it is committed after them. */
  flush(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#queue.length === 0 || this.#isTaken) return;
    const batch = this.#queue;
    this.#queue = [];
    const startedAt = performance.now();
    const settle = this.#commitBatch(batch);
    this.#options.onBatch?.(batch.length, performance.now() - startedAt);
    for (const done of settle) done();
  }

  /** What was asked before is done; what is asked from now on is refused. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#taken;
    this.flush();
  }

  /** What to tell each caller, once the transaction has ended. */
  #commitBatch(batch: readonly Pending[]): (() => void)[] {
    try {
      this.#statements.begin.run();
      this.#store.now = this.#options.now();
      const settle = batch.map((pending) => this.#runOne(pending));
      this.#store.write();
      this.#statements.commit.run();
      this.#store.trim();
      return settle;
    } catch (cause) {
      this.#undo();
      const error = storageFailed(cause);
      return batch.map(
        ({ reject }) =>
          () =>
            reject(error),
      );
    }
  }

  /** Throws only when the whole transaction is lost. */
  #runOne({ operation, resolve, reject }: Pending): () => void {
    try {
      const value = this.#store.runNow(operation);
      return () => resolve(value as never);
    } catch (error) {
      if (isDatabaseError(error) || !this.#db.inTransaction) throw error;
      return () => reject(error);
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

function closed(): AtollError {
  return new AtollError('unavailable', 'The storage is closed.');
}

/**
 * Group commit: operations queue up, and one transaction with one fsync makes many of them durable.
 *
 * Each operation has a savepoint of its own, so one that throws takes nothing else with it. A caller is resolved only after COMMIT. A batch whose
 * transaction is lost (disk full, I/O error) fails for all its callers with `storage_failed`, and none of it is on disk.
 */
import type BetterSqlite3 from 'better-sqlite3';
import { AtollError } from '#protocol/errors.ts';

export interface GroupCommitOptions {
  flushMs: number;
  batchMax: number;
  onBatch?: (size: number, ms: number) => void;
}

interface Pending {
  run: () => unknown;
  resolve: (value: never) => void;
  reject: (error: unknown) => void;
}

export class GroupCommit {
  readonly #db: BetterSqlite3.Database;
  readonly #options: GroupCommitOptions;
  readonly #statements: Record<
    'begin' | 'commit' | 'rollback' | 'save' | 'undo' | 'keep',
    BetterSqlite3.Statement
  >;
  #queue: Pending[] = [];
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(db: BetterSqlite3.Database, options: GroupCommitOptions) {
    this.#db = db;
    this.#options = options;
    this.#statements = {
      begin: db.prepare('BEGIN IMMEDIATE'),
      commit: db.prepare('COMMIT'),
      rollback: db.prepare('ROLLBACK'),
      save: db.prepare('SAVEPOINT op'),
      undo: db.prepare('ROLLBACK TO op'),
      keep: db.prepare('RELEASE op'),
    };
  }

  /** Resolves with what `operation` returned once it is durable. */
  run<T>(operation: () => T): Promise<T> {
    if (this.#closed) return Promise.reject(new AtollError('unavailable', 'The storage is closed.'));
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ run: operation, resolve: resolve as (value: never) => void, reject });
      if (this.#queue.length >= this.#options.batchMax) this.flush();
      else this.#timer ??= setTimeout(() => this.flush(), this.#options.flushMs);
    });
  }

  flush(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    const batch = this.#queue;
    if (batch.length === 0) return;
    this.#queue = [];
    const startedAt = performance.now();
    const settle = this.#commitBatch(batch);
    this.#options.onBatch?.(batch.length, performance.now() - startedAt);
    for (const done of settle) done();
  }

  close(): void {
    this.flush();
    this.#closed = true;
  }

  /** What to tell each caller, once the transaction has ended. */
  #commitBatch(batch: readonly Pending[]): (() => void)[] {
    try {
      this.#statements.begin.run();
      const settle = batch.map((pending) => this.#runOne(pending));
      this.#statements.commit.run();
      return settle;
    } catch (cause) {
      if (this.#db.inTransaction) this.#statements.rollback.run();
      const error = new AtollError(
        'storage_failed',
        'The database could not be written. Check the disk space and permissions of the data directory.',
        { cause },
      );
      return batch.map(
        ({ reject }) =>
          () =>
            reject(error),
      );
    }
  }

  /** Throws only when the whole transaction is lost. */
  #runOne({ run, resolve, reject }: Pending): () => void {
    this.#statements.save.run();
    try {
      const value = run();
      this.#statements.keep.run();
      return () => resolve(value as never);
    } catch (error) {
      if (isDiskError(error) || !this.#db.inTransaction) throw error;
      this.#statements.undo.run();
      this.#statements.keep.run();
      return () => reject(error);
    }
  }
}

/** SQLite may have rolled the transaction back by itself, or be unable to go on. */
function isDiskError(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && /^SQLITE_(FULL|IOERR|READONLY|CORRUPT|NOMEM|CANTOPEN)/.test(code);
}

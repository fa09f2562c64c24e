/**
 * SQLite's write-ahead log, synced by us: SQLite itself would hold up the thread that serves until the disk has answered, at every commit.
 *
 * With `synchronous = NORMAL` SQLite syncs only where the order of writes matters (a log that starts over, a checkpoint), so the database is whole
 * whatever happens; what has been committed is durable once `sync` resolves. The log is one file for as long as the connection is open.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import type BetterSqlite3 from 'better-sqlite3';

export class Log {
  readonly #file: FileHandle;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Of a database in WAL mode that has been read or written. From then on a commit is durable only after `sync`. */
  static async open(db: BetterSqlite3.Database, path: string): Promise<Log> {
    const file = await open(`${path}-wal`, 'r+');
    await file.sync();
    const folder = await open(dirname(path), 'r');
    await folder.sync().finally(() => folder.close());
    db.pragma('synchronous = NORMAL');
    return new Log(file);
  }

  sync(): Promise<void> {
    return this.#file.datasync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

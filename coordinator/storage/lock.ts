/**
 * One coordinator per data directory, held by SQLite's own file lock on a file of its own. The system drops it with the process, so a lock is
 * never stale, not even after kill -9.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import BetterSqlite3 from 'better-sqlite3';
import { AtollError } from '#protocol/errors.ts';

export interface DataDirLock {
  release(): void;
}

/** Makes the directory where needed and locks it. Throws `bad_config` naming the remedy. */
export function lockDataDir(dataDir: string): DataDirLock {
  let db: BetterSqlite3.Database | null = null;
  try {
    makeDirs(dataDir);
    db = new BetterSqlite3(join(dataDir, 'lock.sqlite'), { timeout: 0 });
    db.pragma('journal_mode = DELETE');
    db.exec('BEGIN EXCLUSIVE; CREATE TABLE IF NOT EXISTS held (one INTEGER); DELETE FROM held;');
  } catch (cause) {
    db?.close();
    throw lockError(dataDir, cause);
  }
  const held = db;
  return { release: () => held.close() };
}

/** As `recursive` does, but for one fault: Node loops for ever where making a folder says ENOENT, as /proc does. */
function makeDirs(path: string): void {
  if (existsSync(path)) return;
  makeDirs(dirname(path));
  mkdirSync(path);
}

function lockError(dataDir: string, cause: unknown): AtollError {
  const code = (cause as { code?: unknown }).code;
  if (code === 'SQLITE_BUSY' || code === 'SQLITE_LOCKED') {
    return new AtollError(
      'bad_config',
      `Another coordinator is running on ${dataDir}. Stop it, or choose another data directory.`,
      { cause },
    );
  }
  return new AtollError(
    'bad_config',
    `The data directory ${dataDir} cannot be written: ${(cause as Error).message}. Check its permissions, or choose another one.`,
    { cause },
  );
}

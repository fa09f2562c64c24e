/**
 * Backup and restore of a coordinator: its database, its blocks and what else lies in the data directory (chain, contract, contributors' keys).
 *
 * A backup is a folder, consistent while the coordinator goes on: the database is copied as of one moment, the blocks after it, so whatever the
 * copy speaks of is there. `backup.json` is written last; without it a backup is not whole. Every block is verified on its way, both ways.
 */
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import BetterSqlite3 from 'better-sqlite3';
import * as v from 'valibot';
import { parseCid } from '#protocol/codec/cid.ts';
import { AtollError, codeOf } from '#protocol/errors.ts';
import { type BlobStore, openBlobs } from './blobs.ts';
import { lockDataDir } from './lock.ts';
import { dumpRows, loadRows } from './postgres/dump.ts';

const database = 'atoll.sqlite';
const summary = 'backup.json';
const rows = 'rows';
/** What has a way of its own, or is made anew. */
const notCopied = /^(atoll\.sqlite|lock\.sqlite|blobs$)/;

const backupSchema = v.object({
  v: v.literal(1),
  database: v.picklist(['sqlite', 'postgres']),
  /** Milliseconds since the epoch. */
  takenAt: v.number(),
  blocks: v.number(),
});
export type Backup = v.InferOutput<typeof backupSchema>;

export interface Place {
  dataDir: string;
  /** PostgreSQL in place of the data directory's own database. */
  databaseUrl: string | null;
  /** Where the blocks are; the data directory's own folder unless given. */
  blobs?: BlobStore;
}

/** Throws `bad_config` when `to` is in use or there is nothing to back up, `storage_failed` when something cannot be read or written. */
export async function backup(from: Place, to: string, now: number, signal?: AbortSignal): Promise<Backup> {
  if (existsSync(to) && (await readdir(to)).length > 0) {
    throw new AtollError('bad_config', `${to} is not empty. Name a folder that is new or empty.`);
  }
  if (!from.databaseUrl && !existsSync(join(from.dataDir, database))) {
    throw new AtollError('bad_config', `There is no network's state in ${from.dataDir}. Name its folder.`);
  }
  await mkdir(to, { recursive: true });
  if (from.databaseUrl) await dumpRows(from.databaseUrl, join(to, rows), signal);
  else await copySqlite(join(from.dataDir, database), join(to, database));
  const source = from.blobs ?? (await openBlobs(join(from.dataDir, 'blobs'), { shared: true }));
  const blocks = await copyBlocks(source, await openBlobs(join(to, 'blobs')), signal);
  await copyRest(from.dataDir, to);
  const made: Backup = {
    v: 1,
    database: from.databaseUrl ? 'postgres' : 'sqlite',
    takenAt: now,
    blocks,
  };
  await writeFile(join(to, summary), `${JSON.stringify(made)}\n`, { flush: true });
  return made;
}

/** Throws `bad_config` when the backup is not whole or the place is in use, `bad_block` when a block of it is damaged. */
export async function restore(from: string, to: Place, signal?: AbortSignal): Promise<Backup> {
  const made = await readSummary(from);
  if ((made.database === 'postgres') !== (to.databaseUrl !== null)) {
    const wanted = made.database === 'postgres' ? 'Set DATABASE_URL to an empty one' : 'Unset DATABASE_URL';
    throw new AtollError('bad_config', `This is the backup of a ${made.database} database. ${wanted}.`);
  }
  if (existsSync(join(to.dataDir, database))) {
    throw new AtollError(
      'bad_config',
      `${to.dataDir} holds a network already. Choose another data directory.`,
    );
  }
  const lock = lockDataDir(to.dataDir);
  try {
    // Blocks first: a database speaks only of blocks that are there.
    const source = await openBlobs(join(from, 'blobs'), { shared: true });
    const target = to.blobs ?? (await openBlobs(join(to.dataDir, 'blobs')));
    const blocks = await copyBlocks(source, target, signal);
    if (blocks !== made.blocks) {
      throw new AtollError('bad_config', `The backup in ${from} has ${blocks} of its ${made.blocks} blocks.`);
    }
    await copyRest(from, to.dataDir);
    if (to.databaseUrl) await loadRows(to.databaseUrl, join(from, rows), signal);
    else await copySqlite(join(from, database), join(to.dataDir, database));
    return made;
  } finally {
    lock.release();
  }
}

async function readSummary(from: string): Promise<Backup> {
  try {
    return v.parse(backupSchema, JSON.parse(await readFile(join(from, summary), 'utf8')));
  } catch (cause) {
    const message = `${from} is no backup, or one that was never finished: ${summary} cannot be read.`;
    throw new AtollError('bad_config', message, { cause });
  }
}

/** As of one moment, also while a coordinator writes; and whole, or it throws. */
async function copySqlite(from: string, to: string): Promise<void> {
  try {
    const db = new BetterSqlite3(from, { readonly: true, fileMustExist: true });
    try {
      await db.backup(to);
    } finally {
      db.close();
    }
    const copy = new BetterSqlite3(to);
    try {
      const found = copy.pragma('integrity_check(1)', { simple: true });
      if (found !== 'ok') throw new Error(String(found));
    } finally {
      copy.close();
    }
  } catch (cause) {
    throw new AtollError('storage_failed', `The database could not be copied: ${(cause as Error).message}.`, {
      cause,
    });
  }
}

/** How many there are; those that the target has are not written again. */
async function copyBlocks(from: BlobStore, to: BlobStore, signal?: AbortSignal): Promise<number> {
  let blocks = 0;
  for await (const { cid } of from.entries()) {
    signal?.throwIfAborted();
    const bytes = await from.get(cid, signal).catch((error: unknown) => {
      // Collected as garbage since it was listed.
      if (codeOf(error) === 'not_found') return null;
      throw error;
    });
    if (!bytes) continue;
    await to.put(bytes, parseCid(cid).code);
    blocks += 1;
  }
  return blocks;
}

async function copyRest(from: string, to: string): Promise<void> {
  if (!existsSync(from)) return;
  for (const name of await readdir(from)) {
    if (notCopied.test(name) || name === summary || name === rows) continue;
    await cp(join(from, name), join(to, name), { recursive: true });
  }
}

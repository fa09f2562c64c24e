/**
 * A folder of blocks for Node: files by CID in subfolders of their last two characters, written under another name and renamed, so that a reader sees a whole block
 * or none. Several contributors may share it.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, opendir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Cid, parseCid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { Disk } from './ports.ts';

const draftsName = 'drafts';
const notesName = 'used.json';
/** Drafts of others are left alone for as long as one may take to be written. */
const draftMsMax = 10 * 60_000;

/** Makes the folder. Throws `storage_failed` where that is not possible. */
export async function openNodeDisk(directory: string): Promise<Disk> {
  const drafts = path.join(directory, draftsName);
  await guarded(async () => {
    await mkdir(drafts, { recursive: true, mode: 0o700 });
    for (const name of await readdir(drafts)) await removeOld(path.join(drafts, name));
  });
  const placeOf = (cid: Cid) => path.join(directory, folderOf(cid), cid);
  const write = async (place: string, bytes: Uint8Array | string) => {
    const draft = path.join(drafts, randomUUID());
    try {
      await writeFile(draft, bytes, { flag: 'wx', mode: 0o600 });
      await mkdir(path.dirname(place), { recursive: true, mode: 0o700 });
      await rename(draft, place);
    } finally {
      await rm(draft, { force: true });
    }
  };
  return {
    names: () => namesIn(directory),
    async facts(cid) {
      const found = await orAbsent(stat(placeOf(cid)));
      return found && { sizeBytes: found.size, usedAt: found.mtimeMs };
    },
    async read(cid) {
      const place = placeOf(cid);
      const size = (await orAbsent(stat(place)))?.size;
      if (size === undefined || size > limits.blockBytesMax) return undefined;
      const bytes = await orAbsent(readFile(place));
      return bytes && new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
    write: (cid, bytes) => guarded(() => write(placeOf(cid), bytes)),
    remove: (cid) => guarded(() => rm(placeOf(cid), { force: true })),
    clear: () =>
      guarded(async () => {
        // Only what is ours: the folder may have been given by mistake.
        for await (const cid of namesIn(directory)) await rm(placeOf(cid), { force: true });
        await rm(path.join(directory, notesName), { force: true });
      }),
    readNotes: () => orAbsent(readFile(path.join(directory, notesName), 'utf8')),
    writeNotes: (text) => guarded(() => write(path.join(directory, notesName), text)),
    exclusively: (run) => run(),
  };
}

/** Two last characters: the first ones of a CID are always the same. Throws `bad_request` on what is no CID. */
function folderOf(cid: Cid): string {
  parseCid(cid);
  return cid.slice(-2);
}

async function* namesIn(directory: string): AsyncGenerator<Cid> {
  for (const folder of await readdir(directory)) {
    if (!/^[a-z2-7]{2}$/.test(folder)) continue;
    for await (const { name } of await opendir(path.join(directory, folder)))
      if (name.endsWith(folder)) yield name;
  }
}

async function removeOld(draft: string): Promise<void> {
  const madeAt = (await stat(draft).catch(() => null))?.mtimeMs;
  if (madeAt !== undefined && Date.now() - madeAt > draftMsMax) await rm(draft, { force: true });
}

async function orAbsent<T>(task: Promise<T>): Promise<T | undefined> {
  try {
    return await task;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw asFailure(error);
  }
}

async function guarded<T>(task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    throw asFailure(error);
  }
}

function asFailure(cause: unknown): AtollError {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new AtollError('too_large', 'The disk is full.', { cause });
  return new AtollError('storage_failed', `The folder of blocks cannot be used: ${message}.`, { cause });
}

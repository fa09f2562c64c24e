/**
 * Blocks on disk, one file each, named by CID: temp file, fdatasync, rename, fsync of the directory. A block is whole or absent, and verified
 * when it is read.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, opendir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { type Cid, cidOfBlock, parseCid, rawCode, verifyBlock } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { BlockStore } from '#protocol/messages/file.ts';

export interface StoredBlock {
  cid: Cid;
  /** When it was stored, or last put again. */
  storedAt: number;
}

export interface Blobs extends BlockStore {
  has(cid: Cid): Promise<boolean>;
}

/** What the collector of garbage needs besides. */
export interface BlobStore extends Blobs {
  /** No error when it is not there. */
  remove(cid: Cid): Promise<void>;
  /** Everything that is stored, in no order. */
  entries(): AsyncIterable<StoredBlock>;
}

/** A block that is put again counts as stored anew from this age on: who collects garbage must leave alone what is much younger than a day. */
export const refreshMs = 60 * 60_000;
/** Drafts of other processes on the same folder are left alone for as long as one may take to be written. */
const draftMsMax = 10 * 60_000;

/** Where a block lies. Two last characters: the first ones of a CID are always the same. Throws `bad_request` on what is no CID. */
export function blobPath(directory: string, cid: Cid): string {
  parseCid(cid);
  return join(directory, cid.slice(-2), cid);
}

/**
 * Makes the folders and clears what an earlier process left half-written; `shared`: other processes may be writing there now.
 * Throws `bad_config` when that is not possible.
 */
export async function openBlobs(directory: string, { shared = false } = {}): Promise<BlobStore> {
  const temporary = join(directory, 'tmp');
  try {
    await mkdir(temporary, { recursive: true });
    await clearDrafts(temporary, shared ? Date.now() - draftMsMax : Infinity);
  } catch (cause) {
    throw new AtollError(
      'bad_config',
      `The block folder ${directory} cannot be written: ${(cause as Error).message}. Check its permissions, or choose another data directory.`,
      { cause },
    );
  }
  // Two last characters: the first ones of a CID are always the same.
  const folderOf = (cid: Cid) => join(directory, cid.slice(-2));
  // Two microseconds in this thread; asking another one takes thirty, and units ask for every output.
  const has = async (cid: Cid) => existsSync(join(folderOf(cid), cid));
  return {
    has,
    async get(cid, signal) {
      parseCid(cid);
      const bytes = await readBlock(join(folderOf(cid), cid), cid, signal);
      await verifyBlock(cid, bytes);
      return bytes;
    },
    async put(bytes, code = rawCode) {
      if (bytes.byteLength > limits.blockBytesMax) {
        throw new AtollError('too_large', `A block has at most ${limits.blockBytesMax} bytes.`);
      }
      const cid = await cidOfBlock(bytes, code);
      if (!(await refresh(join(folderOf(cid), cid)))) {
        await writeDurably(temporary, folderOf(cid), cid, bytes);
      }
      return cid;
    },
    remove: async (cid) => rm(blobPath(directory, cid), { force: true }),
    entries: () => storedIn(directory),
  };
}

async function clearDrafts(folder: string, before: number): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    // Another process may have finished it meanwhile.
    const since = (await stat(path).catch(() => null))?.mtimeMs;
    if (since !== undefined && since < before) await rm(path, { recursive: true, force: true });
  }
}

/** Whether the block is there, and young again. */
async function refresh(path: string): Promise<boolean> {
  try {
    const now = Date.now();
    if (now - (await stat(path)).mtimeMs > refreshMs) await utimes(path, now / 1000, now / 1000);
    return true;
  } catch {
    return false;
  }
}

async function* storedIn(directory: string): AsyncGenerator<StoredBlock> {
  for (const folder of await readdir(directory)) {
    if (folder === 'tmp') continue;
    for await (const { name: cid } of await opendir(join(directory, folder))) {
      const storedAt = (await stat(join(directory, folder, cid)).catch(() => null))?.mtimeMs;
      if (storedAt !== undefined) yield { cid, storedAt };
    }
  }
}

async function readBlock(path: string, cid: Cid, signal?: AbortSignal): Promise<Uint8Array> {
  try {
    const bytes = await readFile(path, signal ? { signal } : {});
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  } catch (cause) {
    signal?.throwIfAborted();
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new AtollError('not_found', 'The block is not stored here.', { details: { cid } });
    }
    throw new AtollError('storage_failed', 'A block could not be read from the data directory.', { cause });
  }
}

async function writeDurably(temporary: string, folder: string, cid: Cid, bytes: Uint8Array): Promise<void> {
  const draft = join(temporary, `${cid}.${randomBytes(6).toString('hex')}`);
  try {
    await mkdir(folder, { recursive: true });
    const file = await open(draft, 'wx');
    try {
      await file.writeFile(bytes);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(draft, join(folder, cid));
    await syncFolder(folder);
  } catch (cause) {
    await rm(draft, { force: true }).catch(() => undefined);
    throw new AtollError(
      'storage_failed',
      'A block could not be written. Check the disk space of the data directory.',
      { cause, details: { cid } },
    );
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** How many blocks are stored: for tests and status only, it reads the folders. */
export async function countBlobs(directory: string): Promise<number> {
  const names = await readdir(directory, { recursive: true });
  return names.filter((name) => /[/\\][a-z2-7]{50,}$/.test(name)).length;
}

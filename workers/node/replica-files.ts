/**
 * Pending replicas in a folder that only its owner can read (a salt is a secret until it is revealed): one file each, its record and then its blocks.
 *
 * Written under another name, synced, renamed, and the folder synced: a file of that name is whole, or the disk lies. It is checked all the same: magic, length and sha256
 * of the record here, the CID of each block by who reads them. A mark is appended before the salt leaves. Files: `ASSIGNMENT.replica`; layout: magic (8 bytes), length of the
 * record (u32, little-endian), sha256 of the record, record, blocks, and one byte 1 once revealed.
 */
import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import type { Hex } from 'viem';
import { sameBytes } from '#protocol/codec/cbor.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError, toProblem } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import {
  decodeKeptReplica,
  encodeKeptReplica,
  type KeptReplica,
  keptReplicaBytesMax,
  notKept,
} from '../runtime/kept-replica.ts';
import type { KeptEntry, Logger, ReplicaStore } from '../runtime/ports.ts';

const magic = new TextEncoder().encode('ATOLLRP1');
const headBytes = magic.length + 4 + 32;
const revealedMark = Uint8Array.of(1);
const suffix = '.replica';
/** What another process may still be writing is left alone for so long. */
const draftMsMax = 10 * 60_000;
/** A folder with less room than this, besides what the last failure needed, is full. */
const spareBytes = 1 << 20;

/** The two calls that a full or failing disk refuses; a test gives its own. */
export interface ReplicaDisk {
  write(file: FileHandle, bytes: Uint8Array): Promise<void>;
  freeBytes(folder: string): Promise<number>;
}

const realDisk: ReplicaDisk = {
  async write(file, bytes) {
    let at = 0;
    while (at < bytes.byteLength) at += (await file.write(bytes, at)).bytesWritten;
  },
  async freeBytes(folder) {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  },
};

/** Where the pending replicas of the contributor with this key are: beside the key. */
export function replicaFolder(keyFile: string): string {
  return `${keyFile.replace(/\.key$/, '')}.pending`;
}

/** Nothing is touched before it is first used. */
export function openReplicaFiles(folder: string, log: Logger, disk: ReplicaDisk = realDisk): ReplicaStore {
  return new ReplicaFiles(folder, log, disk);
}

interface Entry extends KeptEntry {
  file: string;
  keptAt: number;
  /** Where the blocks begin. */
  blocksAt: number;
}

class ReplicaFiles implements ReplicaStore {
  readonly #folder: string;
  readonly #log: Logger;
  readonly #disk: ReplicaDisk;
  /** What the last replica that found no room would have taken. */
  #wantedBytes = 0;

  constructor(folder: string, log: Logger, disk: ReplicaDisk) {
    this.#folder = folder;
    this.#log = log;
    this.#disk = disk;
  }

  check(): Promise<void> {
    return this.#guarded(async () => {
      await this.#ready();
      if ((await this.#disk.freeBytes(this.#folder)) < this.#wantedBytes + spareBytes) throw noSpace();
      await this.#writeWhole('probe', [new Uint8Array(4096)]);
      await rm(path.join(this.#folder, 'probe'), { force: true });
    });
  }

  keep(kept: KeptReplica, blocks: (cid: Cid) => Promise<Uint8Array>): Promise<void> {
    const record = encodeKeptReplica(kept);
    const wanted = kept.blocks.reduce((sum, { size }) => sum + size, record.byteLength + headBytes);
    return this.#guarded(async () => {
      this.#wantedBytes = wanted;
      await this.#ready();
      await this.#writeWhole(nameOf(kept.assignment), partsOf(record, kept, blocks));
      this.#wantedBytes = 0;
    });
  }

  markRevealed(assignment: Hex): Promise<void> {
    return this.#guarded(async () => {
      const entry = await readEntry(this.#placeOf(assignment));
      if (entry.isRevealed) return;
      // At its own place, so that half of an earlier try, or two marks, are one mark.
      const file = await open(entry.file, 'r+');
      try {
        await file.write(revealedMark, 0, 1, endOf(entry));
        await file.datasync();
      } finally {
        await file.close();
      }
    });
  }

  async remove(assignment: Hex): Promise<void> {
    await rm(this.#placeOf(assignment), { force: true }).catch((error: unknown) => {
      this.#log.warn({ assignment, err: error }, 'A settled result could not be removed from the disk.');
    });
  }

  async list(contributor: Hex): Promise<KeptEntry[]> {
    const names = await readdir(this.#folder).catch(() => [] as string[]);
    const entries: Entry[] = [];
    for (const name of names) {
      const file = path.join(this.#folder, name);
      if (name.endsWith('.new')) await removeOld(file);
      if (!name.endsWith(suffix)) continue;
      const entry = await this.#readOrSetAside(file);
      if (entry?.kept.contributor === contributor) entries.push(entry);
    }
    entries.sort((a, b) => a.keptAt - b.keptAt);
    const tooMany = entries.splice(0, Math.max(0, entries.length - limits.keptReplicasMax));
    for (const { file } of tooMany) await rm(file, { force: true }).catch(() => undefined);
    return entries.map(({ kept, isRevealed }) => ({ kept, isRevealed }));
  }

  async *blocks(assignment: Hex): AsyncGenerator<Uint8Array> {
    const entry = await readEntry(this.#placeOf(assignment));
    const file = await open(entry.file, 'r');
    try {
      let at = entry.blocksAt;
      for (const { size } of entry.kept.blocks) {
        const bytes = await readAt(file, at, size);
        if (!bytes) return;
        at += size;
        yield bytes;
      }
    } finally {
      await file.close();
    }
  }

  /** One that cannot be read is put out of the way, for somebody to look at; it is named once. */
  async #readOrSetAside(file: string): Promise<Entry | null> {
    try {
      return await readEntry(file);
    } catch (error) {
      const { detail } = toProblem(error);
      this.#log.warn(
        { file },
        `A result of an earlier run cannot be read, and its commitment is lost. ${detail}`,
      );
      await rename(file, `${file}.bad`).catch(() => undefined);
      return null;
    }
  }

  async #ready(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
  }

  /** Durable when it resolves; on failure nothing is left. */
  async #writeWhole(name: string, parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
    const place = path.join(this.#folder, name);
    const draft = `${place}.${randomUUID()}.new`;
    try {
      const file = await open(draft, 'wx', 0o600);
      try {
        for await (const bytes of parts) await this.#disk.write(file, bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(draft, place);
      await syncFolder(this.#folder);
    } catch (error) {
      await rm(draft, { force: true }).catch(() => undefined);
      throw error;
    }
  }

  #placeOf(assignment: Hex): string {
    return path.join(this.#folder, nameOf(assignment));
  }

  async #guarded(run: () => Promise<void>): Promise<void> {
    try {
      await run();
    } catch (error) {
      throw notKept(whyOf(error, this.#folder), error);
    }
  }
}

const nameOf = (assignment: Hex) => `${assignment.slice(2)}${suffix}`;

function endOf({ kept, blocksAt }: Entry): number {
  return kept.blocks.reduce((sum, { size }) => sum + size, blocksAt);
}

async function* partsOf(
  record: Uint8Array,
  kept: KeptReplica,
  blocks: (cid: Cid) => Promise<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const head = new Uint8Array(headBytes);
  head.set(magic);
  new DataView(head.buffer).setUint32(magic.length, record.byteLength, true);
  head.set(sha256(record), magic.length + 4);
  yield head;
  yield record;
  for (const { cid } of kept.blocks) yield await blocks(cid);
}

/** Throws `bad_request` for a file that is not whole. */
async function readEntry(place: string): Promise<Entry> {
  const file = await open(place, 'r');
  try {
    const { size, mtimeMs } = await file.stat();
    const head = await readAt(file, 0, headBytes);
    if (!head || !sameBytes(head.subarray(0, magic.length), magic)) throw torn('It does not begin as one.');
    const recordBytes = new DataView(head.buffer, head.byteOffset).getUint32(magic.length, true);
    if (recordBytes > keptReplicaBytesMax) throw torn('Its record is too large.');
    const record = await readAt(file, headBytes, recordBytes);
    if (!record || !sameBytes(sha256(record), head.subarray(magic.length + 4))) {
      throw torn('Its record is damaged.');
    }
    const kept = decodeKeptReplica(record);
    if (path.basename(place) !== nameOf(kept.assignment)) throw torn('It is of another assignment.');
    const entry = {
      kept,
      isRevealed: false,
      file: place,
      keptAt: mtimeMs,
      blocksAt: headBytes + recordBytes,
    };
    // Without its blocks it can still be revealed; a mark that is torn off was never needed.
    const mark = size > endOf(entry) ? await readAt(file, endOf(entry), 1) : null;
    return { ...entry, isRevealed: mark?.[0] === revealedMark[0] };
  } finally {
    await file.close();
  }
}

/** Null where the file ends before. */
async function readAt(file: FileHandle, at: number, count: number): Promise<Uint8Array | null> {
  const bytes = new Uint8Array(count);
  let read = 0;
  while (read < count) {
    const { bytesRead } = await file.read(bytes, read, count - read, at + read);
    if (bytesRead === 0) return null;
    read += bytesRead;
  }
  return bytes;
}

/** A folder cannot be synced on Windows, where a rename is durable by itself. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function removeOld(draft: string): Promise<void> {
  const madeAt = await stat(draft).then(
    ({ mtimeMs }) => mtimeMs,
    () => null,
  );
  if (madeAt !== null && Math.abs(Date.now() - madeAt) > draftMsMax) {
    await rm(draft, { force: true }).catch(() => undefined);
  }
}

const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(bytes).digest());

function torn(message: string): AtollError {
  return new AtollError('bad_request', message);
}

function noSpace(): NodeJS.ErrnoException {
  return Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
}

const reasons: Readonly<Record<string, string>> = {
  ENOSPC: 'there is no room left. Make room, and work goes on by itself.',
  EDQUOT: 'the quota is used up. Make room, and work goes on by itself.',
  EROFS: 'it is read-only. Choose another folder with --data-dir or --key-file.',
  EACCES: 'it cannot be written. Choose another folder with --data-dir or --key-file.',
  EPERM: 'it cannot be written. Choose another folder with --data-dir or --key-file.',
};

function whyOf(error: unknown, folder: string): string {
  const { code = 'unknown error' } = error as NodeJS.ErrnoException;
  return `in ${folder} ${reasons[code] ?? `writing failed (${code}).`}`;
}

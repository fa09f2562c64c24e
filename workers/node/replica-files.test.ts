/** Pending results in a folder: whole or not there, for their owner alone, and what is damaged harms nothing else. */
import { appendFile, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Cid, cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import { toHex } from '#protocol/messages/contribution.ts';
import type { Hex } from 'viem';
import type { KeptReplica } from '../runtime/kept-replica.ts';
import type { Logger } from '../runtime/ports.ts';
import { openReplicaFiles, type ReplicaDisk, replicaFolder } from './replica-files.ts';

const filled = (fill: number, size = 32): Hex => toHex(new Uint8Array(size).fill(fill));
const contributor = filled(7, 20);
const contents = [new Uint8Array(100_000).fill(1), new Uint8Array(10).fill(2), new Uint8Array(0)];
const cids = contents.map((bytes) => cidOfSync(bytes, rawCode));
const block = async (cid: Cid) => contents[cids.indexOf(cid)] as Uint8Array;

function replica(n: number, own: Partial<KeptReplica> = {}): KeptReplica {
  return {
    v: 1,
    contributor,
    network: filled(9),
    assignment: filled(n),
    unit: cidOfSync(Uint8Array.of(n), rawCode),
    program: 'train.steps@1+i10sr',
    result: Uint8Array.of(n, 2, 3),
    salt: filled(n + 100),
    commitSignature: filled(5, 65),
    blocks: cids.map((cid, i) => ({ cid, size: (contents[i] as Uint8Array).byteLength })),
    ...own,
  };
}

let dir: string;
let folder: string;
const warned: string[] = [];
const log: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (_, message) => void warned.push(message),
  error: () => undefined,
};
const fileOf = (n: number) => path.join(folder, `${filled(n).slice(2)}.replica`);

beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'atoll-pending-'));
  folder = replicaFolder(path.join(dir, 'name.key'));
  warned.length = 0;
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function blocksOf(n: number): Promise<Uint8Array[]> {
  const found: Uint8Array[] = [];
  for await (const bytes of openReplicaFiles(folder, log).blocks(filled(n))) found.push(bytes);
  return found;
}

describe('a folder of pending results', () => {
  it('gives back what was kept, to the owner alone, until it is removed', async () => {
    const store = openReplicaFiles(folder, log);
    expect(await store.list(contributor)).toEqual([]);
    await store.keep(replica(1), block);
    const again = openReplicaFiles(folder, log);
    expect(await again.list(contributor)).toEqual([{ kept: replica(1), isRevealed: false }]);
    expect(await again.list(filled(8, 20))).toEqual([]);
    expect(await blocksOf(1)).toEqual(contents);
    await again.markRevealed(filled(1));
    await again.markRevealed(filled(1));
    expect(await store.list(contributor)).toEqual([{ kept: replica(1), isRevealed: true }]);
    expect(await blocksOf(1)).toEqual(contents);
    if (process.platform !== 'win32') {
      expect((await stat(folder)).mode & 0o777).toBe(0o700);
      expect((await stat(fileOf(1))).mode & 0o777).toBe(0o600);
    }
    await store.remove(filled(1));
    await store.remove(filled(1));
    expect(await again.list(contributor)).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  });

  it('reads what is whole of a file that is not: without blocks it can still be revealed', async () => {
    const store = openReplicaFiles(folder, log);
    await store.keep(replica(1), block);
    const { size } = await stat(fileOf(1));
    await truncate(fileOf(1), size - 5);
    expect(await store.list(contributor)).toEqual([{ kept: replica(1), isRevealed: false }]);
    expect(await blocksOf(1)).toEqual(contents.slice(0, 1));
  });

  it('sets aside what is damaged wherever, and goes on with the rest', async () => {
    const store = openReplicaFiles(folder, log);
    for (const n of [1, 2]) await store.keep(replica(n), block);
    const whole = await readFile(fileOf(1));
    const recordEnd = whole.byteLength - contents.reduce((sum, { byteLength }) => sum + byteLength, 0);
    for (const at of [0, 8, 11, 12, 43, 44, recordEnd - 1]) {
      const spoilt = Buffer.from(whole);
      spoilt[at] = (spoilt[at] as number) ^ 0x10;
      await writeFile(fileOf(1), spoilt);
      expect((await store.list(contributor)).map(({ kept }) => kept.assignment)).toEqual([filled(2)]);
    }
    for (const count of [0, 7, 44, recordEnd - 1]) {
      await writeFile(fileOf(1), whole.subarray(0, count));
      expect(await store.list(contributor)).toHaveLength(1);
    }
    await writeFile(fileOf(3), whole); // of another name
    expect(await store.list(contributor)).toHaveLength(1);
    expect(warned.length).toBe(12);
    expect(warned[0]).toMatch(/cannot be read/);
    expect((await readdir(folder)).filter((name) => name.endsWith('.bad'))).toHaveLength(2);
  });

  it('leaves nothing of a write that failed, says why, and asks for the room that it needs', async () => {
    let free = 1e9;
    let written = 0;
    const disk: ReplicaDisk = {
      async write(file, bytes) {
        written += bytes.byteLength;
        if (written > 50_000) throw Object.assign(new Error('full'), { code: 'ENOSPC' });
        await file.write(bytes);
      },
      freeBytes: async () => free,
    };
    const store = openReplicaFiles(folder, log, disk);
    await store.check();
    await expect(store.keep(replica(1), block)).rejects.toMatchObject({
      code: 'storage_failed',
      message: expect.stringMatching(/not committed to: in .*no room left/),
    });
    expect(await readdir(folder)).toEqual([]);
    written = 0;
    free = 1 << 20; // enough for the probe, not for what is to be kept
    await expect(store.check()).rejects.toMatchObject({ code: 'storage_failed' });
    free = 2 << 20;
    await store.check();
    expect(await readdir(folder)).toEqual([]);
  });

  it('cannot be where a file is, and says so', async () => {
    await writeFile(folder, '');
    const store = openReplicaFiles(folder, log);
    await expect(store.check()).rejects.toMatchObject({ code: 'storage_failed' });
    await expect(store.keep(replica(1), block)).rejects.toMatchObject({ code: 'storage_failed' });
    expect(await store.list(contributor)).toEqual([]);
  });

  it('takes no mark for what is a torn one', async () => {
    const store = openReplicaFiles(folder, log);
    await store.keep(replica(1), block);
    await appendFile(fileOf(1), Uint8Array.of(0));
    expect(await store.list(contributor)).toEqual([{ kept: replica(1), isRevealed: false }]);
    await store.markRevealed(filled(1));
    expect(await store.list(contributor)).toEqual([{ kept: replica(1), isRevealed: true }]);
  });
});

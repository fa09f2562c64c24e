/** The shelf over a disk that fails, fills up and lies, over restarts, and over a real folder. */
import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Cid, cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import { openDiskShelf } from './disk-shelf.ts';
import { openNodeDisk } from './node-disk.ts';
import type { Disk } from './ports.ts';
import { MemoryDisk } from './testing/memory-disk.ts';

const size = 100;
const bytesOf = (n: number) => new Uint8Array(size).fill(n);
const cidOf = (n: number) => cidOfSync(bytesOf(n), rawCode);

async function folder(): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'atoll-shelf-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

function clocked() {
  const clock = { at: 1_000 };
  const now = () => ++clock.at;
  const disk = new MemoryDisk(now);
  const dropped: Cid[] = [];
  const open = (limitBytes = 10 * size) =>
    openDiskShelf(disk, { limitBytes, now, onDropped: (cids) => void dropped.push(...cids) });
  return { clock, disk, dropped, open };
}

const disks: [string, () => Promise<Disk>][] = [
  ['memory', async () => new MemoryDisk(() => Date.now())],
  ['a folder', async () => openNodeDisk(await folder())],
];

describe.each(disks)('a shelf on %s', (_, make) => {
  test('gives back over a restart what it keeps, and forgets all of it when told to', async () => {
    const disk = await make();
    const options = { limitBytes: 10 * size, now: () => Date.now() };
    const shelf = await openDiskShelf(disk, options);
    for (const n of [1, 2, 3]) await shelf.keep(cidOf(n), bytesOf(n));
    await shelf.close();
    const again = await openDiskShelf(disk, options);
    expect(again.figures).toEqual({ heldBytes: 3 * size, limitBytes: 10 * size, readBytes: 0 });
    expect(await again.find(cidOf(2))).toEqual(bytesOf(2));
    expect(await again.find(cidOf(9))).toBeUndefined();
    expect(again.figures.readBytes).toBe(size);
    await again.clear();
    expect([again.has(cidOf(1)), again.figures.heldBytes]).toEqual([false, 0]);
    expect(await again.find(cidOf(1))).toBeUndefined();
    await again.keep(cidOf(4), bytesOf(4));
    expect((await openDiskShelf(disk, options)).cids).toEqual([cidOf(4)]);
  });
});

describe('a shelf', () => {
  test('makes room by what was used longest ago, over restarts as well', async () => {
    const { disk, dropped, open } = clocked();
    const first = await open();
    for (let n = 1; n <= 8; n++) await first.keep(cidOf(n), bytesOf(n));
    await first.find(cidOf(1));
    await first.close();
    const second = await open();
    for (let n = 9; n <= 12; n++) await second.keep(cidOf(n), bytesOf(n));
    expect(second.figures.heldBytes).toBeLessThanOrEqual(10 * size);
    expect(second.has(cidOf(1))).toBe(true);
    expect(second.has(cidOf(2))).toBe(false);
    expect(dropped).toContain(cidOf(2));
    expect([...disk.files.keys()].toSorted()).toEqual(second.cids.toSorted());
  });

  test('does without its notes: files have times of their own', async () => {
    const { disk, open } = clocked();
    const first = await open();
    for (let n = 1; n <= 10; n++) await first.keep(cidOf(n), bytesOf(n));
    for (const notes of [undefined, 'nonsense', '{"x":1}', JSON.stringify({ toString: [1, 1] })]) {
      disk.notes = notes;
      const again = await open();
      expect(again.figures.heldBytes).toBe(10 * size);
    }
    const again = await open();
    await again.keep(cidOf(11), bytesOf(11));
    expect([again.has(cidOf(1)), again.has(cidOf(10)), again.has(cidOf(11))]).toEqual([false, true, true]);
  });

  test('hashes a block when it is first read, and throws away what a crash or somebody has changed', async () => {
    const { disk, dropped, open } = clocked();
    const first = await open();
    for (const n of [1, 2, 3]) await first.keep(cidOf(n), bytesOf(n));
    await first.close();
    const file = (n: number) => disk.files.get(cidOf(n)) as { bytes: Uint8Array };
    file(1).bytes = bytesOf(1).subarray(0, 50);
    file(2).bytes[7] = 0;
    const again = await open();
    expect([await again.find(cidOf(1)), await again.find(cidOf(2))]).toEqual([undefined, undefined]);
    expect(await again.find(cidOf(3))).toEqual(bytesOf(3));
    expect(dropped).toEqual([cidOf(1), cidOf(2)]);
    expect([...disk.files.keys()]).toEqual([cidOf(3)]);
    await again.keep(cidOf(1), bytesOf(1));
    expect(await again.find(cidOf(1))).toEqual(bytesOf(1));
  });

  test('sees what another tab added or removed', async () => {
    const { disk, open } = clocked();
    const [a, b] = [await open(), await open()];
    await a.keep(cidOf(1), bytesOf(1));
    expect(await b.find(cidOf(1))).toEqual(bytesOf(1));
    expect(b.has(cidOf(1))).toBe(true);
    await a.clear();
    expect(await b.find(cidOf(1))).toBeUndefined();
    expect(b.figures.heldBytes).toBe(0);
    // Together they stay within the limit: whoever makes room counts the other's.
    for (let n = 1; n <= 9; n++) await a.keep(cidOf(n), bytesOf(n));
    for (let n = 10; n <= 21; n++) await b.keep(cidOf(n), bytesOf(n));
    expect(disk.files.size).toBeLessThanOrEqual(20);
    expect(b.figures.heldBytes).toBeLessThanOrEqual(10 * size);
  });

  test('takes a disk that is full sooner than its limit for its limit', async () => {
    const { disk, open } = clocked();
    disk.roomBytes = 5 * size;
    const shelf = await open();
    for (let n = 1; n <= 9; n++) await shelf.keep(cidOf(n), bytesOf(n));
    expect(shelf.has(cidOf(9))).toBe(true);
    expect(shelf.figures.limitBytes).toBeLessThanOrEqual(5 * size);
    expect(shelf.figures.why).toBeUndefined();
  });

  test('says why it keeps nothing more, and tries no more, when the disk fails; reads go on', async () => {
    const { disk, open } = clocked();
    const shelf = await open();
    await shelf.keep(cidOf(1), bytesOf(1));
    disk.broken = true;
    for (let n = 2; n <= 9; n++) await shelf.keep(cidOf(n), bytesOf(n));
    expect(shelf.figures.why).toMatch(/failed/);
    expect(await shelf.find(cidOf(1))).toBeUndefined();
    disk.broken = false;
    const { writes } = disk;
    await shelf.keep(cidOf(2), bytesOf(2));
    expect(disk.writes).toBe(writes);
    await shelf.clear();
    await shelf.keep(cidOf(2), bytesOf(2));
    expect([shelf.has(cidOf(2)), shelf.figures.why]).toEqual([true, undefined]);
  });

  test('keeps its accounts under any sequence of calls and restarts', async () => {
    const call = fc.record({
      kind: fc.constantFrom('keep', 'find', 'reopen', 'spoil', 'clear'),
      n: fc.integer({ min: 0, max: 8 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(call, { maxLength: 40 }), async (calls) => {
        const { disk, open } = clocked();
        let shelf = await open(4 * size);
        for (const { kind, n } of calls) {
          if (kind === 'keep') await shelf.keep(cidOf(n), bytesOf(n));
          if (kind === 'find') expect([undefined, n]).toContain((await shelf.find(cidOf(n)))?.[0]);
          if (kind === 'clear') await shelf.clear();
          if (kind === 'reopen') {
            await shelf.close();
            shelf = await open(4 * size);
          }
          const file = disk.files.get(cidOf(n));
          // Only between sessions: while one runs it trusts what it has written or read itself.
          if (kind === 'spoil' && file) {
            file.bytes = new Uint8Array(size).fill(99);
            shelf = await open(4 * size);
          }
          expect(shelf.figures.heldBytes).toBe(disk.files.size * size);
          expect(shelf.figures.heldBytes).toBeLessThanOrEqual(4 * size);
        }
      }),
    );
  });
});

describe('a folder', () => {
  test('shows no half-written block, leaves other files alone, and reads nothing that is too large', async () => {
    const directory = await folder();
    const disk = await openNodeDisk(directory);
    await writeFile(path.join(directory, 'letter.txt'), 'mine');
    await disk.write(cidOf(1), bytesOf(1));
    expect(await readdir(path.join(directory, 'drafts'))).toEqual([]);
    await truncate(path.join(directory, cidOf(1).slice(-2), cidOf(1)), 5_000_000);
    expect(await disk.read(cidOf(1))).toBeUndefined();
    await expect(disk.read('../letter.txt')).rejects.toMatchObject({ code: 'bad_request' });
    await disk.clear();
    expect(await readdir(directory)).toContain('letter.txt');
    expect(await disk.read(cidOf(1))).toBeUndefined();
  });

  test('that cannot be made is refused with its reason', async () => {
    const file = path.join(await folder(), 'file');
    await writeFile(file, '');
    await expect(openNodeDisk(path.join(file, 'blocks'))).rejects.toMatchObject({ code: 'storage_failed' });
  });
});

/** Memory and disk as one cache: what goes to the disk, what never does, and what a session finds after another. */
import { expect, test } from 'vitest';
import { cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';
import { MemoryBlockCache } from '../runtime/block-cache.ts';
import { openDiskShelf } from './disk-shelf.ts';
import { KeptBlockCache } from './kept-cache.ts';
import { noShelf } from './no-shelf.ts';
import type { Shelf } from './ports.ts';
import { MemoryDisk } from './testing/memory-disk.ts';

const bytesOf = (n: number) => new Uint8Array(100).fill(n);
const cidOf = (n: number) => cidOfSync(bytesOf(n), rawCode);

const disk = () => new MemoryDisk(() => Date.now());
const open = async (on: MemoryDisk, memoryBytes?: number) =>
  new KeptBlockCache(
    await openDiskShelf(on, { limitBytes: 10_000, now: () => Date.now() }),
    new MemoryBlockCache(memoryBytes),
  );

test('a session finds what the one before it downloaded, and reads each block from the disk once', async () => {
  const on = disk();
  const first = await open(on);
  await first.add(cidOf(1), bytesOf(1));
  await first.close();
  const second = await open(on);
  expect([second.has(cidOf(1)), second.peek(cidOf(1))]).toEqual([true, undefined]);
  const found = await Promise.all([second.find(cidOf(1)), second.find(cidOf(1)), second.get(cidOf(1))]);
  expect(found).toEqual([bytesOf(1), bytesOf(1), bytesOf(1)]);
  expect(await second.find(cidOf(1))).toEqual(bytesOf(1));
  expect([on.reads, second.kept.readBytes]).toEqual([1, 100]);
  await expect(second.get(cidOf(2))).rejects.toMatchObject({ code: 'not_found' });
});

test('half of a checkpoint is kept when its download is cut off', async () => {
  const on = disk();
  const first = await open(on);
  for (const n of [1, 2]) await first.add(cidOf(n), bytesOf(n));
  await first.close(); // and 3 and 4 never came
  const second = await open(on);
  expect([1, 2, 3, 4].map((n) => second.has(cidOf(n)))).toEqual([true, true, false, false]);
});

test('an output goes to the disk when it was agreed to, and not before', async () => {
  const on = disk();
  const cache = await open(on);
  const [agreed, rejected] = [await cache.putPinned(bytesOf(1)), await cache.putPinned(bytesOf(2))];
  await cache.close();
  expect(on.files.size).toBe(0);
  cache.publish(agreed);
  for (const cid of [agreed, rejected]) cache.unpin(cid);
  await cache.close();
  expect([...on.files.keys()]).toEqual([agreed]);
});

test('what memory has no room for any more is read from the disk', async () => {
  const cache = await open(disk(), 150);
  for (const n of [1, 2, 3]) await cache.add(cidOf(n), bytesOf(n));
  await cache.close();
  expect(cache.peek(cidOf(1))).toBeUndefined();
  expect(await cache.find(cidOf(1))).toEqual(bytesOf(1));
});

test('bytes that do not hash to their name are refused, and get nowhere near the disk', async () => {
  const on = disk();
  const cache = await open(on);
  await expect(cache.add(cidOf(1), bytesOf(2))).rejects.toMatchObject({ code: 'bad_block' });
  await cache.close();
  expect([cache.has(cidOf(1)), on.files.size]).toEqual([false, 0]);
});

test('a disk that is refused leaves a cache in memory, which says why', async () => {
  const cache = new KeptBlockCache(noShelf('Refused.'));
  await cache.add(cidOf(1), bytesOf(1));
  expect(await cache.find(cidOf(1))).toEqual(bytesOf(1));
  expect(cache.kept).toMatchObject({ heldBytes: 0, why: 'Refused.' });
});

test('a download waits only while too much waits for the disk', async () => {
  const gate = Promise.withResolvers<void>();
  let waiting = 0;
  const slow: Shelf = { ...noShelf(''), keep: () => (waiting++, gate.promise) };
  const cache = new KeptBlockCache(slow);
  const count = limits.keptQueueBytesMax / limits.blockBytesMax + 3;
  const block = (n: number) => new Uint8Array(limits.blockBytesMax).fill(n);
  const adding = Promise.all(Array.from({ length: count }, (_, n) => cache.put(block(n))));
  let done = false;
  void adding.then(() => (done = true));
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(done).toBe(false);
  expect(waiting).toBeLessThan(count);
  gate.resolve();
  await adding;
});

/** What is kept of compiled kernels, and what becomes of a file that is torn, changed or cannot be written. */
import { chmod, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { cacheKey, CubinCache } from './cache.ts';

const source = { label: 'a', parts: ['header', 'body'] };
const key = cacheKey(source, 'sm_90', 'NVRTC 13.0');
const image = Uint8Array.from({ length: 1000 }, (_, i) => i);

let folder: string;
let cache: CubinCache;
const fileOf = (name = key) => path.join(folder, 'kept', `${name}.cubin`);
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'atoll-cubin-'));
  cache = new CubinCache(path.join(folder, 'kept'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

it('names a file by all that made it, and not by its label', () => {
  const others = [
    cacheKey({ label: 'a', parts: ['headerb', 'ody'] }, 'sm_90', 'NVRTC 13.0'),
    cacheKey(source, 'sm_80', 'NVRTC 13.0'),
    cacheKey(source, 'sm_90', 'NVRTC 12.9'),
  ];
  expect(new Set([key, ...others]).size).toBe(4);
  expect(cacheKey({ ...source, label: 'b' }, 'sm_90', 'NVRTC 13.0')).toBe(key);
});

it('gives back what it was given, from another process too', async () => {
  expect(await cache.get(key)).toBeNull();
  await cache.put(key, image);
  expect(
    Buffer.compare((await new CubinCache(path.join(folder, 'kept')).get(key)) ?? image.slice(1), image),
  ).toBe(0);
  expect((await stat(fileOf())).mode & 0o777).toBe(0o600);
  expect(await readdir(path.join(folder, 'kept'))).toEqual([`${key}.cubin`]);
});

it.each([
  ['torn', (bytes: Buffer) => bytes.subarray(0, 500)],
  [
    'changed',
    (bytes: Buffer) => Buffer.concat([bytes.subarray(0, 600), Buffer.from([255]), bytes.subarray(601)]),
  ],
  ['empty', () => Buffer.alloc(0)],
])('takes a %s file for none, and writes it anew', async (_, damage) => {
  await cache.put(key, image);
  await writeFile(fileOf(), damage(await readFile(fileOf())));
  expect(await cache.get(key)).toBeNull();
  await cache.put(key, image);
  expect(await cache.get(key)).not.toBeNull();
});

it('goes on without a disk that takes nothing, and says so', async () => {
  const file = path.join(folder, 'a file');
  await writeFile(file, '');
  const told: unknown[] = [];
  const blocked = new CubinCache(path.join(file, 'no folder'), (error) => told.push(error));
  await blocked.put(key, image);
  expect(told).toHaveLength(1);
  expect(await blocked.get(key)).toBeNull();
  await chmod(folder, 0o700);
});

it('lets the least lately used go', async () => {
  await cache.put(key, image);
  const small = await readFile(fileOf());
  const names = Array.from({ length: 1030 }, (_, i) => `old${i}`);
  await Promise.all(names.map((name) => writeFile(fileOf(name), small)));
  await Promise.all(names.map((name, i) => utimes(fileOf(name), 1000 + i, 1000 + i)));
  await new CubinCache(path.join(folder, 'kept')).put('new', image);
  const left = new Set(await readdir(path.join(folder, 'kept')));
  expect(left.size).toBe(1024);
  expect([left.has('old0.cubin'), left.has('old1029.cubin'), left.has('new.cubin')]).toEqual([
    false,
    true,
    true,
  ]);
});

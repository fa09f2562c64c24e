/** What is collected, and that nothing goes which a checkpoint, an open unit or the job's next rounds need. */
import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { encodeCanonical, linksOf } from '#protocol/codec/cbor.ts';
import { type Cid, cborCode, cidOfSync, parseCid, rawCode } from '#protocol/codec/cid.ts';
import { fileToLinks, writeFile } from '#protocol/messages/file.ts';
import { referenceRun, temporaryFolder, testContributor, testCoordinator } from '../testing/harness.ts';
import { testJob, testText } from '../testing/fake-programs.ts';
import { type BlobStore, blobPath, openBlobs } from './blobs.ts';
import { collectGarbage, defaultGarbageRules } from './garbage.ts';
import { openSqliteStorage } from './sqlite/sqlite-storage.ts';

const day = 24 * 3_600_000;
const rules = { ...defaultGarbageRules, lastRounds: 1 };

async function reachable(blobs: BlobStore, root: Cid): Promise<number> {
  const bytes = await blobs.get(root);
  if (parseCid(root).code !== cborCode) return 1;
  let blocks = 1;
  for (const link of linksOf(bytes)) blocks += await reachable(blobs, link);
  return blocks;
}

async function sizeOf(blobs: BlobStore): Promise<number> {
  let blocks = 0;
  for await (const _ of blobs.entries()) blocks += 1;
  return blocks;
}

test('what old rounds were computed from goes; checkpoints, the corpus and what comes next stay', async () => {
  const dataDir = await temporaryFolder();
  const first = await testCoordinator({ dataDir, stopAfterRounds: 3 });
  const helpers = [0, 1].map(() => testContributor(first).start());
  const job = await first.ensureJob(testJob(), testText());
  const { rounds } = await first.settled(job, 3);
  for (const helper of helpers) helper.stop();
  await first.close();

  const blobs = await openBlobs(join(dataDir, 'blobs'));
  const orphan = await blobs.put(new TextEncoder().encode('nobody speaks of this'));
  const storage = await openSqliteStorage({ path: join(dataDir, 'atoll.sqlite'), network: '0x' });
  const ports = { storage, blobs };
  const before = await sizeOf(blobs);
  expect(await collectGarbage(ports, Date.now(), rules)).toMatchObject({ removed: 0 });
  const collected = await collectGarbage(ports, Date.now() + 2 * day, rules);
  expect(collected).toMatchObject({ done: true });
  const removed = collected.done ? collected.removed : 0;
  // At least the orphan and, of two old rounds, the tokens and updates of every lane.
  expect(removed).toBeGreaterThan(5);
  expect(await sizeOf(blobs)).toBe(before - removed);
  expect(await blobs.has(orphan)).toBe(false);
  expect(await collectGarbage(ports, Date.now() + 2 * day, rules)).toMatchObject({ removed: 0 });
  for (const { checkpoint } of rounds) {
    expect(await reachable(blobs, checkpoint)).toBeGreaterThan(1);
    expect(await storage.isPublic(checkpoint)).toBe(true);
  }
  await storage.close();

  const second = await testCoordinator({ dataDir, stopAfterRounds: 5 });
  for (let i = 0; i < 2; i++) testContributor(second).start();
  expect(await second.ensureJob(testJob(), testText())).toBe(job);
  const status = await second.settled(job, 5);
  expect(status.rounds.map((round) => round.checkpoint)).toEqual((await referenceRun(5)).checkpoints);
});

test('a job that plans a unit whose outputs were collected has it computed again', async () => {
  const dataDir = await temporaryFolder();
  const run = async (name: string, rounds: number) => {
    const coordinator = await testCoordinator({ dataDir, stopAfterRounds: rounds });
    const helpers = [0, 1].map(() => testContributor(coordinator).start());
    const job = await coordinator.ensureJob(testJob({}, name), testText(), { alone: true });
    const status = await coordinator.settled(job, rounds);
    for (const helper of helpers) helper.stop();
    await coordinator.close();
    return status.rounds.map((round) => round.checkpoint);
  };
  const checkpoints = await run('one', 3);
  const blobs = await openBlobs(join(dataDir, 'blobs'));
  const storage = await openSqliteStorage({ path: join(dataDir, 'atoll.sqlite'), network: '0x' });
  const collected = await collectGarbage({ storage, blobs }, Date.now() + 2 * day, rules);
  expect(collected).toMatchObject({ done: true });
  await storage.close();
  // The name is no part of a unit, so the units are the same.
  expect(await run('another name', 3)).toEqual(checkpoints);
});

const old = { roots: [] as Cid[], pending: [] as Cid[] };
const speaking = (found: typeof old) => ({
  blockRoots: () => Promise.resolve(found),
  forgetBlocks: () => Promise.resolve(),
});

test('young blocks are left alone, and so is everything while outputs of an agreed unit are on their way', async () => {
  const folder = await temporaryFolder();
  const blobs = await openBlobs(folder);
  const [young, aged] = await Promise.all([blobs.put(Uint8Array.of(1)), blobs.put(Uint8Array.of(2))]);
  const part = await blobs.put(Uint8Array.of(3));
  const manifest = encodeCanonical(fileToLinks({ size: 1, blocks: [part] }));
  const pending = [cidOfSync(manifest, cborCode)];
  const now = Date.now();
  for (const cid of [aged, part]) await utimes(blobPath(folder, cid), 0, (now - 2 * day) / 1000);
  const waiting = { storage: speaking({ roots: [], pending }), blobs };
  expect(await collectGarbage(waiting, now)).toMatchObject({ done: false });
  expect(await blobs.has(aged)).toBe(true);
  await blobs.put(manifest, cborCode);
  expect(await collectGarbage(waiting, now)).toEqual({ done: true, kept: 2, removed: 1 });
  expect(await Promise.all([young, aged, part].map((cid) => blobs.has(cid)))).toEqual([true, false, true]);
});

test('what comes to be spoken of while the folders are read is kept', async () => {
  const folder = await temporaryFolder();
  const blobs = await openBlobs(folder);
  const { blocks } = await writeFile(blobs, new Uint8Array(10));
  const cid = blocks[0] as Cid;
  const looks = [[], [cid]];
  const storage = { ...speaking(old), blockRoots: async () => ({ roots: looks.shift() ?? [], pending: [] }) };
  expect(await collectGarbage({ storage, blobs }, Date.now() + 2 * day)).toMatchObject({ removed: 0 });
  expect(await blobs.has(cid)).toBe(true);
  const absent = cidOfSync(Uint8Array.of(9), rawCode);
  const gone = { storage: speaking({ roots: [absent], pending: [] }), blobs };
  expect(await collectGarbage(gone, Date.now() + 2 * day)).toMatchObject({ removed: 1 });
});

/** A backup taken under a running coordinator, restored elsewhere, goes on to the same model; what is damaged or in use is refused. */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { referenceRun, temporaryFolder, testContributor, testCoordinator } from '../testing/harness.ts';
import { testJob, testText } from '../testing/fake-programs.ts';
import { usePostgres } from '../testing/services.ts';
import { backup, restore } from './backup.ts';
import { blobPath, openBlobs } from './blobs.ts';

const postgres = usePostgres();

/** Two rounds, with the backup taken while the coordinator runs; then two more from the backup, elsewhere. */
async function throughBackup(databases: [from: string, to: string] | null): Promise<void> {
  const [dataDir, to, elsewhere] = [
    await temporaryFolder(),
    await temporaryFolder(),
    await temporaryFolder(),
  ];
  const [databaseUrl, other] = databases ?? [null, null];
  const first = await testCoordinator({
    ...{ dataDir, stopAfterRounds: 2 },
    ...(databaseUrl ? { databaseUrl } : {}),
  });
  const helpers = [0, 1].map(() => testContributor(first).start());
  const job = await first.ensureJob(testJob(), testText());
  const { rounds } = await first.settled(job, 2);
  await writeFile(join(dataDir, 'contract.json'), '{}');
  const made = await backup({ dataDir, databaseUrl }, to, 5);
  expect(made).toMatchObject({ database: databaseUrl ? 'postgres' : 'sqlite', takenAt: 5 });
  for (const helper of helpers) helper.stop();
  const { network } = first;
  await first.close();
  await rm(dataDir, { recursive: true });

  expect(await restore(to, { dataDir: elsewhere, databaseUrl: other })).toEqual(made);
  expect(await readdir(elsewhere)).toContain('contract.json');
  const second = await testCoordinator({
    ...{ dataDir: elsewhere, stopAfterRounds: 4 },
    ...(other ? { databaseUrl: other } : {}),
  });
  expect(second.network).toBe(network);
  expect((await second.status(job)).rounds).toEqual(rounds);
  for (let i = 0; i < 2; i++) testContributor(second).start();
  expect(await second.ensureJob(testJob(), testText())).toBe(job);
  const status = await second.settled(job, 4);
  expect(status.rounds.map((round) => round.checkpoint)).toEqual((await referenceRun(4)).checkpoints);
}

test('of SQLite: what is restored goes on', () => throughBackup(null));

test('of PostgreSQL: what is restored goes on', async (context) => {
  const server = await postgres(context);
  await throughBackup([await server.createDatabase(), await server.createDatabase()]);
});

test('what is in use, unfinished or damaged is refused', async () => {
  const [dataDir, root] = [await temporaryFolder(), await temporaryFolder()];
  const place = { dataDir, databaseUrl: null };
  await expect(backup(place, join(root, 'none'), 5)).rejects.toMatchObject({ code: 'bad_config' });
  const coordinator = await testCoordinator({ dataDir });
  const cid = await coordinator.blocks.put(Uint8Array.of(1, 2, 3));
  const to = join(root, 'to');
  await backup(place, to, 5);
  await expect(backup(place, to, 5)).rejects.toThrow(/not empty/);
  await expect(restore(to, place)).rejects.toThrow(/holds a network already/);
  await expect(restore(join(root, 'nowhere'), place)).rejects.toThrow(/no backup/);
  const empty = { dataDir: join(root, 'new'), databaseUrl: null };
  await expect(restore(to, { ...empty, databaseUrl: 'postgres://x' })).rejects.toThrow(/sqlite/);
  await writeFile(blobPath(join(to, 'blobs'), cid), Uint8Array.of(9));
  await expect(restore(to, empty)).rejects.toMatchObject({ code: 'bad_block' });
  await rm(blobPath(join(to, 'blobs'), cid));
  await expect(restore(to, empty)).rejects.toThrow(/0 of its 1 blocks/);
  await (await openBlobs(join(to, 'blobs'))).put(Uint8Array.of(1, 2, 3));
  await mkdir(empty.dataDir, { recursive: true });
  expect(await restore(to, empty)).toMatchObject({ blocks: 1 });
});

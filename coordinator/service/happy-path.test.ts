/** Two honest contributors train a fake model over real WebSockets; the checkpoints are those of a run in one process. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeFile } from '#protocol/messages/file.ts';
import { createCoordinator } from '../main.ts';
import { runJob } from '../planner/run-job.ts';
import { TestContributor } from '../testing/contributor.ts';
import {
  fakeExecute,
  fakeInitialCheckpoint,
  MemoryBlocks,
  testJob,
  testText,
} from '../testing/fake-programs.ts';

let dataDir: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'atoll-'));
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

test('two honest contributors reach the checkpoints of a single-process run', async () => {
  const coordinator = await createCoordinator({
    dataDir,
    port: 0,
    initialCheckpoint: fakeInitialCheckpoint,
    stopAfterRounds: 3,
  });
  const contributors = [0, 1].map(() => new TestContributor(coordinator.url).start());
  try {
    const job = await coordinator.ensureJob(testJob(), testText());
    const status = await coordinator.settled(job, 3);
    const blocks = new MemoryBlocks();
    const corpus = await writeFile(blocks, testText());
    const reference = await runJob({ ...testJob(), corpus }, 3, blocks, (unit) => fakeExecute(unit, blocks), {
      initial: fakeInitialCheckpoint,
    });
    expect(status.rounds.map((round) => round.checkpoint)).toEqual(reference.checkpoints);
    expect([status.lossFirst, ...status.rounds.map((round) => round.loss)]).toEqual(reference.losses);
    expect(status.state).toBe('done');
    expect(status).toMatchObject({ unitsAccepted: 13, replicasUsed: 26, unitsSplit: 0 });
  } finally {
    for (const contributor of contributors) contributor.stop();
    await coordinator.close();
  }
});

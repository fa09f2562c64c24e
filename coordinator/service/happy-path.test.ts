/** Two honest contributors train a fake model over real WebSockets; the checkpoints are those of a run in one process. */
import { expect, test } from 'vitest';
import { referenceRun, testContributor, testCoordinator } from '../testing/harness.ts';
import { testJob, testText } from '../testing/fake-programs.ts';

test('two honest contributors reach the checkpoints of a single-process run', async () => {
  const coordinator = await testCoordinator({ stopAfterRounds: 3 });
  for (let i = 0; i < 2; i++) testContributor(coordinator).start();
  const job = await coordinator.ensureJob(testJob(), testText());
  const status = await coordinator.settled(job, 3);
  const reference = await referenceRun(3);
  expect(status.rounds.map((round) => round.checkpoint)).toEqual(reference.checkpoints);
  expect([status.lossFirst, ...status.rounds.map((round) => round.loss)]).toEqual(reference.losses);
  expect(status).toMatchObject({ state: 'done', unitsAccepted: 13, replicasUsed: 26, unitsSplit: 0 });
});

test('two contributors and many lanes do not end up waiting for each other', async () => {
  const coordinator = await testCoordinator();
  const lanes = { lanes: 40, steps: 1, batch: 1 };
  const job = await coordinator.ensureJob(testJob(lanes), testText(), { stopAfterRounds: 1 });
  for (let i = 0; i < 2; i++) testContributor(coordinator).start();
  const status = await coordinator.settled(job, 1);
  expect(status.rounds[0]?.checkpoint).toBe((await referenceRun(1, lanes)).checkpoints[0]);
});

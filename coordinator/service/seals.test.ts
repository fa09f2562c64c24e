/** Accepted results are shown to nobody before the plan goes on from them: until then a check of one looks like any other work. */
import { expect, test } from 'vitest';
import { cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import type { FrameOf, FromCoordinator } from '#protocol/messages/frames.ts';
import { decodeResult, decodeWorkunit } from '#protocol/messages/workunit.ts';
import type { TestContributor } from '../testing/contributor.ts';
import { testJob, testText } from '../testing/fake-programs.ts';
import { getJson, testContributor, testCoordinator } from '../testing/harness.ts';

type Lease = FrameOf<FromCoordinator, 'lease'>;

test('an accepted lane looks as if it were being computed until its round goes on', async () => {
  const coordinator = await testCoordinator();
  const parked: { self: TestContributor; lease: Lease }[] = [];
  let open: string | null = null;
  // The first lane that is leased is computed at once, the other is kept back.
  const onLease = async (self: TestContributor, lease: Lease): Promise<boolean> => {
    const { program } = decodeWorkunit(lease.unit);
    const unit = cidOfSync(lease.unit, cborCode);
    if (program.startsWith('train.steps')) open ??= unit;
    if (!program.startsWith('train.steps') || unit === open) return true;
    parked.push({ self, lease });
    self.ask();
    return false;
  };
  const people = [0, 1].map(() => testContributor(coordinator, { onLease }));
  for (const each of people) each.start();
  const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
  for (const each of people) await each.frame('verdict', (frame) => frame.unit === open);
  const path = `/v1/units/${open}`;
  const [held] = [...(people[0] as TestContributor).held.values()].filter((each) => each.unit === open);
  const result = (held as { result: Uint8Array }).result;
  const outputs = [cidOfSync(result, cborCode), ...Object.values(decodeResult(result).outputs)];
  expect(await getJson(coordinator, path)).toMatchObject({
    ...{ state: 'gathering', resultBytes: null, digest: null, replicas: [], proof: null },
  });
  for (const cid of outputs) expect((await fetch(`${coordinator.url}/ipfs/${cid}`)).status).toBe(404);
  const lane = (await coordinator.status(job)).units.find((each) => each.unit === open);
  expect(lane).toMatchObject({ state: 'leased', replicas: 1 });

  open = null;
  for (const { self, lease } of parked) await self.compute(lease);
  for (const each of people) each.behaviour.onLease = async () => true;
  await coordinator.settled(job, 1);
  expect(await getJson(coordinator, path)).toMatchObject({ state: 'accepted' });
  for (const cid of outputs) expect((await fetch(`${coordinator.url}/ipfs/${cid}`)).status).toBe(200);
});

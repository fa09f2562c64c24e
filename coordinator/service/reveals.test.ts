/** What the signature of a reveal is for: an opening that matches the signed commitment needs none, one that does not is proof only when it is signed. */
import { expect, test } from 'vitest';
import { toHex } from '#protocol/messages/contribution.ts';
import type { Hex } from 'viem';
import type { Held, TestContributor } from '../testing/contributor.ts';
import { testJob, testText } from '../testing/fake-programs.ts';
import { getJson, testContributor, testCoordinator } from '../testing/harness.ts';

const forged = toHex(new Uint8Array(65).fill(1, 0, 64).fill(27, 64));

function revealWith(
  self: TestContributor,
  { assignment, salt, result }: Held,
  changes: { salt?: Hex },
): void {
  self.send({ t: 'reveal', assignment, salt, result, ...changes, signature: forged });
}

const codesOf = ({ received }: TestContributor) =>
  received.flatMap((frame) => (frame.t === 'problem' ? [frame.problem.code] : []));

test('an opening that matches counts without its own signature', async () => {
  const coordinator = await testCoordinator();
  const careless = testContributor(coordinator, {
    onOpen: async (self, held) => {
      revealWith(self, held, {});
      return false;
    },
  }).start();
  testContributor(coordinator).start();
  const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
  await coordinator.settled(job, 1);
  expect(codesOf(careless)).toEqual([]);
  expect(await getJson(coordinator, `/v1/contributors/${careless.address}`)).toMatchObject({ agreed: 5 });
});

test('one that does not match and is not signed proves nothing: it is refused, and the right one still counts', async () => {
  const coordinator = await testCoordinator();
  const slandered = testContributor(coordinator, {
    onOpen: async (self, held) => {
      revealWith(self, held, { salt: `0x${'77'.repeat(32)}` });
      return true;
    },
  }).start();
  testContributor(coordinator).start();
  const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
  await coordinator.settled(job, 1);
  expect(codesOf(slandered)).toEqual(Array(5).fill('bad_signature'));
  expect(await getJson(coordinator, `/v1/contributors/${slandered.address}`)).toMatchObject({
    agreed: 5,
    rejected: 0,
  });
});

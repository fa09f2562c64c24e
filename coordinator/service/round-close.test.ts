/** The close of a round: its bonus is paid once, its rewards become a root that everybody can check, its lineage leads back to the data. */
import { expect, test } from 'vitest';
import { createClient } from '#protocol/http/client.ts';
import { rewardLeaf, verifyProof } from '#protocol/merkle.ts';
import { testJob, testText } from '../testing/fake-programs.ts';
import { testContributor, testCoordinator } from '../testing/harness.ts';

const data = { source: 'a test', licence: 'CC0-1.0', quality: 500 };
const rounds = 9;

async function finished() {
  const coordinator = await testCoordinator();
  const contributors = [testContributor(coordinator), testContributor(coordinator)];
  for (const contributor of contributors) contributor.start();
  const job = await coordinator.ensureJob({ ...testJob(), data }, testText(), { stopAfterRounds: rounds });
  const status = await coordinator.settled(job, rounds);
  return { coordinator, job, status, client: createClient({ base: coordinator.url }) };
}

test('bonuses, rewards, shares and lineage of a job, as a client sees them', async () => {
  const { job, status, client } = await finished();
  const { transfers } = await client.call('ledger', { query: { limit: '200' } });
  const of = (kind: string) => transfers.filter((transfer) => transfer.kind === kind);

  // Half the quality, half the pay; nobody has earned trust at the beginning.
  expect(of('earned')[0]).toMatchObject({
    job,
    reason: expect.stringContaining('quality 500, growth 1000') as string,
  });
  expect(of('earned')[0]?.credit).toMatch(/^escrow:/);
  expect(of('earned').at(-1)?.credit).toMatch(/^credit:/);
  expect(of('released').length).toBe(2);

  // A bonus where the loss fell, and only there.
  const losses = [status.lossFirst as number, ...status.rounds.map(({ loss }) => loss)];
  const better = status.rounds.filter(({ round, loss }) => loss < (losses[round - 1] as number));
  expect(better.length).toBeGreaterThan(0);
  const paid = new Set(of('bonus').flatMap(({ credit }) => /^bonus:.*:(\d+)$/.exec(credit)?.[1] ?? []));
  expect([...paid].map(Number).toSorted((a, b) => a - b)).toEqual(better.map(({ round }) => round));

  // Everybody's reward proves itself against the root of the last round.
  const last = status.rounds.at(-1)?.rewards;
  expect(last).toMatchObject({ contributors: 2 });
  expect((await client.call('rewards', {})).last).toEqual(last);
  const holders = new Set(of('released').map(({ credit }) => credit.slice('credit:'.length)));
  let total = 0n;
  for (const address of holders) {
    const { contributor, amount, root, siblings } = await client.call('reward', { params: { address } });
    expect(root).toBe(last?.root);
    expect(verifyProof(root, rewardLeaf(contributor, BigInt(amount)), siblings)).toBe(true);
    total += BigInt(amount);
  }
  expect(String(total)).toBe(last?.total);

  // Nothing was taken back, so what was earned is what the model is made of.
  const shares = await client.call('shares', { params: { id: job }, query: { limit: '1' } });
  const rest = await client.call('shares', { params: { id: job }, query: { cursor: shares.next as string } });
  const shared = [...shares.shares, ...rest.shares].reduce((sum, { amount }) => sum + BigInt(amount), 0n);
  expect([shares.shares.length, rest.shares.length, rest.next, shared]).toEqual([1, 1, null, total]);

  const checkpoint = status.rounds.at(-1)?.checkpoint as string;
  const page = await client.call('lineage', { params: { checkpoint }, query: { depth: '4' } });
  expect(page.rounds.map(({ round }) => round)).toEqual([9, 8, 7, 6]);
  expect(page).toMatchObject({ job, data: { origin: data }, next: status.rounds[4]?.checkpoint });
  expect(page.rounds[0]?.lanes[0]?.contributors.length).toBeGreaterThan(0);
});

test('what cannot be had is a problem, not a fault', async () => {
  const coordinator = await testCoordinator();
  const client = createClient({ base: coordinator.url });
  const address = `0x${'1'.repeat(40)}`;
  const checkpoint = 'bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm';
  expect(await client.call('rewards', {})).toEqual({ last: null });
  expect(await client.call('ledger', { query: { after: '7' } })).toMatchObject({
    transfers: [],
    tip: { seq: 0 },
  });
  await expect(client.call('reward', { params: { address } })).rejects.toMatchObject({ code: 'not_found' });
  await expect(client.call('lineage', { params: { checkpoint } })).rejects.toMatchObject({
    code: 'not_found',
  });
  await expect(
    client.call('lineage', { params: { checkpoint }, query: { depth: '1001' } }),
  ).rejects.toMatchObject({
    code: 'bad_request',
  });
  expect(await client.call('shares', { params: { id: checkpoint } })).toEqual({ shares: [], next: null });
});

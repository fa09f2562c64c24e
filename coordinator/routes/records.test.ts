/** The records over HTTP: what was decided, by whom, and what it earned; and that nothing of a result shows anywhere before it is published. */
import { expect, test } from 'vitest';
import { cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import { createClient, type Client } from '#protocol/http/client.ts';
import { decodeResult } from '#protocol/messages/workunit.ts';
import type { FrameOf, FromCoordinator } from '#protocol/messages/frames.ts';
import type { Coordinator } from '../main.ts';
import type { TestContributor } from '../testing/contributor.ts';
import { testJob, testText } from '../testing/fake-programs.ts';
import { testContributor, testCoordinator } from '../testing/harness.ts';

type Lease = FrameOf<FromCoordinator, 'lease'>;
const laneOf = async (coordinator: Coordinator, job: string, lane: number) =>
  (await coordinator.status(job)).units.find((unit) => unit.lane === lane)?.unit as string;

/** Two contributors that finish all of round 1 but its second lane, which they have leased and hold back. */
async function almost() {
  const coordinator = await testCoordinator({ timing: { eventMs: 10 } });
  const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
  const last = await laneOf(coordinator, job, 1);
  const held: [TestContributor, Lease][] = [];
  const onLease = async (contributor: TestContributor, lease: Lease) => {
    if (cidOfSync(lease.unit, cborCode) !== last) return true;
    held.push([contributor, lease]);
    contributor.ask();
    return false;
  };
  const contributors = [0, 1].map(() => testContributor(coordinator, { onLease }).start());
  for (const contributor of contributors) {
    const verdicts = () => contributor.received.filter((frame) => frame.t === 'verdict').length;
    await contributor.frame('verdict', () => verdicts() >= 2);
  }
  const finish = async () => {
    for (const [contributor, lease] of held) await contributor.compute(lease);
    await coordinator.settled(job, 1);
  };
  return { coordinator, client: createClient({ base: coordinator.url }), job, last, contributors, finish };
}

/** Everything that may be asked about a unit and those who computed it, as one text. */
async function allThatIsSaid(
  client: Client,
  job: string,
  units: readonly string[],
  addresses: readonly string[],
) {
  const said: unknown[] = [
    await client.call('job', { params: { id: job } }),
    await client.call('jobs', {}),
    await client.call('jobRounds', { params: { id: job } }),
    await client.call('decisions', {}),
    await client.call('deltas', {}),
    await client.call('ledger', {}),
    await client.call('rewards', {}),
    await client.call('shares', { params: { id: job } }),
  ];
  for (const unit of units) {
    said.push(await client.call('consensus', { params: { unit } }));
    said.push({ ...(await client.call('unit', { params: { cid: unit } })), unitBytes: '' });
  }
  for (const address of addresses) {
    said.push(await client.call('contributor', { params: { address } }));
    said.push(await client.call('wallet', { params: { address } }));
  }
  return JSON.stringify(said);
}

test('nothing of an accepted result shows before it is published: no route, event or header tells it from an open one', async () => {
  const { coordinator, client, job, last, contributors, finish } = await almost();
  const seen: string[] = [];
  const streaming = new AbortController();
  const stream = await fetch(`${coordinator.url}/v1/jobs/${job}/events`, { signal: streaming.signal });
  void (async () => {
    for await (const chunk of stream.body as ReadableStream<Uint8Array>)
      seen.push(Buffer.from(chunk).toString());
  })().catch(() => undefined);

  const done = [...(contributors[0]?.held.values() ?? [])];
  expect(done.length).toBe(2);
  const addresses = contributors.map((contributor) => contributor.address);
  const units = [...done.map((held) => held.unit), last];
  const before = await allThatIsSaid(client, job, units, addresses);
  for (const { result } of done) {
    const digest = cidOfSync(result, cborCode);
    const { outputs } = decodeResult(result);
    for (const cid of [digest, ...Object.values(outputs)]) {
      expect(before).not.toContain(cid);
      expect((await client.send('block', { params: { cid } })).status).toBe(404);
    }
  }
  const {
    units: shown,
    unitsAccepted,
    replicasUsed,
    checkpoint,
  } = await client.call('job', { params: { id: job } });
  expect({ unitsAccepted, replicasUsed }).toEqual({ unitsAccepted: 0, replicasUsed: 0 });
  expect(
    new Set(shown.map(({ state, replicas, progress }) => JSON.stringify([state, replicas, progress]))).size,
  ).toBe(1);
  for (const unit of units) {
    expect(await client.call('consensus', { params: { unit } })).toMatchObject({
      published: false,
      steps: [],
    });
    expect(await client.call('unit', { params: { cid: unit } })).toMatchObject({
      state: 'gathering',
      replicas: [],
    });
  }
  for (const address of addresses) {
    expect(await client.call('contributor', { params: { address } })).toMatchObject({ agreed: 0, credit: 0 });
    const [standing] = (await client.call('wallet', { params: { address } })).contributors;
    expect(standing).toMatchObject({ agreed: 0, posted: '0', escrowed: '0', online: true });
  }
  expect(await client.call('ledger', {})).toMatchObject({ transfers: [], tip: { seq: 0 } });
  expect((await client.call('deltas', {})).deltas).toEqual([]);
  expect((await client.call('decisions', {})).decisions).toEqual([]);

  await finish();
  streaming.abort();
  const events = seen.join('');
  const atEnd = events.indexOf('event: round');
  expect(events.slice(0, atEnd < 0 ? undefined : atEnd)).not.toContain('"state":"revealing"');
  // The control: all of it shows now.
  const after = await allThatIsSaid(client, job, units, addresses);
  for (const { result } of done) {
    expect(after).toContain(cidOfSync(result, cborCode));
    for (const cid of Object.values(decodeResult(result).outputs)) {
      expect((await client.send('block', { params: { cid } })).status).toBe(200);
    }
  }
  expect((await client.call('job', { params: { id: job } })).checkpoint).not.toBe(checkpoint);
});

test('what was decided, step by step; what each lane added; who is here and what they have', async () => {
  const coordinator = await testCoordinator();
  const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 2 });
  const contributors = [0, 1].map(() => testContributor(coordinator).start());
  await coordinator.settled(job, 2);
  const client = createClient({ base: coordinator.url });
  const addresses = contributors.map((contributor) => contributor.address).toSorted();

  const { decisions, next } = await client.call('decisions', { query: { limit: '3' } });
  expect(decisions.map(({ round, kind, lane }) => [round, kind, lane])).toEqual([
    [2, 'eval', 0],
    [2, 'outer', 0],
    [2, 'train', 0],
  ]);
  const rest = await client.call('decisions', { query: { cursor: next as string, job } });
  expect(rest.decisions.map(({ round, kind, lane }) => [round, kind, lane])).toEqual([
    [2, 'train', 1],
    [1, 'eval', 0],
    [1, 'first', 0],
    [1, 'outer', 0],
    [1, 'train', 0],
    [1, 'train', 1],
  ]);
  expect(rest.next).toBeNull();

  const { deltas } = await client.call('deltas', { query: { job } });
  expect(deltas.map(({ round, lane }) => [round, lane])).toEqual([
    [2, 0],
    [2, 1],
    [1, 0],
    [1, 1],
  ]);
  for (const delta of deltas) {
    expect((await client.send('block', { params: { cid: delta.update } })).status).toBe(200);
    expect(delta.contributors.toSorted()).toEqual(addresses);
  }

  const unit = deltas[0]?.unit as string;
  const consensus = await client.call('consensus', { params: { unit } });
  expect(consensus.tally).toHaveLength(1);
  expect(consensus.tally[0]?.digest).toBe(consensus.decision?.digest);
  expect(consensus.steps.map((step) => step.step).toSorted()).toEqual([
    'agreed',
    'agreed',
    'leased',
    'leased',
  ]);
  expect(consensus.steps.every((step) => step.purpose === 'vote')).toBe(true);
  expect(consensus.decision?.reason).not.toBe('');

  const peers = await client.call('peers', { query: { limit: '1' } });
  const more = await client.call('peers', { query: { cursor: peers.next as string } });
  expect([...peers.peers, ...more.peers].map((peer) => peer.contributor)).toEqual(addresses);
  expect(await client.call('figures', {})).toMatchObject({
    ...{ contributorsOnline: 2, jobs: 1, rounds: 2, unitsAccepted: 9, replicasUsed: 18, replicasPerUnit: 2 },
  });
  const lineage = await client.call('lineage', {
    params: { checkpoint: (await coordinator.status(job)).rounds[1]?.checkpoint as string },
  });
  expect(lineage.rounds.map((round) => round.round)).toEqual([2, 1]);
});

test('what a wallet has is what the ledger says, and a reward is proven', async () => {
  const coordinator = await testCoordinator();
  const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
  const contributors = [0, 1].map(() => testContributor(coordinator).start());
  await coordinator.settled(job, 1);
  const client = createClient({ base: coordinator.url });
  for (const { address } of contributors) {
    const { contributors: own } = await client.call('wallet', { params: { address } });
    expect(own.map((standing) => standing.contributor)).toEqual([address]);
    const [standing] = own;
    const credit = Number(standing?.posted) + Number(standing?.escrowed);
    expect(credit).toBeGreaterThan(0);
    expect(await client.call('contributor', { params: { address } })).toMatchObject({ credit, agreed: 5 });
  }
  await expect(client.call('wallet', { params: { address: `0x${'00'.repeat(20)}` } })).rejects.toMatchObject({
    code: 'not_found',
  });
  for (const cursor of ['W10', 'WzFd', 'bm9uZQ', 'WyIweCJd']) {
    await expect(client.call('decisions', { query: { cursor } })).rejects.toMatchObject({
      code: 'bad_request',
    });
    await expect(client.call('peers', { query: { cursor } })).rejects.toMatchObject({ code: 'bad_request' });
  }
});

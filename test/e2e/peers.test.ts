/**
 * Contributors feed each other, over real WebRTC with Node at both ends: the walking skeleton's training goes on while the coordinator gives out no checkpoint
 * and no update, beside a peer whose every block is false, and when somebody leaves in the middle.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunOutcome } from '#coordinator/planner/run-job.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { endWebRtc } from '#workers/node/p2p-transport.ts';
import { joinMember, joinSpoiler, type Member } from './members.ts';
import { honestRun, job, metric, type Network, openNetwork, temporaryDir, text, tokenBytes } from './rig.ts';

const roundsMax = 4;
/** Nobody has its first checkpoint, and there is a unit of it for everybody at once. */
const otherJob = { ...job, name: 'end to end, spoilt', seed: 18, training: { ...job.training, lanes: 4 } };

const members: Member[] = [];
let place: Awaited<ReturnType<typeof temporaryDir>>;
let network: Network;
let honest: RunOutcome;
let id: Cid;
let rounds = 1;

async function join(): Promise<Member> {
  const member = await joinMember(network.coordinator.url);
  members.push(member);
  return member;
}

async function until(test: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await test())) await new Promise((resolve) => setTimeout(resolve, 50));
}

async function run(stopAfterRounds: number): Promise<void> {
  id = await network.coordinator.ensureJob(job, text, { stopAfterRounds });
  await network.coordinator.settled(id, stopAfterRounds, AbortSignal.timeout(90_000));
}

beforeAll(async () => {
  place = await temporaryDir();
  network = await openNetwork(place.dir, { p2p: {} });
  honest = await honestRun(roundsMax);
});

afterAll(async () => {
  for (const { control } of members) await control.stop();
  await network?.close();
  await place?.remove();
  await endWebRtc();
});

describe('training among peers', () => {
  it('links three contributors with each other', async () => {
    for (let i = 0; i < 3; i++) await join();
    await until(() => members.every(({ ports }) => ports.swarm.view().direct === 2));
    await until(async () => {
      const response = await fetch(`${network.coordinator.url}/v1/peers`);
      const { swarm } = (await response.json()) as { swarm: object };
      return JSON.stringify(swarm) === JSON.stringify({ peers: 3, direct: 6, relayed: 0, failed: 0 });
    });
  });

  it('goes on when the coordinator gives out no checkpoint and no update any more', async () => {
    await run(1);
    for (const { gateway } of members) gateway.tokensOnly = true;
    const before = members.map(({ gateway }) => gateway.bytes);
    await run((rounds = 3));
    const peerBytes = members.map(({ ports }) => ports.swarm.view().peerBytes);
    expect(peerBytes.reduce((sum, bytes) => sum + bytes)).toBeGreaterThan(10_000);
    members.forEach(({ gateway }, i) =>
      expect(gateway.bytes - (before[i] as number)).toBeLessThan(20 * tokenBytes),
    );
  });

  it('is not touched by a peer that spoils every block: it is dropped, and complained of', async () => {
    const { coordinator } = network;
    const honestOnes = new Set(members);
    const hostile = await joinSpoiler(coordinator.url, otherJob);
    members.push(hostile);
    await until(() => [...honestOnes].every(({ ports }) => ports.swarm.view().direct === 3));
    // The gateway is slow: whoever needs the checkpoint has nobody else to ask, until all have found out.
    const { promise, resolve } = Promise.withResolvers<void>();
    for (const { gateway } of honestOnes) gateway.tokensOnly = false;
    for (const { gateway } of honestOnes) gateway.held = { cids: hostile.blocks, until: promise };
    const complaints = () => metric(coordinator.url, 'atoll_peer_complaints_total', 'fault="bad_block"');
    const other = await coordinator.ensureJob(otherJob, text, { stopAfterRounds: 1 });
    await until(async () => (await complaints()) === honestOnes.size);
    await until(() => hostile.ports.swarm.view().direct === 0);
    resolve();
    await coordinator.settled(other, 1, AbortSignal.timeout(90_000));
    const status = await coordinator.status(other);
    expect(status.rounds.map(({ checkpoint }) => checkpoint)).toEqual(
      (await honestRun(1, otherJob)).checkpoints,
    );
    for (const { ports } of honestOnes) {
      expect(ports.swarm.exchange.stats().blocksRefused).toBe(1);
      expect(ports.swarm.view().direct).toBe(2);
    }
    expect(await complaints()).toBe(honestOnes.size);
    await hostile.control.stop();
  });

  it('goes on when somebody leaves in the middle of everything', async () => {
    const leaving = members[0] as Member;
    id = await network.coordinator.ensureJob(job, text, { stopAfterRounds: ++rounds });
    await until(async () =>
      (await network.coordinator.status(id)).units.some(({ replicas }) => replicas > 0),
    );
    await leaving.ports.swarm.stop();
    await leaving.control.stop();
    await network.coordinator.settled(id, rounds, AbortSignal.timeout(90_000));
    const status = await network.coordinator.status(id);
    expect(status.rounds.map(({ checkpoint }) => checkpoint)).toEqual(honest.checkpoints.slice(0, rounds));
    await until(() => members.slice(1, 3).every(({ ports }) => ports.swarm.view().direct === 1));
  });
});

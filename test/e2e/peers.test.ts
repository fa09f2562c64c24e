/**
 * Contributors feed each other, over real WebRTC with Node at both ends: the walking skeleton's training goes on while the coordinator gives out no checkpoint
 * and no update, beside a peer whose every block is false, and when somebody leaves in the middle.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunOutcome } from '#coordinator/planner/run-job.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { SwarmAsker } from '#protocol/http/swarm.ts';
import { createRuntime } from '#workers/runtime/contributor.ts';
import type { OriginSource } from '#workers/runtime/ports.ts';
import type { ContributorControl } from '#workers/runtime/view.ts';
import { endWebRtc, openNodeTransport } from '#workers/node/p2p-transport.ts';
import { exchanging } from '#workers/p2p/swarm-member.ts';
import { contributorPorts, honestRun, job, type Network, openNetwork, temporaryDir, text } from './rig.ts';

/** Bytes of the tokens of one unit, of training and of evaluation alike: nothing else has this size. */
const tokenBytes = job.training.steps * job.training.batch * (job.model.T + 1);
const roundsMax = 9;

/** The coordinator's gateway as one contributor sees it. */
class Gateway implements OriginSource {
  /** Only what units bring with them is given out: whatever was computed has to come from peers. */
  tokensOnly = false;
  bytes = 0;
  readonly #source: OriginSource;

  constructor(source: OriginSource) {
    this.#source = source;
  }

  async fetch(cid: Cid, signal: AbortSignal, asker?: SwarmAsker): Promise<Uint8Array> {
    const bytes = await this.#source.fetch(cid, signal, asker);
    if (this.tokensOnly && bytes.byteLength !== tokenBytes) {
      throw new AtollError('unavailable', 'The blocks of this coordinator are switched off.');
    }
    this.bytes += bytes.byteLength;
    return bytes;
  }
}

interface Member {
  control: ContributorControl;
  gateway: Gateway;
  ports: ReturnType<typeof exchanging>;
}

const members: Member[] = [];
let place: Awaited<ReturnType<typeof temporaryDir>>;
let network: Network;
let honest: RunOutcome;
let id: Cid;
let rounds = 1;

/** A contributor with peers. What it keeps is spoilt on the way out when it is hostile. */
async function join(isHostile = false): Promise<Member> {
  const { url } = network.coordinator;
  const plain = contributorPorts(url);
  const gateway = new Gateway(plain.source);
  const { signer, cache } = plain;
  const find = cache.find.bind(cache);
  if (isHostile) {
    cache.find = async (cid) => {
      const bytes = await find(cid);
      return bytes && bytes.map((byte, i) => (i === 0 ? byte ^ 1 : byte));
    };
  }
  const ports = exchanging({ ...plain, source: gateway, cache }, (network) =>
    openNodeTransport({ url, network, signer, choice: 'direct' }),
  );
  const member = { control: createRuntime(ports), gateway, ports };
  members.push(member);
  await member.control.start();
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
    const hostile = await join(true);
    // It is after every file that anybody needs, units or not, so that it has something to spoil.
    for (const { ports } of members.slice(0, 3)) {
      const files = ports.swarm.files.bind(ports.swarm);
      ports.swarm.files = (root, named) => {
        hostile.ports.swarm.files(root, named);
        files(root, named);
      };
    }
    await until(() => hostile.ports.swarm.view().direct > 0);
    const refused = () =>
      members.slice(0, 3).reduce((sum, { ports }) => sum + ports.swarm.exchange.stats().blocksRefused, 0);
    // Whom a block is asked of is chance: it goes on until the hostile one has been asked.
    do await run(++rounds);
    while (refused() === 0 && rounds < roundsMax - 1);
    expect(refused()).toBeGreaterThan(0);
    const status = await network.coordinator.status(id);
    expect(status.rounds.map(({ checkpoint }) => checkpoint)).toEqual(honest.checkpoints.slice(0, rounds));
    await hostile.control.stop();
  });

  it('goes on when somebody leaves in the middle of everything', async () => {
    for (const { gateway } of members) gateway.tokensOnly = false;
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

/** The swarm over real connections: neighbours are told, left ones forgotten, others' records and proven liars kept out; and the hint that goes with a lease. */
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { toHex } from '#protocol/messages/hex.ts';
import { peerIdOfKey, signPeerRecord } from '#protocol/p2p/record.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import { Directory, type Peer } from '../service/directory.ts';
import { silentLogger, systemClock, systemRandom } from '../service/ports.ts';
import type { TestContributor } from '../testing/contributor.ts';
import { getJson, testContributor, testCoordinator } from '../testing/harness.ts';
import { testJob, testText } from '../testing/fake-programs.ts';
import { Swarm } from './swarm.ts';

const peerId = (n: number) => peerIdOfKey(toHex(new Uint8Array(32).fill(n)));
const day = 24 * 60 * 60_000;

async function announce(contributor: TestContributor, n: number, signer = contributor.signer): Promise<void> {
  await contributor.frame('welcome');
  const expires = Date.now() + day / 2;
  const record = await signPeerRecord(signer, contributor.network ?? '0x', peerId(n), expires);
  contributor.send({ t: 'announce', record, addresses: [`/memory/${n}`] });
}

function neighboursOf(contributor: TestContributor): string[] {
  const last = contributor.received.findLast((frame) => frame.t === 'peers');
  return last?.t === 'peers' ? last.peers.map(({ peer }) => peer).toSorted() : [];
}

const ids = (...ns: number[]) => ns.map(peerId).toSorted();

describe('the swarm of a coordinator', () => {
  it('tells every announced peer of the others, of their leaving, and shows counts without addresses', async () => {
    const coordinator = await testCoordinator();
    const all = [1, 2, 3].map(() => testContributor(coordinator).start());
    await Promise.all(all.map((each, i) => announce(each, i + 1)));
    await vi.waitFor(() => {
      all.forEach((each, i) =>
        expect(neighboursOf(each)).toEqual(ids(...[1, 2, 3].filter((n) => n !== i + 1))),
      );
    });
    const [one, two, three] = all as [TestContributor, TestContributor, TestContributor];
    one.send({ t: 'swarm', holds: [], wants: [], direct: 1, relayed: 1, failed: [] });
    await vi.waitFor(async () => {
      const { swarm, peers } = await getJson(coordinator, '/v1/peers');
      expect(swarm).toEqual({ peers: 3, direct: 1, relayed: 1, failed: 0 });
      expect(peers).toHaveLength(3);
    });
    expect(JSON.stringify(await getJson(coordinator, '/v1/peers'))).not.toMatch(/memory|12D3Koo/);
    three.stop();
    await vi.waitFor(() => {
      expect(neighboursOf(one)).toEqual(ids(2));
      expect(neighboursOf(two)).toEqual(ids(1));
    });
  });

  it('counts what neighbours complain of, and parts them', async () => {
    const coordinator = await testCoordinator();
    const [one, two] = [testContributor(coordinator).start(), testContributor(coordinator).start()];
    await Promise.all([announce(one, 1), announce(two, 2)]);
    await vi.waitFor(() => expect(neighboursOf(one)).toEqual(ids(2)));
    const counted = async () =>
      (await (await fetch(`${coordinator.url}/metrics`)).text())
        .split('\n')
        .filter((line) => line.startsWith('atoll_peer_complaints_total{'));
    one.send({ t: 'report', peer: peerId(3), fault: 'stall' }); // no neighbour
    one.send({ t: 'report', peer: peerId(2), fault: 'bad_block' });
    await vi.waitFor(async () =>
      expect(await counted()).toEqual(['atoll_peer_complaints_total{fault="bad_block"} 1']),
    );
    await vi.waitFor(() => expect([neighboursOf(one), neighboursOf(two)]).toEqual([[], []]));
  });

  it('takes no record that another has signed, and no word from who has not announced', async () => {
    const coordinator = await testCoordinator();
    const [one, two] = [testContributor(coordinator).start(), testContributor(coordinator).start()];
    await one.frame('welcome');
    one.send({ t: 'report', peer: peerId(9), fault: 'stall' });
    expect((await one.frame('problem')).problem.code).toBe('conflict');
    await announce(two, 1, signerFromKey(createKey()));
    expect((await two.frame('problem')).problem.code).toBe('bad_signature');
    expect((await getJson(coordinator, '/v1/peers'))['swarm']).toMatchObject({ peers: 0 });
  });

  it('hints with a lease how the checkpoint follows from one that is held', async () => {
    const coordinator = await testCoordinator();
    const pair = [testContributor(coordinator).start(), testContributor(coordinator).start()];
    const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 2 });
    await coordinator.settled(job, 2, AbortSignal.timeout(30_000));
    for (const each of pair) each.stop();
    const { rounds } = await coordinator.status(job);
    const asker = testContributor(coordinator, { onLease: async () => false });
    await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 3 });
    asker.start();
    await asker.frame('welcome');
    asker.send({ t: 'ask', holds: [rounds[0]?.checkpoint as string] });
    const lease = await asker.frame('lease', ({ sync }) => sync !== undefined);
    expect(lease.sync).toMatchObject({ from: rounds[0]?.checkpoint, updates: [{}] });
    expect(lease.sync?.updates[0]?.packed).toBeDefined();
  });
});

describe('a proven liar', () => {
  const contributor = signerFromKey(createKey());
  const network = toHex(new Uint8Array(32).fill(5));

  async function swarmWith(outlaws: Set<string>) {
    const directory = new Directory(systemClock);
    const ports = { network, directory, clock: systemClock, random: systemRandom, log: silentLogger };
    const swarm = new Swarm({ ...ports, isOutlawed: async (who) => outlaws.has(who) });
    onTestFinished(() => swarm.close());
    const peer: Peer = {
      contributor: contributor.address,
      programs: new Set(),
      origin: { owner: contributor.address, prefix: '', device: '', vendor: '', memoryBytes: null },
      granted: new Map(),
      committed: new Map(),
      send: () => {},
    };
    directory.join(peer);
    const record = await signPeerRecord(contributor, network, peerId(1), Date.now() + day / 2);
    return { swarm, announce: () => swarm.handle(peer, { t: 'announce', record, addresses: [] }) };
  }

  it('is not taken in', async () => {
    const { swarm, announce: join } = await swarmWith(new Set([contributor.address]));
    await expect(join()).rejects.toMatchObject({ code: 'forbidden' });
    expect(swarm.counts().peers).toBe(0);
  });

  it('is put out when it is found out, and not for a complaint', async () => {
    const outlaws = new Set<string>();
    const { swarm, announce: join } = await swarmWith(outlaws);
    await join();
    await swarm.suspect(contributor.address);
    expect(swarm.counts().peers).toBe(1);
    outlaws.add(contributor.address);
    await swarm.suspect(contributor.address);
    expect(swarm.counts().peers).toBe(0);
  });

  it('cannot have a signature checked all the time', async () => {
    const { announce: join } = await swarmWith(new Set());
    await join();
    await expect(join()).rejects.toMatchObject({ code: 'rate_limited' });
  });
});

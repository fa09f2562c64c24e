/** Contributors over real WebSockets, honest and not: what each gets, and that the others are undisturbed. */
import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import { decodeFromCoordinator, encodeFrame, type FromCoordinator } from '#protocol/messages/frames.ts';
import { limits } from '#protocol/limits.ts';
import { encodeResult, type Result } from '#protocol/messages/workunit.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import type { Hex } from 'viem';
import { defaultRules } from '../consensus/consensus.ts';
import type { Coordinator } from '../main.ts';
import { defaultSchedulerRules } from '../scheduler/scheduler.ts';
import type { Behaviour } from '../testing/contributor.ts';
import { getJson, referenceRun, testContributor, testCoordinator } from '../testing/harness.ts';
import { testJob, testText } from '../testing/fake-programs.ts';

async function accountOf(coordinator: Coordinator, contributor: { address: Hex }) {
  return getJson(coordinator, `/v1/contributors/${contributor.address}`);
}

const problems = (frames: readonly FromCoordinator[]) =>
  frames.flatMap((frame) => (frame.t === 'problem' ? [frame.problem.code] : []));

test('a liar is outvoted: rejected, unpaid, and the checkpoints are those of an honest run', async () => {
  const coordinator = await testCoordinator();
  const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 2 });
  const liar = testContributor(coordinator, { lie: 'wrong' }).start();
  await liar.frame('committed');
  const honest = [0, 1].map(() => testContributor(coordinator).start());
  const status = await coordinator.settled(job, 2);
  const reference = await referenceRun(2);
  expect(status.rounds.map((round) => round.checkpoint)).toEqual(reference.checkpoints);
  expect(status.unitsSplit).toBeGreaterThan(0);
  await liar.frame('verdict', (frame) => frame.outcome === 'rejected');
  expect(await accountOf(coordinator, liar)).toMatchObject({ agreed: 0, credit: 0 });
  for (const each of honest)
    expect(await accountOf(coordinator, each)).toMatchObject({ agreed: 9, rejected: 0 });
});

test('a copied commitment cannot be opened: its copier is rejected at once and unpaid', async () => {
  const coordinator = await testCoordinator();
  const honest = [0, 1].map(() => testContributor(coordinator));
  const copied = new Map<Hex, { salt: Hex; result: Uint8Array }>();
  const copycat = testContributor(coordinator, {
    onLease: async (self, lease) => {
      // Waits until somebody else has committed to the same unit, and commits to the same bytes.
      for (;;) {
        const originals = honest.flatMap((each) => [...each.acknowledged.commits.values()]);
        const original = originals.find((held) => held.unit === cidOfSync(lease.unit, cborCode));
        if (original) {
          copied.set(lease.assignment, original);
          self.held.set(lease.assignment, { ...original, assignment: lease.assignment });
          await self.sendCommit(lease.assignment, original.commitment);
          return false;
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    },
  }).start();
  await copycat.frame('welcome');
  const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
  await copycat.frame('lease');
  for (const each of honest) each.start();
  const status = await coordinator.settled(job, 1);
  expect(status.rounds[0]?.checkpoint).toBe((await referenceRun(1)).checkpoints[0]);
  const refusal = await copycat.frame('problem', (frame) => frame.problem.code === 'commitment_mismatch');
  expect(copied.has(refusal.assignment as Hex)).toBe(true);
  expect(await accountOf(coordinator, copycat)).toMatchObject({ agreed: 0, credit: 0, rejected: 1 });
});

test('a forged signature is refused by name, and the honest one still counts', async () => {
  const coordinator = await testCoordinator();
  const forger = signerFromKey(createKey());
  const victim = testContributor(coordinator, {
    onLease: async (self, lease) => {
      const { assignment } = lease;
      const commitment: Hex = `0x${'ab'.repeat(32)}`;
      const signature = await forger.sign(self.network as Hex, 'Commit', { assignment, commitment });
      self.send({ t: 'commit', assignment, commitment, signature });
      return true;
    },
  }).start();
  testContributor(coordinator).start();
  const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
  await coordinator.settled(job, 1);
  expect(problems(victim.received)).toEqual(Array(5).fill('bad_signature'));
  expect(await accountOf(coordinator, victim)).toMatchObject({ agreed: 5, rejected: 0 });
});

describe('stale leases', () => {
  test('a lease of somebody else, or of nobody, is stale', async () => {
    const coordinator = await testCoordinator();
    await coordinator.ensureJob(testJob(), testText());
    const owner = testContributor(coordinator, { onLease: async () => false }).start();
    const { assignment } = await owner.frame('lease');
    const thief = testContributor(coordinator, { onLease: async () => false }).start();
    await thief.frame('lease');
    await thief.sendCommit(assignment, `0x${'cd'.repeat(32)}`);
    const refusal = await thief.frame('problem');
    expect(refusal).toMatchObject({ assignment, problem: { code: 'stale_lease' } });
  });

  test('a lease that ran out is taken back, and its late commit refused', async () => {
    // Short, but not so short that the honest ones miss it on a busy machine: each lease that runs out doubles the wait for the next.
    const scheduling = { ...defaultSchedulerRules, leaseMsMin: 1_000 };
    const coordinator = await testCoordinator({ scheduling, timing: { sweepMs: 20 } });
    const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
    const slow = testContributor(coordinator, { onLease: async () => false }).start();
    const lease = await slow.frame('lease');
    for (let i = 0; i < 2; i++) testContributor(coordinator).start();
    // It runs out, or, being late, the unit is given to another and decided without it.
    const isOver = (frame: { assignment?: Hex | undefined }) => frame.assignment === lease.assignment;
    await Promise.race([slow.frame('problem', isOver), slow.frame('verdict', isOver)]);
    slow.received.length = 0;
    await slow.compute(lease);
    expect(await slow.frame('problem')).toMatchObject({ problem: { code: 'stale_lease' } });
    expect((await coordinator.settled(job, 1)).rounds[0]?.checkpoint).toBe(
      (await referenceRun(1)).checkpoints[0],
    );
  });
});

test.each<[string, (unit: string, output: string) => Result]>([
  ['of another unit', (_, output) => ({ v: 1, unit: output, outputs: { loss: output } })],
  ['with other outputs', (unit, output) => ({ v: 1, unit, outputs: { gold: output } })],
])('a result %s is worth nothing, however well it was committed to', async (_, make) => {
  const coordinator = await testCoordinator();
  const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
  const confused = testContributor(coordinator, {
    onLease: async (self, lease) => {
      const output = cidOfSync(Uint8Array.of(1), cborCode);
      await self.commitTo(lease, encodeResult(make(cidOfSync(lease.unit, cborCode), output)));
      return false;
    },
  }).start();
  await confused.frame('committed');
  for (let i = 0; i < 2; i++) testContributor(coordinator).start();
  const status = await coordinator.settled(job, 1);
  expect(status.rounds[0]?.checkpoint).toBe((await referenceRun(1)).checkpoints[0]);
  expect((await confused.frame('problem')).problem.detail).toMatch(/^The result/);
  expect(await accountOf(coordinator, confused)).toMatchObject({ agreed: 0, credit: 0, rejected: 1 });
});

test('a withheld reveal is rejected, and another replica takes its place', async () => {
  const rules = { ...defaultRules, revealMs: 200 };
  const coordinator = await testCoordinator({ rules, timing: { sweepMs: 20 } });
  const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
  const withholder = testContributor(coordinator, { onOpen: async () => false }).start();
  await withholder.frame('committed');
  for (let i = 0; i < 2; i++) testContributor(coordinator).start();
  const status = await coordinator.settled(job, 1);
  expect(status.rounds[0]?.checkpoint).toBe((await referenceRun(1)).checkpoints[0]);
  const account = await accountOf(coordinator, withholder);
  expect(account).toMatchObject({ agreed: 0, credit: 0 });
  expect(account['rejected']).toBeGreaterThan(0);
});

test('a machine that was asleep holds nobody’s silence against them', async () => {
  let asleepMs = 0;
  const clock = { now: () => Date.now() + asleepMs };
  const coordinator = await testCoordinator({ clock, timing: { sweepMs: 20 } });
  const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
  const behaviour: Behaviour = {
    onOpen: async () => {
      asleepMs = 8 * 3_600_000;
      await new Promise((resolve) => setTimeout(resolve, 100)); // several looks at the clock
      return true;
    },
  };
  const contributors = [0, 1].map(() => testContributor(coordinator, behaviour).start());
  await coordinator.settled(job, 1);
  for (const each of contributors)
    expect(await accountOf(coordinator, each)).toMatchObject({ agreed: 5, rejected: 0 });
});

describe('holders that vanish', () => {
  test('when one holder leaves instead of sending blocks, the other is asked', async () => {
    const coordinator = await testCoordinator();
    const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
    let pulls = 0;
    const vanishing = testContributor(coordinator, {
      onPull: async (self) => {
        pulls++;
        self.socket?.terminate();
        return false;
      },
    }).start();
    testContributor(coordinator).start();
    const status = await coordinator.settled(job, 1);
    expect(status.rounds[0]?.checkpoint).toBe((await referenceRun(1)).checkpoints[0]);
    expect(pulls).toBeGreaterThan(0);
    expect(await accountOf(coordinator, vanishing)).toMatchObject({ agreed: 5, rejected: 0 });
  });

  test('when nobody can give the blocks of an agreed unit, it is issued again', async () => {
    const coordinator = await testCoordinator({
      timing: { pullMs: 300, blockMs: 100, awayMs: 50, sweepMs: 20 },
    });
    const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
    const forgetful: Behaviour = {
      onPull: async (self, cids) => {
        for (const cid of cids) self.blocks.map.delete(cid);
        self.serve(cids);
        return false;
      },
    };
    const losers = [0, 1].map(() => testContributor(coordinator, forgetful).start());
    const lost = await losers[0]?.frame('verdict', (frame) => frame.outcome === 'void');
    expect(lost?.reason).toMatch(/nobody could give its outputs/);
    for (const loser of losers) loser.stop();
    for (let i = 0; i < 2; i++) testContributor(coordinator).start();
    const status = await coordinator.settled(job, 1);
    expect(status.rounds[0]?.checkpoint).toBe((await referenceRun(1)).checkpoints[0]);
  });
});

describe('connections', () => {
  test('who comes back gets the open and the verdict again, and goes on', async () => {
    const coordinator = await testCoordinator();
    const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
    const dropped = new Set<Hex>();
    const shaky = testContributor(coordinator, {
      // The first open of every assignment is lost with the connection; so is the connection after each reveal.
      onOpen: async (self, held) => {
        if (dropped.has(held.assignment)) return true;
        dropped.add(held.assignment);
        self.socket?.terminate();
        return false;
      },
      onRevealed: async (self) => {
        self.socket?.terminate();
        return true;
      },
    }).start();
    testContributor(coordinator).start();
    await coordinator.settled(job, 1);
    expect(dropped.size).toBe(5);
    await expect.poll(() => shaky.acknowledged.agreed.size).toBe(5);
    expect(await accountOf(coordinator, shaky)).toMatchObject({ agreed: 5, rejected: 0 });
  });

  test('a lease left behind by a contributor that went away is given to another', async () => {
    const coordinator = await testCoordinator({ timing: { awayMs: 50, sweepMs: 20 } });
    const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
    const gone = testContributor(coordinator, { onLease: async () => false }).start();
    await gone.frame('lease');
    gone.stop();
    for (let i = 0; i < 2; i++) testContributor(coordinator).start();
    expect((await coordinator.settled(job, 1)).rounds).toHaveLength(1);
  });

  test('a reloaded page is given the lease that it has forgotten', async () => {
    const coordinator = await testCoordinator();
    await coordinator.ensureJob(testJob(), testText());
    const key = createKey();
    const before = testContributor(coordinator, { onLease: async () => false }, key).start();
    const { assignment } = await before.frame('lease');
    before.stop();
    const after = testContributor(coordinator, { onLease: async () => false }, key);
    await expect.poll(() => getJson(coordinator, '/v1/network')).toMatchObject({ contributorsOnline: 0 });
    after.start();
    expect((await after.frame('lease')).assignment).toBe(assignment);
  });

  test('a commit sent twice is acknowledged twice; another commitment for it conflicts', async () => {
    const coordinator = await testCoordinator();
    await coordinator.ensureJob(testJob(), testText());
    const contributor = testContributor(coordinator, { onLease: async () => false }).start();
    const held = await contributor.compute(await contributor.frame('lease'));
    await contributor.frame('committed');
    contributor.received.length = 0;
    await contributor.sendCommit(held.assignment, held.commitment);
    await contributor.frame('committed');
    await contributor.sendCommit(held.assignment, `0x${'77'.repeat(32)}`);
    expect(await contributor.frame('problem')).toMatchObject({ problem: { code: 'conflict' } });
  });
});

describe('bad frames', () => {
  /** Opens a bare connection, sends, and resolves with all frames and the close code. */
  async function converse(coordinator: Coordinator, ...messages: (Uint8Array | string)[]) {
    const socket = new WebSocket(`${coordinator.url.replace('http', 'ws')}/v1/contribute`);
    const frames: FromCoordinator[] = [];
    return new Promise<{ frames: FromCoordinator[]; code: number }>((resolve, reject) => {
      socket.on('message', (data: Buffer) => {
        frames.push(decodeFromCoordinator(new Uint8Array(data)));
        if (frames.length === 1) for (const message of messages) socket.send(message);
      });
      socket.on('error', reject);
      socket.on('close', (code) => resolve({ frames, code }));
    });
  }

  const zero32: Hex = `0x${'00'.repeat(32)}`;
  const hello = (changes: object) =>
    encodeFrame({
      t: 'hello',
      v: 1,
      contributor: signerFromKey(`0x${'01'.repeat(32)}`).address,
      signature: `0x${'12'.repeat(65)}`,
      device: { backend: 'reference', label: 'x', vendor: 'x', software: true },
      probe: zero32,
      programs: ['train.outer@1'],
      ...changes,
    });

  test.each<[string, Uint8Array | string, string]>([
    ['bytes that are not CBOR', Uint8Array.of(0xff, 0x00), 'bad_frame'],
    ['a text', 'hello', 'bad_frame'],
    ['CBOR in another form', Uint8Array.of(0xbf, 0xff), 'bad_frame'],
    ['an unknown frame', new Uint8Array([0xa1, 0x61, 0x74, 0x61, 0x78]), 'bad_frame'],
    ['deep nesting', new Uint8Array(5_000).fill(0x81), 'bad_frame'],
    ['an ask before the hello', encodeFrame({ t: 'ask' }), 'bad_frame'],
    ['a frame beyond the limit', new Uint8Array(limits.frameBytesMax + 1), 'too_large'],
    ['a frame far beyond the limit', new Uint8Array(4 * limits.frameBytesMax), 'too_large'],
    ['a hello that nobody signed', hello({}), 'bad_signature'],
  ])('%s gets a problem frame and the connection is closed', async (_, message, code) => {
    const coordinator = await testCoordinator();
    const { frames, code: closed } = await converse(coordinator, message);
    expect(frames.map((frame) => frame.t)).toEqual(['challenge', 'problem']);
    expect(problems(frames)).toEqual([code]);
    expect(closed).toBe(code === 'too_large' ? 1009 : 1008);
  });

  test('an honest pair finishes while others send rubbish', async () => {
    const coordinator = await testCoordinator();
    const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 2 });
    for (let i = 0; i < 2; i++) testContributor(coordinator).start();
    const rubbish = Array.from({ length: 20 }, (_, i) =>
      converse(
        coordinator,
        i % 2 ? new Uint8Array(2 * limits.frameBytesMax) : crypto.getRandomValues(new Uint8Array(99)),
      ),
    );
    const status = await coordinator.settled(job, 2);
    expect(status.rounds.map((round) => round.checkpoint)).toEqual((await referenceRun(2)).checkpoints);
    for (const { frames } of await Promise.all(rubbish)) expect(frames.at(-1)?.t).toBe('problem');
  });

  test('a hello signed for another connection is refused', async () => {
    const coordinator = await testCoordinator();
    const signer = signerFromKey(createKey());
    const message = { contributor: signer.address, nonce: zero32 };
    const signature = await signer.sign(coordinator.network, 'Hello', message);
    const { frames } = await converse(coordinator, hello({ contributor: signer.address, signature }));
    expect(problems(frames)).toEqual(['bad_signature']);
  });

  test('unknown programs are refused with the ones that are known; one known is enough', async () => {
    const coordinator = await testCoordinator();
    const stranger = testContributor(coordinator, { programs: ['mine.bitcoin@1'] }).start();
    const refusal = await stranger.frame('problem');
    expect(refusal.problem).toMatchObject({ code: 'unknown_program' });
    expect(refusal.problem.details?.['known']).toContain('train.outer@1');
    const partial = testContributor(coordinator, { programs: ['mine.bitcoin@1', 'train.outer@1'] }).start();
    await partial.frame('idle');
  });

  test('a device that fails the probe gets no work and is told why', async () => {
    const coordinator = await testCoordinator({ probe: `0x${'99'.repeat(32)}` });
    const broken = testContributor(coordinator).start();
    expect((await broken.frame('problem')).problem.code).toBe('nonconforming');
  });

  test('silence instead of a hello ends the connection', async () => {
    const coordinator = await testCoordinator({ timing: { helloMs: 50 } });
    const { frames } = await converse(coordinator);
    expect(problems(frames)).toEqual(['bad_frame']);
  });

  test('a block that nobody asked for is refused, and the connection goes on', async () => {
    const coordinator = await testCoordinator();
    const contributor = testContributor(coordinator).start();
    await contributor.frame('welcome');
    const bytes = Uint8Array.of(1, 2, 3);
    const cid = await contributor.blocks.put(bytes);
    contributor.send({ t: 'block', cid, bytes });
    expect((await contributor.frame('problem')).problem.code).toBe('bad_request');
    contributor.received.length = 0;
    contributor.ask();
    await contributor.frame('idle');
    expect((await fetch(`${coordinator.url}/ipfs/${cid}`)).status).toBe(404);
  });
});

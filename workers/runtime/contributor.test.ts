/**
 * The contributor against a scripted coordinator and a clock that stands still: the life of a unit, serving, leases that cannot be used, pause
 * and stop, the device.
 */
import { describe, expect, it } from 'vitest';
import { AtollError } from '#protocol/errors.ts';
import { decodeResult, encodeWorkunit, type Workunit, workunitId } from '#protocol/messages/workunit.ts';
import { verifySignature } from '#protocol/messages/contribution.ts';
import { limits } from '#protocol/limits.ts';
import { settle, until } from './testing/fake-clock.ts';
import { program } from './testing/fake-compute.ts';
import { Rig } from './testing/rig.ts';
import { assignment, network } from './testing/scripted-coordinator.ts';

describe('a contributor', () => {
  it('asks nothing of any port before start', async () => {
    const rig = new Rig();
    await rig.control.subscribe((view) => void rig.views.push(view));
    await settle();
    expect(rig.view.phase).toBe('stopped');
    expect(rig.compute.devices).toEqual([]);
    expect(rig.coordinator.links).toEqual([]);
    expect(rig.clock.pending).toBe(0);
  });

  it('signs the challenge and says what it is', async () => {
    const rig = new Rig();
    await rig.start();
    const hello = await rig.coordinator.expect('hello');
    expect(hello).toMatchObject({
      device: { label: 'Test device' },
      programs: [program],
      probe: rig.compute.device.probeDigest,
    });
    const nonce = assignment(900_000);
    const message = { contributor: hello.contributor, nonce };
    await verifySignature(network, 'Hello', message, hello.signature, hello.contributor);
  });

  it('takes a unit through commit, open, reveal, pull and verdict', async () => {
    const rig = new Rig();
    await rig.start();
    const { id, unit } = await rig.committed(1);
    rig.coordinator.send({ t: 'open', assignment: id });
    const reveal = await rig.coordinator.reveal(1);
    rig.coordinator.send({ t: 'revealed', assignment: id });
    const result = decodeResult(reveal.result);
    expect(result.unit).toBe(unit);
    const out = result.outputs['out'] as string;
    rig.coordinator.send({ t: 'pull', cids: [out] });
    const block = await rig.coordinator.expect('block');
    expect(block.cid).toBe(out);
    expect(block.bytes).toHaveLength(64);
    rig.coordinator.verdict(id, unit);
    const view = await rig.untilView((v) => v.agreed === 1, 'the verdict in the view');
    expect(view).toMatchObject({ agreed: 1, rejected: 0, credit: 100, pending: 0 });
    expect(view.bytesDown).toBeGreaterThan(0);
    expect(view.bytesUp).toBeGreaterThan(64);
    expect(rig.cache.pinnedBytes).toBe(0);
    await rig.control.stop();
  });

  it('asks for the next unit while others settle, up to the limit', async () => {
    const rig = new Rig();
    await rig.start();
    const first = await rig.committed(1);
    for (let n = 2; n <= limits.leasesPerContributorMax; n++) await rig.committed(n);
    const full = await rig.untilView((v) => v.pending === 8 && v.phase === 'waiting', 'eight pending units');
    expect(full.reason).toMatch(/verdicts on 8 computed units/);
    await rig.clock.advance(5_000);
    expect(rig.coordinator.got('ask')).toHaveLength(8);
    rig.coordinator.verdict(first.id, first.unit, 'rejected', 0);
    await rig.coordinator.expect('ask', 9);
    expect(rig.view).toMatchObject({ rejected: 1, agreed: 0, pending: 7 });
  });

  it('says which checkpoint it has at hand when it asks again, and no longer once it is gone', async () => {
    const rig = new Rig(200); // room for a few blocks
    await rig.start();
    await rig.coordinator.expect('ask');
    expect(rig.coordinator.got('ask')[0]).toEqual({ t: 'ask' });
    const checkpoint = await rig.source.add(new Uint8Array(50));
    const plain = await rig.unit(1);
    const unit: Workunit = { ...plain, inputs: { ...plain.inputs, checkpoint } };
    const id = await rig.coordinator.lease(1, unit);
    await rig.coordinator.commit(1);
    rig.coordinator.verdict(id, workunitId(unit));
    await rig.coordinator.expect('ask', 2);
    expect(rig.coordinator.got('ask')[1]).toEqual({ t: 'ask', holds: [checkpoint] });
    await rig.cache.put(new Uint8Array(199));
    const second = await rig.committed(2);
    rig.coordinator.verdict(second.id, second.unit);
    await rig.coordinator.expect('ask', 3);
    expect(rig.coordinator.got('ask')[2]).toEqual({ t: 'ask' });
  });

  it('asks as a referee where it is one, and does nothing where the coordinator says no such thing', async () => {
    const rig = new Rig();
    Object.assign(rig.ports, { referee: true });
    await rig.control.start();
    const { contributor } = await rig.coordinator.expect('hello');
    rig.coordinator.send({ t: 'welcome', contributor, agreed: 0, credit: 0, referee: true });
    expect(await rig.coordinator.expect('ask')).toEqual({ t: 'ask', duty: 'referee' });
    await rig.control.stop();

    const other = new Rig();
    Object.assign(other.ports, { referee: true });
    await other.start();
    const { problem } = await other.untilView((v) => v.phase === 'failed', 'a failure');
    expect(problem?.detail).toMatch(/add it to ATOLL_REFEREES/);
    expect(other.coordinator.got('ask')).toEqual([]);
  });

  it('stops taking work while unsettled outputs fill half the cache', async () => {
    const rig = new Rig(100); // one output has 64 bytes
    await rig.start();
    const { id, unit } = await rig.committed(1);
    await rig.clock.advance(5_000);
    expect(rig.coordinator.got('ask')).toHaveLength(1);
    rig.coordinator.verdict(id, unit);
    await rig.coordinator.expect('ask', 2);
  });

  it('waits as long as an idle frame says, and shows its reason', async () => {
    const rig = new Rig();
    await rig.start();
    await rig.coordinator.expect('ask');
    rig.coordinator.send({ t: 'idle', reason: 'every unit is taken', retryMs: 700 });
    await rig.untilView((v) => v.reason === 'Every unit is taken.', 'the reason');
    await rig.clock.advance(699);
    expect(rig.coordinator.got('ask')).toHaveLength(1);
    await rig.clock.advance(1);
    await rig.coordinator.expect('ask', 2);
  });

  it('does not spin on an idle frame that says 0 ms', async () => {
    const rig = new Rig();
    await rig.start();
    await rig.coordinator.expect('ask');
    rig.coordinator.send({ t: 'idle', reason: 'Nothing.', retryMs: 0 });
    await rig.untilView((v) => v.reason === 'Nothing.', 'the reason');
    await rig.clock.advance(limits.idleRetryMsMin - 1);
    expect(rig.coordinator.got('ask')).toHaveLength(1);
  });

  it('gives every view a full sentence as reason', async () => {
    const rig = new Rig();
    await rig.start();
    await rig.committed(1);
    await rig.control.pause();
    await rig.control.resume();
    await rig.coordinator.drop();
    await settle();
    await rig.control.stop();
    for (const { reason } of rig.views) expect(reason).toMatch(/^[A-Z0-9].*[.!?]$/);
    const phases = new Set(rig.views.map(({ phase }) => phase));
    for (const phase of [
      'stopped',
      'starting',
      'probing',
      'connecting',
      'waiting',
      'fetching',
      'computing',
      'paused',
    ]) {
      expect(phases).toContain(phase);
    }
  });

  it('sends progress, but not more often than once a second', async () => {
    const rig = new Rig();
    await rig.start();
    await rig.committed(1);
    expect(rig.coordinator.got('progress')).toEqual([
      { t: 'progress', assignment: assignment(1), done: 1, total: 2 },
    ]);
  });
});

describe('serving', () => {
  it('answers a pull before the reveal with missing', async () => {
    const rig = new Rig();
    await rig.start();
    const { id } = await rig.committed(1);
    const out = await outputOf(rig, 1);
    rig.coordinator.send({ t: 'pull', cids: [out] });
    expect(await rig.coordinator.expect('missing')).toEqual({ t: 'missing', cid: out });
    expect(rig.coordinator.got('block')).toEqual([]);
    rig.coordinator.send({ t: 'open', assignment: id });
    await rig.coordinator.reveal(1);
    rig.coordinator.send({ t: 'pull', cids: [out] });
    expect(await rig.coordinator.expect('block')).toMatchObject({ cid: out });
  });

  it('never serves inputs or blocks of another, unrevealed result', async () => {
    const rig = new Rig();
    await rig.start();
    const first = await rig.committed(1);
    await rig.committed(2);
    const [hidden, input] = [await outputOf(rig, 2), [...rig.source.blocks.keys()][0] as string];
    rig.coordinator.send({ t: 'open', assignment: first.id });
    await rig.coordinator.reveal(1);
    rig.coordinator.send({ t: 'pull', cids: [hidden, input] });
    await rig.coordinator.expect('missing', 2);
    expect(rig.coordinator.got('block')).toEqual([]);
  });

  it('still serves what it revealed after the verdict', async () => {
    const rig = new Rig();
    await rig.start();
    const { id, unit } = await rig.committed(1);
    const out = await outputOf(rig, 1);
    rig.coordinator.send({ t: 'open', assignment: id });
    await rig.coordinator.reveal(1);
    rig.coordinator.verdict(id, unit);
    rig.coordinator.send({ t: 'pull', cids: [out] });
    await rig.coordinator.expect('block');
  });
});

describe('leases that cannot be used', () => {
  it('gives back an unknown program, saying so, and goes on', async () => {
    const rig = new Rig();
    await rig.start();
    await rig.coordinator.lease(1, { ...(await rig.unit(1)), program: 'other.thing@1' });
    expect(await rig.coordinator.expect('release')).toMatchObject({
      assignment: assignment(1),
      reason: expect.stringContaining('other.thing@1'),
    });
    await rig.clock.advance(limits.reconnectMsMax);
    await rig.coordinator.expect('ask', 2);
  });

  it('gives back bytes that are not canonical', async () => {
    const rig = new Rig();
    await rig.start();
    await rig.coordinator.expect('ask');
    const unit = encodeWorkunit(await rig.unit(1));
    rig.coordinator.send({ t: 'lease', assignment: assignment(1), unit: unit.slice(0, -1), leaseMs: 60_000 });
    expect((await rig.coordinator.expect('release')).assignment).toBe(assignment(1));
  });

  it('gives back a second lease while one is in hand, and takes the first again for what it is', async () => {
    const rig = new Rig();
    const gate = Promise.withResolvers<void>();
    rig.compute.gate = gate.promise;
    await rig.start();
    const unit = await rig.unit(1);
    await rig.coordinator.lease(1, unit);
    await rig.untilPhase('computing');
    await rig.coordinator.lease(2, await rig.unit(2), 1);
    await rig.coordinator.lease(1, unit, 1);
    expect(await rig.coordinator.expect('release')).toMatchObject({ assignment: assignment(2) });
    gate.resolve();
    await rig.coordinator.commit(1);
    expect(rig.coordinator.got('release')).toHaveLength(1);
  });

  it('gives back a unit that takes longer than its lease, and stops itself when that repeats', async () => {
    const rig = new Rig();
    await rig.start();
    for (let n = 1; n <= limits.unitFailuresMax; n++) {
      const gate = Promise.withResolvers<void>();
      rig.compute.gate = gate.promise;
      await rig.coordinator.lease(n, await rig.unit(n), n, 20_000);
      await rig.untilPhase('computing');
      await rig.clock.advance(20_000);
      expect(await rig.coordinator.expect('release', n)).toMatchObject({ assignment: assignment(n) });
      gate.resolve();
      await rig.clock.advance(limits.reconnectMsMax);
    }
    expect((await rig.untilPhase('failed')).reason).toMatch(/within the time of its lease/);
    expect(rig.compute.executed).toBe(0);
  });

  it('fetches again what arrives wrong, and gives the unit back when it stays wrong', async () => {
    const rig = new Rig();
    await rig.start();
    rig.source.spoil = limits.blockFetchTriesMax - 1;
    await rig.coordinator.lease(1, await rig.unit(1));
    await rig.untilPhase('fetching');
    await advanceUntil(rig, () => rig.coordinator.got('commit')[0]);
    rig.source.spoil = 1000;
    await rig.coordinator.lease(2, await rig.unit(2));
    const release = await advanceUntil(rig, () => rig.coordinator.got('release')[0]);
    expect(release).toMatchObject({ assignment: assignment(2), reason: expect.stringMatching(/CID/) });
    rig.source.spoil = 0;
    await advanceUntil(rig, () => rig.coordinator.got('ask')[2]);
    await rig.coordinator.lease(3, await rig.unit(3));
    await rig.coordinator.commit(2);
  });

  it('stops itself when its own programs keep failing, and can be started again', async () => {
    const rig = new Rig();
    rig.compute.fault = new AtollError('out_of_memory', 'The device has not enough memory.');
    await rig.start();
    for (let n = 1; n <= limits.unitFailuresMax; n++) {
      await rig.coordinator.lease(n, await rig.unit(n));
      await rig.coordinator.expect('release', n);
      await rig.clock.advance(limits.reconnectMsMax);
    }
    const failed = await rig.untilPhase('failed');
    expect(failed.problem?.code).toBe('out_of_memory');
    await until(() => !rig.coordinator.link?.isOpen, 'the link to close');
    rig.compute.fault = null;
    await rig.control.start();
    await rig.coordinator.welcome(2);
    await rig.untilPhase('waiting');
    expect(rig.view.problem).toBeNull();
  });
});

describe('pause and stop', () => {
  it('pause gives the unit in hand back at once and keeps settling', async () => {
    const rig = new Rig();
    await rig.start();
    const { id, unit } = await rig.committed(1);
    const gate = Promise.withResolvers<void>();
    rig.compute.gate = gate.promise;
    await rig.coordinator.lease(2, await rig.unit(2));
    await rig.untilPhase('computing');
    await rig.control.pause();
    expect(rig.coordinator.got('release')).toMatchObject([{ assignment: assignment(2) }]);
    expect(rig.view).toMatchObject({ phase: 'paused', unit: null, pending: 1 });
    rig.coordinator.send({ t: 'open', assignment: id });
    await rig.coordinator.reveal(1);
    rig.coordinator.verdict(id, unit);
    await rig.untilView((v) => v.agreed === 1, 'the verdict');
    await rig.clock.advance(60_000);
    expect(rig.coordinator.got('ask')).toHaveLength(2);
    // The device is still at the old unit: no other may be started on it yet.
    await rig.control.resume();
    await settle();
    expect(rig.coordinator.got('ask')).toHaveLength(2);
    expect(rig.view.reason).toMatch(/finishes the step/);
    gate.resolve();
    await rig.coordinator.lease(3, await rig.unit(3));
    await rig.coordinator.commit(2);
  });

  it('pause at the very moment of the commit does not give back what is committed', async () => {
    const rig = new Rig();
    await rig.start();
    await rig.control.subscribe((view) => void (view.pending === 1 && rig.control.pause()));
    await rig.committed(1);
    await settle();
    expect(rig.view).toMatchObject({ phase: 'paused', pending: 1 });
    expect(rig.coordinator.got('release')).toEqual([]);
  });

  it('drain finishes and commits the unit in hand, keeps settling and takes no more until it is resumed', async () => {
    const rig = new Rig();
    await rig.start();
    const gate = Promise.withResolvers<void>();
    rig.compute.gate = gate.promise;
    const unit = await rig.unit(1);
    const id = await rig.coordinator.lease(1, unit);
    await rig.untilPhase('computing');
    await rig.control.drain();
    expect(rig.view).toMatchObject({ phase: 'computing' });
    gate.resolve();
    await rig.coordinator.commit(1);
    rig.coordinator.send({ t: 'open', assignment: id });
    await rig.coordinator.reveal(1);
    rig.coordinator.verdict(id, workunitId(unit));
    await rig.untilView((v) => v.agreed === 1, 'the verdict');
    await rig.clock.advance(60_000);
    expect(rig.view).toMatchObject({ phase: 'paused', pending: 0, reason: 'Takes no more units.' });
    expect(rig.coordinator.got('ask')).toHaveLength(1);
    expect(rig.coordinator.got('release')).toEqual([]);
    await rig.control.resume();
    await rig.coordinator.expect('ask', 2);
  });

  it('gives back a lease that arrives while it drains', async () => {
    const rig = new Rig();
    await rig.start();
    await rig.coordinator.expect('ask');
    await rig.control.drain();
    await rig.coordinator.lease(1, await rig.unit(1));
    expect(await rig.coordinator.expect('release')).toMatchObject({ assignment: assignment(1) });
  });

  it('gives back a lease that arrives while it is paused', async () => {
    const rig = new Rig();
    await rig.start();
    await rig.coordinator.expect('ask');
    await rig.control.pause();
    await rig.coordinator.lease(1, await rig.unit(1));
    expect(await rig.coordinator.expect('release')).toMatchObject({ reason: 'The contributor is paused.' });
  });

  it('stop releases, closes link and device, and forgets salts', async () => {
    const rig = new Rig();
    await rig.start();
    const { id } = await rig.committed(1);
    rig.compute.gate = new Promise(() => {});
    await rig.coordinator.lease(2, await rig.unit(2));
    await rig.untilPhase('computing');
    await rig.control.stop();
    expect(rig.view).toMatchObject({ phase: 'stopped', pending: 0, unit: null });
    expect(rig.coordinator.got('release')).toMatchObject([{ assignment: assignment(2) }]);
    expect(rig.coordinator.link?.isOpen).toBe(false);
    expect(rig.compute.device.closed).toBe(true);
    expect(rig.clock.pending).toBe(0);
    expect(rig.cache.pinnedBytes).toBe(0);
    await rig.control.start();
    await rig.coordinator.welcome(2);
    rig.coordinator.send({ t: 'open', assignment: id });
    await settle();
    expect(rig.coordinator.got('reveal')).toEqual([]);
  });

  it('can be stopped while the device is still being asked for', async () => {
    const rig = new Rig();
    const opened = Promise.withResolvers<void>();
    const open = rig.compute.open.bind(rig.compute);
    rig.compute.open = async () => {
      await opened.promise;
      return open();
    };
    await rig.control.start();
    await rig.control.stop();
    opened.resolve();
    await until(() => rig.compute.devices[0]?.closed, 'the late device to be closed');
    expect(rig.coordinator.links).toEqual([]);
  });

  it('start and stop are idempotent', async () => {
    const rig = new Rig();
    await rig.control.stop();
    await Promise.all([rig.control.start(), rig.control.start()]);
    await rig.coordinator.welcome();
    expect(rig.compute.devices).toHaveLength(1);
    await Promise.all([rig.control.stop(), rig.control.stop()]);
    expect(rig.coordinator.links).toHaveLength(1);
  });
});

describe('the device', () => {
  it('is refused work when the probe gives other bits, with words', async () => {
    const rig = new Rig();
    rig.compute.probe = async () => `0x${'cd'.repeat(32)}`;
    await rig.control.subscribe((view) => void rig.views.push(view));
    await rig.control.start();
    const failed = await rig.untilPhase('failed');
    expect(failed.problem?.code).toBe('nonconforming');
    expect(failed.reason).toMatch(/other bits than the reference.*Update/);
    expect(rig.coordinator.links).toEqual([]);
    expect(rig.compute.device.closed).toBe(true);
  });

  it('is missing: the problem is shown as it was thrown', async () => {
    const rig = new Rig();
    rig.compute.noDevice = new AtollError('no_device', 'There is no WebGPU here; use another browser.');
    await rig.control.subscribe((view) => void rig.views.push(view));
    await rig.control.start();
    const failed = await rig.untilPhase('failed');
    expect(failed.problem).toMatchObject({
      code: 'no_device',
      detail: 'There is no WebGPU here; use another browser.',
    });
    expect(rig.coordinator.links).toEqual([]);
  });

  it('lost in mid-compute: the lease goes back, a fresh one takes over on the same link, the problem clears', async () => {
    const rig = new Rig();
    await rig.start();
    const { id } = await rig.committed(1);
    rig.compute.gate = new Promise(() => {}); // a lost device may never answer
    await rig.coordinator.lease(2, await rig.unit(2));
    await rig.untilPhase('computing');
    rig.compute.device.lose();
    expect(await rig.coordinator.expect('release')).toMatchObject({ assignment: assignment(2) });
    const lost = await rig.untilView((v) => v.problem?.code === 'device_lost', 'the problem');
    expect(lost.problem?.detail).toMatch(/Close programs that need much memory/);
    rig.compute.gate = null;
    await until(() => rig.compute.devices[1], 'a fresh device');
    await rig.coordinator.lease(3, await rig.unit(3));
    await rig.coordinator.commit(2);
    expect(rig.view.problem).toBeNull();
    expect(rig.coordinator.links).toHaveLength(1);
    expect(rig.compute.devices[0]?.closed).toBe(true);
    rig.coordinator.send({ t: 'open', assignment: id });
    await rig.coordinator.reveal(1);
  });

  it('another one than before introduces itself anew, and what is pending survives', async () => {
    const rig = new Rig();
    await rig.start();
    const { id } = await rig.committed(1);
    rig.compute.label = 'Other device';
    rig.compute.device.lose();
    const hello = await rig.coordinator.welcome(2);
    expect(hello.device.label).toBe('Other device');
    expect(rig.coordinator.links[0]?.isOpen).toBe(false);
    rig.coordinator.send({ t: 'open', assignment: id });
    await rig.coordinator.reveal(1);
  });

  it('lost twice in a row: failed, but what was committed is still revealed before it leaves', async () => {
    const rig = new Rig();
    await rig.start();
    const { id, unit } = await rig.committed(1);
    rig.compute.device.lose();
    await until(() => rig.compute.devices[1], 'a fresh device');
    await rig.untilPhase('waiting');
    rig.compute.device.lose();
    const failed = await rig.untilPhase('failed');
    expect(failed.problem?.code).toBe('device_lost');
    expect(rig.compute.devices).toHaveLength(2);
    await rig.coordinator.drop();
    await rig.clock.advance(limits.reconnectMsMax);
    await rig.coordinator.welcome(2);
    rig.coordinator.send({ t: 'open', assignment: id });
    await rig.coordinator.reveal(1);
    rig.coordinator.verdict(id, unit);
    await until(() => !rig.coordinator.link?.isOpen, 'the link to close');
    expect(rig.view).toMatchObject({ phase: 'failed', agreed: 1, pending: 0 });
  });

  it('that says device_lost itself is replaced too, once per unit that succeeds', async () => {
    const rig = new Rig();
    await rig.start();
    for (let n = 1; n <= 3; n++) {
      rig.compute.fault = new AtollError('device_lost', 'The device was lost.');
      await rig.coordinator.lease(2 * n, await rig.unit(2 * n), 2 * n - 1);
      await until(() => rig.compute.devices[n], 'a fresh device');
      rig.compute.fault = null;
      await rig.coordinator.lease(2 * n + 1, await rig.unit(2 * n + 1), 2 * n);
      await rig.coordinator.commit(n);
    }
    expect(rig.view.phase).not.toBe('failed');
  });
});

async function outputOf(rig: Rig, seed: number): Promise<string> {
  const unit = await rig.unit(seed);
  const input = await rig.source.fetch(unit.inputs['in'] as string);
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', input as Uint8Array<ArrayBuffer>));
  const out = new Uint8Array([...hash, ...hash]);
  out[0] = (out[0] as number) ^ seed;
  return rig.source.add(out).then((cid) => (rig.source.blocks.delete(cid), cid));
}

/** Made time goes on by 100 ms for every millisecond of real time, so that hashes from the thread pool keep up on a busy machine. */
async function advanceUntil<T>(rig: Rig, read: () => T | undefined): Promise<T> {
  for (let i = 0; i < 5_000; i++) {
    const value = read();
    if (value !== undefined) return value;
    await rig.clock.advance(100);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error('This never came.');
}

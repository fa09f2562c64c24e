/** What is committed to outlives the process, a coordinator that is away, a full disk and a wrong clock. */
import { describe, expect, it } from 'vitest';
import type { Cid } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';
import { decodeResult, workunitId } from '#protocol/messages/workunit.ts';
import type { Hex } from 'viem';
import { settle, until } from './testing/fake-clock.ts';
import { MemoryReplicas } from './testing/memory-replicas.ts';
import { Rig } from './testing/rig.ts';

const minute = 60_000;

/** A life with one committed unit, which is then left as if its process had died. */
async function died(replicas: MemoryReplicas, acknowledged = true) {
  const rig = new Rig(undefined, { replicas });
  await rig.start();
  const unit = await rig.unit(1);
  const id = await rig.coordinator.lease(1, unit);
  const commit = await rig.coordinator.commit(1, acknowledged);
  await settle();
  return { rig, id, unit: workunitId(unit), commit };
}

function outputOf(rig: Rig): Cid {
  const reveal = rig.coordinator.got('reveal')[0];
  return decodeResult(reveal?.result as Uint8Array).outputs['out'] as Cid;
}

describe('the next life', () => {
  for (const acknowledged of [true, false]) {
    it(`commits to the same, reveals and serves it (${acknowledged ? 'acknowledged' : 'not known to have arrived'})`, async () => {
      const replicas = new MemoryReplicas();
      const { id, unit, commit } = await died(replicas, acknowledged);
      const next = new Rig(undefined, { replicas });
      await next.start();
      expect(await next.coordinator.commit(1)).toEqual(commit);
      next.coordinator.send({ t: 'open', assignment: id });
      await next.coordinator.reveal(1);
      next.coordinator.send({ t: 'revealed', assignment: id });
      next.coordinator.send({ t: 'pull', cids: [outputOf(next)] });
      await next.coordinator.expect('block');
      expect(next.cache.pinnedBytes).toBe(64);
      next.coordinator.verdict(id, unit);
      await next.untilView((view) => view.agreed === 1, 'the verdict');
      await settle();
      expect(replicas.files.size).toBe(0);
      expect(next.cache.pinnedBytes).toBe(0);
      expect(next.compute.executed).toBe(0);
    });
  }

  it('after a stop that was asked for too, and within one process', async () => {
    const replicas = new MemoryReplicas();
    const { rig, id } = await died(replicas);
    await rig.control.stop();
    expect(replicas.files.size).toBe(1);
    await rig.control.start();
    await rig.coordinator.welcome(2);
    await rig.coordinator.commit(2);
    rig.coordinator.send({ t: 'open', assignment: id });
    await rig.coordinator.reveal(1);
  });

  it('gives blocks to a pull at once if they were revealed before, and else not before the open', async () => {
    const replicas = new MemoryReplicas();
    const { rig, id } = await died(replicas);
    const hidden = new Rig(undefined, { replicas });
    await hidden.start();
    rig.coordinator.send({ t: 'open', assignment: id });
    await rig.coordinator.reveal(1);
    const out = outputOf(rig);
    hidden.coordinator.send({ t: 'pull', cids: [out] });
    await hidden.coordinator.expect('missing');
    const open = new Rig(undefined, { replicas });
    await open.start();
    open.coordinator.send({ t: 'pull', cids: [out] });
    expect(await open.coordinator.expect('block')).toMatchObject({ cid: out });
  });

  it('forgets what the coordinator does not know any more', async () => {
    const replicas = new MemoryReplicas();
    const { id } = await died(replicas);
    const next = new Rig(undefined, { replicas });
    await next.start();
    await next.coordinator.commit(1, false);
    next.coordinator.sendProblem('stale_lease', id);
    await until(() => replicas.files.size === 0, 'an empty store');
    next.coordinator.send({ t: 'open', assignment: id });
    await settle();
    expect(next.coordinator.got('reveal')).toEqual([]);
    await until(() => next.cache.pinnedBytes === 0, 'no pins');
  });

  it('does not count what was decided in between twice', async () => {
    const replicas = new MemoryReplicas();
    const { id, unit } = await died(replicas);
    const next = new Rig(undefined, { replicas });
    await next.control.subscribe((view) => void next.views.push(view));
    await next.control.start();
    await next.coordinator.welcome(1, { agreed: 1, credit: 100 });
    next.coordinator.verdict(id, unit); // repeated, before the commit is answered
    await until(() => replicas.files.size === 0, 'an empty store');
    const second = await next.unit(2);
    const other = await next.coordinator.lease(2, second, 1);
    await next.coordinator.commit(2);
    next.coordinator.verdict(other, workunitId(second));
    await next.untilView((view) => view.agreed > 1, 'the second verdict');
    expect(next.view).toMatchObject({ agreed: 2, credit: 200, pending: 0 });
  });

  it('says nothing of it to another network, and keeps it for its own', async () => {
    const replicas = new MemoryReplicas();
    const { id } = await died(replicas);
    const next = new Rig(undefined, { replicas });
    next.coordinator.network = `0x${'22'.repeat(32)}`;
    await next.start();
    await next.coordinator.expect('ask');
    next.coordinator.send({ t: 'open', assignment: id });
    await settle();
    expect(next.coordinator.got('commit')).toEqual([]);
    expect(next.coordinator.got('reveal')).toEqual([]);
    expect(replicas.files.size).toBe(1);
  });

  it('is one of the same key', async () => {
    const replicas = new MemoryReplicas();
    await died(replicas);
    const other: Hex = `0x${'43'.repeat(20)}`;
    expect(await replicas.list(other)).toEqual([]);
  });
});

describe('a commit', () => {
  it('does not leave before its replica is kept', async () => {
    const replicas = new MemoryReplicas();
    const kept = Promise.withResolvers<void>();
    replicas.gate = kept.promise;
    const rig = new Rig(undefined, { replicas });
    await rig.start();
    await rig.coordinator.lease(1, await rig.unit(1));
    await until(() => rig.compute.executed === 1, 'the result');
    await settle(20);
    expect(rig.coordinator.got('commit')).toEqual([]);
    kept.resolve();
    await rig.coordinator.commit(1);
  });

  it('is not made on a full disk: the unit goes back, and no other is taken until there is room', async () => {
    const replicas = new MemoryReplicas();
    const rig = new Rig(undefined, { replicas });
    await rig.start();
    await rig.coordinator.expect('ask');
    replicas.isFull = true;
    const id = await rig.coordinator.lease(1, await rig.unit(1));
    const release = await rig.coordinator.expect('release');
    expect(release).toMatchObject({ assignment: id, reason: expect.stringContaining('could not be kept') });
    expect(rig.cache.pinnedBytes).toBe(0);
    await rig.clock.advance(5 * minute);
    expect(rig.coordinator.got('ask')).toHaveLength(1);
    expect(rig.coordinator.got('commit')).toEqual([]);
    expect(rig.view).toMatchObject({ phase: 'waiting', reason: expect.stringContaining('no room left') });
    expect(rig.logged.filter(({ level }) => level === 'error').length).toBeGreaterThan(1);
    expect(replicas.checks).toBeLessThan(15);
    replicas.isFull = false;
    for (let i = 0; i < 90 && rig.coordinator.got('ask').length < 2; i++) await rig.clock.advance(1_000);
    await rig.coordinator.lease(2, await rig.unit(2));
    await rig.coordinator.commit(1);
  });

  it('is not even computed for on a disk that is full from the start', async () => {
    const replicas = new MemoryReplicas();
    replicas.isFull = true;
    const rig = new Rig(undefined, { replicas });
    await rig.start();
    await rig.untilView(({ reason }) => reason.includes('no room left'), 'the reason');
    await settle();
    expect(rig.coordinator.got('ask')).toEqual([]);
  });

  it('that was made is revealed on a full disk too', async () => {
    const replicas = new MemoryReplicas();
    const { rig, id } = await died(replicas);
    replicas.isFull = true;
    rig.coordinator.send({ t: 'open', assignment: id });
    await rig.coordinator.reveal(1);
  });

  it('of a unit that ends while it is being kept is not made, and nothing is left of it', async () => {
    const replicas = new MemoryReplicas();
    const kept = Promise.withResolvers<void>();
    replicas.gate = kept.promise;
    const rig = new Rig(undefined, { replicas });
    await rig.start();
    await rig.coordinator.lease(1, await rig.unit(1));
    await until(() => rig.compute.executed === 1, 'the result');
    await rig.control.pause();
    kept.resolve();
    await settle(20);
    expect(replicas.files.size).toBe(0);
    expect(rig.coordinator.got('commit')).toEqual([]);
  });
});

describe('a coordinator that is away for more than an hour', () => {
  it('is called again and again, with bounded waits; pending results are kept and settled', async () => {
    const rig = new Rig();
    await rig.start();
    const { id, unit } = await rig.committed(1);
    rig.coordinator.isUp = false;
    await rig.coordinator.drop();
    for (let i = 0; i < 70; i++) await rig.clock.advance(minute);
    const waits = rig.logged.flatMap(({ fields }) => ('retryMs' in fields ? [fields.retryMs as number] : []));
    expect(Math.max(...waits)).toBeLessThanOrEqual(limits.reconnectMsMax);
    expect(waits.length).toBeGreaterThan((60 * minute) / limits.reconnectMsMax);
    expect(new Set(waits).size).toBeGreaterThan(waits.length / 2);
    expect(rig.view.pending).toBe(1);
    rig.coordinator.isUp = true;
    await rig.clock.advance(limits.reconnectMsMax);
    await rig.coordinator.welcome(2);
    rig.coordinator.send({ t: 'open', assignment: id });
    await rig.coordinator.reveal(1);
    rig.coordinator.send({ t: 'pull', cids: [outputOf(rig)] });
    await rig.coordinator.expect('block');
    rig.coordinator.verdict(id, unit);
    await rig.untilView((view) => view.agreed === 1, 'the verdict');
  });

  it('while one that is there and says nothing for an hour has forgotten', async () => {
    const replicas = new MemoryReplicas();
    const { rig } = await died(replicas);
    await rig.clock.advance(limits.pendingMsMax + 2 * minute);
    expect(rig.view.pending).toBe(0);
    expect(replicas.files.size).toBe(0);
  });
});

describe('a clock that is wrong', () => {
  it('is told of with how far it is off, once until it changes, and work goes on', async () => {
    let date = 1_000_000_000_000;
    const rig = new Rig(undefined, { date: () => date });
    await rig.control.subscribe((view) => void rig.views.push(view));
    await rig.control.start();
    await rig.coordinator.welcome(1, { now: date + 5 * 60 * minute });
    await rig.committed(1);
    const told = () => rig.logged.filter(({ fields }) => 'skewMs' in fields);
    expect(told()).toHaveLength(1);
    expect(told()[0]).toMatchObject({
      level: 'warn',
      message: expect.stringContaining('300.0 minutes behind'),
    });
    const again = async (n: number, now: number) => {
      await rig.coordinator.drop();
      await settle();
      await rig.clock.advance(limits.reconnectMsMax);
      await rig.coordinator.welcome(n, { now });
      await settle();
    };
    await again(2, date + 5 * 60 * minute);
    expect(told()).toHaveLength(1);
    date -= 48 * 60 * minute; // it jumps, while units are pending
    await again(3, date + 53 * 60 * minute);
    expect(told()).toHaveLength(2);
    expect(rig.view.pending).toBe(1);
    date += 53 * 60 * minute;
    await again(4, date);
    expect(told()).toHaveLength(2);
    await rig.coordinator.lease(2, await rig.unit(2), rig.coordinator.got('ask').length);
    await rig.coordinator.expect('commit', 2);
  });
});

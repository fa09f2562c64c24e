/** Connections that are lost in every state, and coordinators that misbehave. */
import { describe, expect, it } from 'vitest';
import { encodeCanonical } from '#protocol/codec/cbor.ts';
import { limits } from '#protocol/limits.ts';
import { workunitId } from '#protocol/messages/workunit.ts';
import { settle, until } from './testing/fake-clock.ts';
import { Rig } from './testing/rig.ts';
import { assignment } from './testing/scripted-coordinator.ts';

/** The link dies, time passes, the contributor says hello again. */
async function reconnect(
  rig: Rig,
  hellos: number,
  totals?: { agreed: number; credit: number },
): Promise<void> {
  await rig.coordinator.drop();
  await until(
    () => rig.views.at(-1)?.reason.includes('Trying again') || !rig.coordinator.link?.isOpen,
    'the loss',
  );
  await settle();
  await rig.clock.advance(limits.reconnectMsMax);
  await rig.coordinator.welcome(hellos, totals);
}

describe('a lost connection', () => {
  it('while waiting: comes back and asks again', async () => {
    const rig = new Rig();
    await rig.start();
    await rig.coordinator.expect('ask');
    await reconnect(rig, 2);
    await rig.coordinator.expect('ask', 2);
    expect(
      rig.views.some((v) => v.phase === 'connecting' && /Trying again in \d+\.\d s\./.test(v.reason)),
    ).toBe(true);
  });

  it('in mid-compute: the unit goes on and is committed over the next link', async () => {
    const rig = new Rig();
    const gate = Promise.withResolvers<void>();
    rig.compute.gate = gate.promise;
    await rig.start();
    const id = await rig.coordinator.lease(1, await rig.unit(1));
    await rig.untilPhase('computing');
    await rig.coordinator.drop();
    await settle();
    gate.resolve();
    await until(() => rig.view.pending === 1, 'the sealed result');
    expect(rig.coordinator.got('commit')).toEqual([]);
    await rig.clock.advance(limits.reconnectMsMax);
    await rig.coordinator.welcome(2);
    expect((await rig.coordinator.commit(1)).assignment).toBe(id);
  });

  it('in mid-compute, and the lease is gone: the commit is refused and the unit forgotten', async () => {
    const rig = new Rig();
    await rig.start();
    const id = await rig.coordinator.lease(1, await rig.unit(1));
    await rig.coordinator.commit(1, false);
    rig.coordinator.sendProblem('stale_lease', id);
    await until(() => rig.view.pending === 0 && rig.cache.pinnedBytes === 0, 'the unit to be forgotten');
    rig.coordinator.send({ t: 'open', assignment: id });
    await settle();
    expect(rig.coordinator.got('reveal')).toEqual([]);
  });

  it('before the commit went out: an open reveals nothing', async () => {
    const rig = new Rig();
    const gate = Promise.withResolvers<void>();
    rig.compute.gate = gate.promise;
    await rig.start();
    const id = await rig.coordinator.lease(1, await rig.unit(1));
    await rig.untilPhase('computing');
    await rig.coordinator.drop();
    await settle();
    gate.resolve();
    await until(() => rig.view.pending === 1, 'the sealed result');
    await rig.clock.advance(limits.reconnectMsMax);
    await rig.coordinator.expect('hello', 2);
    rig.coordinator.send({ t: 'open', assignment: id }); // not welcomed yet, so nothing was committed
    rig.coordinator.send({ t: 'revealed', assignment: id });
    await rig.coordinator.welcome(2);
    await rig.coordinator.commit(1);
    await settle();
    expect(rig.coordinator.got('reveal')).toEqual([]);
    rig.coordinator.send({ t: 'open', assignment: id });
    await rig.coordinator.reveal(1);
  });

  it('before committed: the same commitment goes out again, not a new one', async () => {
    const rig = new Rig();
    await rig.start();
    await rig.coordinator.lease(1, await rig.unit(1));
    const first = await rig.coordinator.commit(1, false);
    await reconnect(rig, 2);
    expect(await rig.coordinator.commit(2)).toEqual(first);
    await reconnect(rig, 3);
    await rig.coordinator.expect('ask', 3);
    expect(rig.coordinator.got('commit')).toHaveLength(2); // acknowledged the second time
  });

  it('before revealed: the same reveal goes out again', async () => {
    const rig = new Rig();
    await rig.start();
    const { id } = await rig.committed(1);
    rig.coordinator.send({ t: 'open', assignment: id });
    const first = await rig.coordinator.reveal(1);
    await reconnect(rig, 2);
    expect(await rig.coordinator.reveal(2)).toEqual(first);
    rig.coordinator.send({ t: 'revealed', assignment: id });
    await reconnect(rig, 3);
    await rig.coordinator.expect('ask', 4);
    expect(rig.coordinator.got('reveal')).toHaveLength(2);
  });

  it('after committed: the reveal waits for open over the next link', async () => {
    const rig = new Rig();
    await rig.start();
    const { id, unit } = await rig.committed(1);
    await reconnect(rig, 2);
    expect(rig.coordinator.got('reveal')).toEqual([]);
    rig.coordinator.send({ t: 'open', assignment: id });
    await rig.coordinator.reveal(1);
    rig.coordinator.verdict(id, unit);
    await rig.untilView((v) => v.agreed === 1, 'the verdict');
  });

  it('while paused: a release that could not be sent goes out with the next hello', async () => {
    const rig = new Rig();
    rig.compute.gate = new Promise(() => {});
    await rig.start();
    const id = await rig.coordinator.lease(1, await rig.unit(1));
    await rig.untilPhase('computing');
    await rig.coordinator.drop();
    await settle();
    await rig.control.pause();
    await rig.clock.advance(limits.reconnectMsMax);
    await rig.coordinator.welcome(2);
    expect(await rig.coordinator.expect('release')).toMatchObject({ assignment: id });
    expect(rig.view.phase).toBe('paused');
    expect(rig.coordinator.got('ask')).toHaveLength(1);
  });

  it('in the middle of a pull: the rest is not sent on the next link', async () => {
    const rig = new Rig();
    await rig.start();
    const { id } = await rig.committed(1);
    rig.coordinator.send({ t: 'open', assignment: id });
    await rig.coordinator.reveal(1);
    await rig.coordinator.drop();
    rig.coordinator.send({ t: 'pull', cids: [...rig.source.blocks.keys()] });
    await rig.clock.advance(limits.reconnectMsMax);
    await rig.coordinator.welcome(2);
    await settle();
    expect(rig.coordinator.got('missing')).toEqual([]);
  });

  it('counts a verdict once, though welcome totals and repeated verdicts both tell of it', async () => {
    const rig = new Rig();
    await rig.start();
    const { id, unit } = await rig.committed(1);
    await reconnect(rig, 2, { agreed: 1, credit: 100 });
    rig.coordinator.verdict(id, unit);
    rig.coordinator.verdict(id, unit);
    rig.coordinator.verdict(assignment(77), unit); // of another tab
    await rig.untilView((v) => v.agreed === 1, 'the verdict');
    await settle();
    expect(rig.view).toMatchObject({ agreed: 1, credit: 100, pending: 0 });
    await reconnect(rig, 3, { agreed: 5, credit: 500 });
    await rig.untilView((v) => v.agreed === 5 && v.credit === 500, 'the totals of the account');
  });

  it('to a coordinator of another network: what the old one leased is forgotten', async () => {
    const rig = new Rig();
    await rig.start();
    const { id } = await rig.committed(1);
    rig.compute.gate = new Promise(() => {});
    await rig.coordinator.lease(2, await rig.unit(2));
    await rig.untilPhase('computing');
    rig.coordinator.network = `0x${'22'.repeat(32)}`;
    await reconnect(rig, 2);
    await until(() => rig.view.pending === 0 && rig.view.unit === null, 'a clean slate');
    rig.coordinator.send({ t: 'open', assignment: id });
    await settle();
    expect(rig.coordinator.got('reveal')).toEqual([]);
  });

  it('backs off with jitter, up to the limit, and does not give up', async () => {
    const rig = new Rig();
    await rig.start();
    rig.coordinator.isUp = false;
    await rig.coordinator.drop();
    const waits: number[] = [];
    for (let i = 0; i < 12; i++) {
      await until(() => rig.logged.filter(({ fields }) => 'retryMs' in fields)[i], 'a try');
      const { fields } = rig.logged.filter((entry) => 'retryMs' in entry.fields)[i] as { fields: object };
      const { retryMs } = fields as { retryMs: number };
      waits.push(retryMs);
      await rig.clock.advance(retryMs);
    }
    waits.forEach((wait, i) => expect(wait).toBeLessThanOrEqual(Math.min(15_000, 250 * 2 ** i)));
    expect(new Set(waits).size).toBeGreaterThan(6);
    expect(Math.max(...waits)).toBeGreaterThan(2_000);
    rig.coordinator.isUp = true;
    await rig.clock.advance(limits.reconnectMsMax);
    await rig.coordinator.welcome(2);
  });

  it('after a welcome that was hung up on at once goes on backing off', async () => {
    const rig = new Rig();
    await rig.start();
    const waits = () =>
      rig.logged.flatMap(({ fields }) => ('retryMs' in fields ? [fields.retryMs as number] : []));
    for (let i = 1; i <= 10; i++) {
      await rig.coordinator.drop();
      const wait = await until(() => waits()[i - 1] ?? null, 'a try');
      await rig.clock.advance(wait);
      await rig.coordinator.welcome(i + 1);
    }
    expect(Math.max(...waits())).toBeGreaterThan(2_000);
  });

  it('can be stopped while it waits to try again', async () => {
    const rig = new Rig();
    rig.coordinator.isUp = false;
    await rig.control.subscribe((view) => void rig.views.push(view));
    await rig.control.start();
    await rig.untilView((v) => v.reason.includes('cannot be reached'), 'the loss');
    await rig.control.stop();
    expect(rig.clock.pending).toBe(0);
  });
});

describe('a coordinator that misbehaves', () => {
  it('may send frames that cannot be read; a few are skipped', async () => {
    const rig = new Rig();
    await rig.start();
    rig.coordinator.sendBytes(new Uint8Array([0xff, 0x00]));
    rig.coordinator.sendBytes(encodeCanonical({ t: 'surprise', x: 1 }));
    rig.coordinator.sendBytes(
      encodeCanonical({ t: 'lease', assignment: '0x12', unit: new Uint8Array(), leaseMs: 1 }),
    );
    rig.coordinator.sendBytes(new Uint8Array());
    await rig.committed(1);
    expect(rig.coordinator.links).toHaveLength(1);
  });

  it('is left and called again later when it sends nothing else', async () => {
    const rig = new Rig();
    await rig.start();
    for (let i = 0; i < limits.badFramesMax; i++) rig.coordinator.sendBytes(new Uint8Array([0xff]));
    await rig.untilView((v) => v.reason.includes('cannot be read'), 'the loss');
    await rig.clock.advance(limits.reconnectMsMax);
    await rig.coordinator.welcome(2);
  });

  it('is left at once for a frame that is too large', async () => {
    const rig = new Rig();
    await rig.start();
    rig.coordinator.sendBytes(new Uint8Array(limits.frameBytesMax + 1));
    await rig.untilView((v) => v.phase === 'connecting' && v.reason.includes('Trying again'), 'the loss');
  });

  it('that never challenges, or never answers, is given up after a while', async () => {
    const rig = new Rig();
    rig.coordinator.challenges = false;
    await rig.control.subscribe((view) => void rig.views.push(view));
    await rig.control.start();
    await until(() => rig.coordinator.link, 'a link');
    await rig.clock.advance(limits.helloMsMax + 1_000);
    await rig.untilView((v) => v.reason.includes('fell silent'), 'the loss');
    rig.coordinator.challenges = true;
    await rig.clock.advance(limits.reconnectMsMax);
    await rig.coordinator.welcome(1);
    await rig.coordinator.expect('ask');
    const links = rig.coordinator.links.length;
    await rig.clock.advance(limits.answerMsMax + limits.reconnectMsMax);
    await until(() => rig.coordinator.links.length > links, 'another link');
  });

  it('that refuses the hello is not called again, and its reason is shown', async () => {
    const rig = new Rig();
    await rig.control.subscribe((view) => void rig.views.push(view));
    await rig.control.start();
    await rig.coordinator.expect('hello');
    rig.coordinator.sendProblem('bad_signature');
    const failed = await rig.untilPhase('failed');
    expect(failed.problem).toMatchObject({ code: 'bad_signature' });
    await rig.clock.advance(60_000);
    expect(rig.coordinator.links).toHaveLength(1);
  });

  it('may call the device nonconforming at any time: no more work is asked for', async () => {
    const rig = new Rig();
    await rig.start();
    await rig.committed(1);
    rig.coordinator.sendProblem('nonconforming');
    expect((await rig.untilPhase('failed')).problem?.code).toBe('nonconforming');
    await until(() => !rig.coordinator.link?.isOpen, 'the link to close');
  });

  it('that is short of something is asked again later', async () => {
    const rig = new Rig();
    await rig.start();
    await rig.coordinator.expect('ask');
    rig.coordinator.sendProblem('storage_failed');
    await rig.untilView((v) => v.reason === 'The test says storage_failed.', 'the reason');
    await rig.clock.advance(limits.reconnectMsMax + limits.idleRetryMs);
    await rig.coordinator.expect('ask', 2);
    const id = await rig.coordinator.lease(1, await rig.unit(1), 2);
    const first = await rig.coordinator.commit(1, false);
    rig.coordinator.sendProblem('storage_failed', id);
    await settle();
    await rig.clock.advance(limits.reconnectMsMax + limits.idleRetryMs);
    expect(await rig.coordinator.commit(2)).toEqual(first);
  });

  it('may repeat open and verdict, or speak of units nobody knows', async () => {
    const rig = new Rig();
    await rig.start();
    const { id, unit } = await rig.committed(1);
    rig.coordinator.send({ t: 'open', assignment: assignment(99) });
    rig.coordinator.send({ t: 'committed', assignment: assignment(99) });
    rig.coordinator.send({ t: 'revealed', assignment: id }); // nothing was revealed yet
    rig.coordinator.send({ t: 'open', assignment: id });
    rig.coordinator.send({ t: 'open', assignment: id });
    const first = await rig.coordinator.reveal(1);
    rig.coordinator.send({ t: 'open', assignment: id });
    await settle();
    for (const reveal of rig.coordinator.got('reveal')) expect(reveal).toEqual(first);
    rig.coordinator.verdict(id, unit);
    rig.coordinator.verdict(id, unit);
    rig.coordinator.send({ t: 'open', assignment: id });
    await rig.untilView((v) => v.agreed === 1, 'the verdict');
    await settle();
    expect(rig.view.agreed).toBe(1);
  });

  it('may decide a unit that is still being computed: the work ends, nothing is given back', async () => {
    const rig = new Rig();
    const gate = Promise.withResolvers<void>();
    rig.compute.gate = gate.promise;
    await rig.start();
    const unit = await rig.unit(1);
    const id = await rig.coordinator.lease(1, unit);
    await rig.untilPhase('computing');
    rig.coordinator.verdict(id, workunitId(unit), 'void', 0);
    await rig.untilView((v) => v.phase === 'waiting' && v.reason.includes('finishes'), 'the end of the work');
    gate.resolve();
    await rig.coordinator.expect('ask', 2);
    expect(rig.coordinator.got('release')).toEqual([]);
    expect(rig.coordinator.got('commit')).toEqual([]);
  });

  it('that never decides does not fill the book for ever', async () => {
    const rig = new Rig();
    await rig.start();
    await rig.committed(1);
    await rig.coordinator.expect('ask', 2);
    rig.coordinator.send({ t: 'idle', reason: 'Nothing.', retryMs: 60_000 });
    for (let i = 0; i < 70; i++) {
      await rig.clock.advance(60_000);
      rig.coordinator.send({ t: 'idle', reason: 'Nothing.', retryMs: 60_000 });
    }
    await rig.untilView(
      (v) => v.pending === 0 && v.phase === 'waiting' && v.reason === 'Nothing.',
      'an empty book',
    );
    expect(rig.cache.pinnedBytes).toBe(0);
  });
});

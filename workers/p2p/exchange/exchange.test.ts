/** What is asked of whom, and what is served to whom. How it defends itself is in defences.test.ts. */
import { describe, expect, it } from 'vitest';
import { limits } from '#protocol/limits.ts';
import type { Manifest } from './events.ts';
import { manifestOfBlock } from './manifest.ts';
import { kib, MachineRig, manifest, mib, seeded } from '../testing/machine-rig.ts';

const range = (count: number) => Array.from({ length: count }, (_, i) => i);

describe('the exchange asks', () => {
  it('for the rarest first, and among equals for any', () => {
    const file = manifest(8, 64 * kib);
    const firsts = new Set<number>();
    for (let seed = 0; seed < 12; seed++) {
      const rig = new MachineRig({ random: seeded(seed) });
      rig.feed({ t: 'expect', ms: 60_000 });
      rig.feed({ t: 'want', file });
      rig.peer(1, file, range(8), { serves: false });
      rig.peer(2, file, [0, 1, 2, 3, 4, 5], { serves: false });
      rig.frame(1, { t: 'unchoke' });
      const asked = rig.sent(1, 'req').map(({ index }) => index);
      // 6 and 7 are with one peer only.
      expect(new Set(asked.slice(0, 2))).toEqual(new Set([6, 7]));
      firsts.add(asked[2] as number);
    }
    expect(firsts.size).toBeGreaterThan(2);
  });

  it('a peer for a MiB at a time, and for more as it comes, a block ahead', () => {
    const file = manifest(4, mib);
    const rig = new MachineRig();
    rig.feed({ t: 'expect', ms: 60_000 });
    rig.feed({ t: 'want', file });
    rig.peer(1, file, range(4));
    const inFlight = (received: number) =>
      rig.sent(1, 'req').reduce((sum, { length }) => sum + length, 0) - received;
    expect(inFlight(0), 'little at first').toBe(256 * kib);
    let received = 0;
    for (const index of [
      rig.sent(1, 'req')[0]?.index as number,
      rig.sent(1, 'req').at(-1)?.index as number,
    ]) {
      for (let at = 0; at < mib && received < mib; at += 32 * kib) {
        rig.part(1, file, index, at, 32 * kib);
        received += 32 * kib;
        expect(inFlight(received)).toBeLessThanOrEqual(limits.shardWindowBytesMax);
      }
    }
    expect(inFlight(received)).toBeGreaterThan(limits.shardWindowBytesMax - limits.shardSegmentBytesMax);
    expect(new Set(rig.sent(1, 'req').map(({ index }) => index)).size).toBe(2);
  });

  it('less at a time of a peer whose answers take long, so that small frames get through', () => {
    const file = manifest(40);
    const rig = new MachineRig();
    rig.feed({ t: 'expect', ms: 60_000 });
    rig.feed({ t: 'want', file });
    rig.peer(1, file, range(40));
    for (let i = 0; i < 40; i++) {
      rig.pass(3_000);
      const { index = 0, offset = 0, length = 0 } = rig.sent(1, 'req')[i] ?? {};
      for (let at = 0; at < length; at += 32 * kib) rig.part(1, file, index, offset + at, 32 * kib);
    }
    expect(rig.sent(1, 'req').at(-1)?.length).toBe(32 * kib);
  });

  it('only for the blocks that are wanted: rows or layers one by one', () => {
    const file = manifest(20, 64 * kib);
    const rig = new MachineRig();
    rig.peer(1, file, []);
    rig.feed({ t: 'want', file, indices: [3, 17] });
    rig.bits(1, file, range(20));
    rig.pass(3_000);
    expect(new Set(rig.sent(1, 'req').map(({ index }) => index))).toEqual(new Set([3, 17]));
    expect(rig.of('origin')).toEqual([]);
  });

  it('urgent blocks before all others', () => {
    const file = manifest(30);
    const rig = new MachineRig();
    rig.feed({ t: 'expect', ms: 60_000 });
    rig.peer(1, file, []);
    rig.feed({ t: 'want', file });
    rig.feed({ t: 'want', file, indices: [21], urgent: true });
    rig.peer(2, file, range(29), { serves: false });
    rig.bits(1, file, range(30));
    expect(rig.sent(1, 'req')[0]?.index).toBe(21);
  });

  it('for a block of unknown size in stretches, as long as there is more', () => {
    const cid = 'alone';
    const file = { id: cid, blocks: [cid], sizes: [0] };
    const rig = new MachineRig();
    rig.feed({ t: 'expect', ms: 60_000 });
    rig.feed({ t: 'want', file, urgent: true });
    rig.peer(1, file, [0]);
    expect(rig.sent(1, 'req')).toHaveLength(1);
    const told = { id: cid, blocks: [cid], sizes: [300 * kib] };
    rig.part(1, told, 0, 0);
    expect(rig.sent(1, 'req').at(-1)).toMatchObject({ offset: 256 * kib, length: 44 * kib });
    rig.effects = rig.effects.filter(({ t }) => t !== 'check');
    for (let at = 52_429; at < 300 * kib; at += 52_429) rig.part(1, told, 0, at);
    expect(rig.of('check')).toHaveLength(1);
  });

  it('another for an urgent block when the first is silent, and takes the request back from the slower', () => {
    const file = manifest(1);
    const rig = new MachineRig();
    rig.feed({ t: 'expect', ms: 60_000 });
    rig.feed({ t: 'want', file, urgent: true });
    rig.peer(1, file, [0]);
    rig.peer(2, file, [0]);
    expect(rig.sent(2, 'req')).toHaveLength(0);
    rig.pass(500);
    expect(rig.sent(2, 'req').length).toBeGreaterThan(0);
    rig.block(2, file, 0);
    expect(rig.sent(1, 'cancel')).toHaveLength(1);
    // What the first had on its way may still come.
    rig.part(1, file, 0, 0);
    expect(rig.dropped(1)).toBeUndefined();
  });

  it('somebody else at once when a peer leaves', () => {
    const file = manifest(1);
    const rig = new MachineRig();
    rig.feed({ t: 'expect', ms: 60_000 });
    rig.feed({ t: 'want', file });
    rig.peer(1, file, [0]);
    rig.peer(2, file, [0]);
    rig.clear();
    rig.feed({ t: 'unlink', link: 1 });
    expect(rig.sent(2, 'req')[0]).toMatchObject({ index: 0, offset: 0 });
    expect(rig.of('origin')).toHaveLength(0);
  });

  it('within its cap', () => {
    const file = manifest(64);
    const rig = new MachineRig({ downBytesPerSecond: mib });
    rig.feed({ t: 'expect', ms: 60_000 });
    rig.feed({ t: 'want', file });
    for (let link = 1; link <= 8; link++) rig.peer(link, file, range(64));
    const asked = () =>
      range(9)
        .flatMap((link) => rig.sent(link, 'req'))
        .reduce((sum, { length }) => sum + length, 0);
    expect(asked()).toBeLessThanOrEqual(mib);
    rig.pass(1_000);
    expect(asked()).toBeLessThanOrEqual(2.5 * mib);
    expect(asked()).toBeGreaterThanOrEqual(mib);
  });
});

describe('the origin is asked', () => {
  it('for what nobody has, two at a time, and neighbours are told', () => {
    const file = manifest(10);
    const rig = new MachineRig();
    rig.feed({ t: 'want', file });
    expect(rig.of('origin')).toHaveLength(2);
    rig.peer(1, file, []);
    const [first] = rig.of('origin');
    rig.clear();
    rig.feed({ t: 'origin', cid: first?.cid as string, outcome: 'ok', size: 256 * kib });
    expect(rig.of('origin')).toHaveLength(1);
    expect(rig.sent(1, 'have')).toHaveLength(1);
    expect(rig.sent(1, 'pend')).toHaveLength(1);
  });

  it('for nothing that a neighbour has or is fetching', () => {
    const file = manifest(4);
    const rig = new MachineRig();
    rig.peer(1, file, []);
    rig.feed({ t: 'want', file });
    expect(rig.of('origin'), 'the neighbour has not said yet what it has').toHaveLength(0);
    rig.bits(1, file, [0]);
    rig.frame(1, { t: 'unchoke' });
    rig.effects.splice(0);
    const asked = new Set(rig.of('origin').map(({ cid }) => cid));
    expect(asked.has('f-0')).toBe(false);
    const other = new MachineRig();
    other.peer(1, file, []);
    other.feed({ t: 'want', file, indices: [2] });
    other.frame(1, { t: 'pend', file: file.id, indices: [2] });
    other.bits(1, file, []);
    other.pass(4_500);
    expect(other.of('origin')).toHaveLength(0);
    other.pass(1_000);
    expect(other.of('origin').map(({ cid }) => cid)).toEqual(['f-2']);
  });

  it('while links are on their way, only after the time that they may take', () => {
    const file = manifest(1);
    const rig = new MachineRig();
    rig.feed({ t: 'expect', ms: 1_500 });
    rig.feed({ t: 'want', file });
    rig.pass(1_400);
    expect(rig.of('origin')).toHaveLength(0);
    rig.pass(200);
    expect(rig.of('origin')).toHaveLength(1);
  });

  it('again after a pause when somebody else holds the lease, and for other blocks meanwhile', () => {
    const file = manifest(3);
    const rig = new MachineRig();
    rig.feed({ t: 'want', file });
    const [first] = rig.of('origin');
    rig.feed({ t: 'origin', cid: first?.cid as string, outcome: 'busy', retryMs: 400 });
    rig.pass(150);
    const asked = rig.of('origin').map(({ cid }) => cid);
    expect(new Set(asked).size).toBe(3);
    rig.feed({ t: 'origin', cid: asked[1] as string, outcome: 'ok', size: 256 * kib });
    rig.pass(2_000);
    expect(rig.of('origin').filter(({ cid }) => cid === first?.cid).length).toBeGreaterThan(1);
  });

  it('no less often for an urgent block, and being told to come back is no failure', () => {
    const rig = new MachineRig();
    rig.feed({ t: 'want', file: manifest(1), urgent: true });
    for (let i = 0; i < 6; i++) {
      rig.feed({ t: 'origin', cid: 'f-0', outcome: 'busy', retryMs: 400 });
      rig.clear();
      rig.pass(1_700);
      expect(rig.of('origin')).toHaveLength(1);
    }
    rig.feed({ t: 'origin', cid: 'f-0', outcome: 'failed' });
    expect(rig.of('lost')).toHaveLength(0);
  });

  it('whatever peers say they have, when nothing comes of it', () => {
    const file = manifest(1);
    const rig = new MachineRig();
    rig.feed({ t: 'want', file, urgent: true });
    rig.clear();
    const other = new MachineRig();
    other.peer(1, file, [0], { serves: false });
    other.feed({ t: 'want', file, urgent: true });
    other.bits(1, file, [0]);
    other.pass(1_400);
    expect(other.of('origin')).toHaveLength(0);
    other.pass(300);
    expect(other.of('origin')).toHaveLength(1);
  });

  /** Parts from link 1, of whatever was asked of it, so long apart. */
  function trickling(rig: MachineRig, file: Manifest) {
    const received = file.blocks.map(() => 0);
    const isOpen = ({ index, offset, length }: { index: number; offset: number; length: number }) =>
      (received[index] as number) < offset + length;
    return (parts: number, everyMs: number, length = 32 * kib) => {
      for (let i = 0; i < parts; i++) {
        const index = rig.sent(1, 'req').find(isOpen)?.index as number;
        const checks = rig.of('check').length;
        rig.part(1, file, index, received[index] as number, length);
        received[index] = (received[index] as number) + length;
        const check = rig.of('check')[checks];
        if (check) rig.feed({ t: 'checked', download: check.download, ok: true });
        rig.pass(everyMs);
      }
    };
  }

  it('for nothing of a file that a peer brings, however long it takes and however urgent it is', () => {
    const file = manifest(16, mib);
    const rig = new MachineRig();
    rig.feed({ t: 'expect', ms: 1_000 });
    rig.feed({ t: 'want', file, urgent: true });
    rig.peer(1, file, range(16));
    trickling(rig, file)(150, 400);
    expect(rig.now).toBeGreaterThan(60_000);
    expect(rig.of('origin')).toEqual([]);
  });

  it('in spite of a peer that brings next to nothing, and for a file of which nothing comes', () => {
    const [file, other] = [manifest(16, mib), manifest(2, mib, 'g')];
    const rig = new MachineRig();
    rig.feed({ t: 'expect', ms: 1_000 });
    rig.feed({ t: 'want', file, urgent: true });
    rig.peer(1, file, range(16));
    rig.peer(2, other, [], { serves: false });
    rig.feed({ t: 'want', file: other, urgent: true });
    rig.bits(2, other, range(2));
    const trickle = trickling(rig, file);
    trickle(10, 400);
    expect(new Set(rig.of('origin').map(({ cid }) => cid))).toEqual(new Set(other.blocks));
    for (const cid of other.blocks) rig.feed({ t: 'origin', cid, outcome: 'ok', size: mib });
    trickle(40, 100, 1);
    expect(rig.of('origin').length).toBeGreaterThan(other.blocks.length);
  });

  it('for nothing while a neighbour has it coming from there, which says so as long as it comes', () => {
    const file = manifest(1, mib);
    const [fetcher, waiter] = [new MachineRig(), new MachineRig()];
    fetcher.peer(1, file, []);
    fetcher.feed({ t: 'want', file });
    fetcher.bits(1, file, []);
    expect(fetcher.of('origin')).toHaveLength(1);
    waiter.peer(1, file, []);
    waiter.feed({ t: 'want', file, urgent: true });
    let told = 0;
    const tell = () => {
      for (const frame of fetcher.sent(1, 'pend').slice(told)) waiter.frame(1, frame);
      told = fetcher.sent(1, 'pend').length;
    };
    tell();
    waiter.bits(1, file, []);
    for (let i = 0; i < 28; i++) {
      fetcher.feed({ t: 'arriving', cid: 'f-0' });
      tell();
      for (const rig of [fetcher, waiter]) rig.pass(500);
    }
    expect(told).toBeLessThan(10);
    expect(waiter.of('origin')).toHaveLength(0);
    waiter.pass(limits.shardPendMsMax);
    expect(waiter.of('origin')).toHaveLength(1);
  });

  it('for nothing after a time in which this side itself did not get its turn, nor is anybody blamed for it', () => {
    const file = manifest(2, mib);
    const rig = new MachineRig();
    rig.feed({ t: 'expect', ms: 1_000 });
    rig.feed({ t: 'want', file, urgent: true });
    rig.peer(1, file, range(2));
    const trickle = trickling(rig, file);
    trickle(4, 100);
    rig.now += 30_000;
    rig.feed({ t: 'tick' });
    expect(rig.of('drop')).toEqual([]);
    expect(rig.of('origin')).toEqual([]);
    trickle(4, 100);
    rig.pass(limits.shardStallMsMax + 500);
    expect(rig.of('origin')).not.toEqual([]);
    expect(rig.dropped(1)).toBe('stall');
  });

  it('no more once nobody can have the block', () => {
    const file = manifest(1);
    const rig = new MachineRig();
    rig.feed({ t: 'want', file });
    rig.feed({ t: 'origin', cid: 'f-0', outcome: 'missing' });
    expect(rig.of('lost')).toEqual([{ t: 'lost', cid: 'f-0', outcome: 'missing' }]);
    expect(rig.machine.wakeAt).toBe(Infinity);
  });

  it('in vain while it is off, and the block still comes from a peer', () => {
    const file = manifest(1);
    const rig = new MachineRig();
    rig.feed({ t: 'want', file });
    rig.feed({ t: 'origin', cid: 'f-0', outcome: 'failed' });
    expect(rig.of('lost')).toHaveLength(0);
    rig.peer(1, file, [0]);
    rig.block(1, file, 0);
    expect(rig.machine.isHeld('f-0')).toBe(true);
  });
});

describe('the exchange serves', () => {
  const ask = (rig: MachineRig, link: number, file: { id: string }, index: number) =>
    rig.frame(link, { t: 'req', file: file.id, index, offset: 0, length: 256 * kib });

  it('nothing that it was not told to hold', () => {
    const file = manifest(2);
    const rig = new MachineRig();
    rig.feed({ t: 'hold', file, indices: [0] });
    rig.peer(1, file, []);
    rig.frame(1, { t: 'need', needs: true });
    ask(rig, 1, file, 1);
    ask(rig, 1, { id: 'output' }, 0);
    expect(rig.sent(1, 'no').map(({ reason }) => reason)).toEqual(['unknown', 'unknown']);
    expect(rig.of('open')).toHaveLength(0);
    const told = rig.sent(1, 'bits')[0]?.bits;
    expect([...(told ?? [])]).toEqual([1]);
  });

  it('what is published late: whoever asked before is told, once, and nobody else is', () => {
    const file = manifestOfBlock('output');
    const rig = new MachineRig();
    for (const link of [1, 2]) rig.feed({ t: 'link', link, contributor: null });
    const question = { t: 'bits', file: 'output', ask: true, count: 1, bits: new Uint8Array(1) } as const;
    rig.frame(1, question);
    expect(rig.sent(1, 'no')).toEqual([{ t: 'no', file: 'output', index: 0, reason: 'unknown' }]);
    rig.feed({ t: 'hold', file });
    expect(rig.sent(1, 'bits').map(({ file: id, bits }) => [id, ...bits])).toEqual([['output', 1]]);
    rig.feed({ t: 'hold', file });
    expect(rig.sent(1, 'bits')).toHaveLength(1);
    expect(rig.sent(2, 'bits')).toEqual([]);
  });

  it('late only what was asked about lately, so that a peer cannot fill the memory with names', () => {
    const rig = new MachineRig();
    rig.feed({ t: 'link', link: 1, contributor: null });
    const bits = new Uint8Array(1);
    for (const i of range(300)) rig.frame(1, { t: 'bits', file: `o-${i}`, ask: true, count: 1, bits });
    for (const i of range(300)) rig.feed({ t: 'hold', file: manifestOfBlock(`o-${i}`) });
    const told = rig.sent(1, 'bits').map(({ file }) => file);
    expect(told).toEqual(
      range(300)
        .slice(-256)
        .map((i) => `o-${i}`),
    );
  });

  it('not a byte more of what is withdrawn', () => {
    const file = manifest(1);
    const rig = new MachineRig();
    rig.feed({ t: 'hold', file });
    rig.peer(1, file, []);
    rig.frame(1, { t: 'need', needs: true });
    ask(rig, 1, file, 0);
    rig.feed({ t: 'opened', cid: 'f-0', size: 256 * kib });
    expect(rig.of('part')).toHaveLength(1);
    rig.feed({ t: 'gone', cids: ['f-0'] });
    rig.feed({ t: 'room', link: 1 });
    expect(rig.of('part')).toHaveLength(1);
    expect(rig.sent(1, 'gone')).toHaveLength(1);
    expect(rig.sent(1, 'no')).toHaveLength(1);
  });

  it('a block whole, in parts of one message each', () => {
    const file = manifest(1, mib);
    const rig = new MachineRig();
    rig.feed({ t: 'hold', file });
    rig.peer(1, file, []);
    rig.frame(1, { t: 'need', needs: true });
    for (let i = 0; i < 4; i++) {
      rig.frame(1, { t: 'req', file: 'f', index: 0, offset: i * 256 * kib, length: 256 * kib });
    }
    rig.feed({ t: 'opened', cid: 'f-0', size: mib });
    let next = 0;
    for (let i = 0; i < rig.of('part').length; i++) {
      const part = rig.of('part')[i];
      expect(part?.offset).toBe(next);
      expect(part?.length).toBeLessThanOrEqual(limits.shardPartBytesMax);
      next += part?.length ?? 0;
      rig.feed({ t: 'room', link: 1 });
    }
    expect(next).toBe(mib);
    expect(rig.of('open')).toHaveLength(1);
  });

  it('a block by its own name when it stands in a file', () => {
    const file = manifest(3);
    const rig = new MachineRig();
    rig.feed({ t: 'hold', file });
    rig.feed({ t: 'link', link: 1, contributor: null });
    rig.frame(1, { t: 'bits', file: 'f-2', ask: true, count: 1, bits: Uint8Array.of(0) });
    expect(rig.sent(1, 'bits').at(-1)).toMatchObject({ file: 'f-2', count: 1, bits: Uint8Array.of(1) });
  });

  it('many blocks by themselves without giving up the files that it knows', () => {
    const file = manifest(3);
    const rig = new MachineRig();
    rig.feed({ t: 'hold', file });
    for (let i = 0; i < limits.publishedBlocksMax + 10; i++)
      rig.feed({ t: 'hold', file: manifestOfBlock(`output-${i}`) });
    for (let i = 0; i < limits.shardFilesMax + 10; i++) {
      const asked = manifestOfBlock(`input-${i}`);
      rig.feed({ t: 'want', file: asked });
      rig.feed({ t: 'origin', cid: asked.id, outcome: 'ok', size: 10 });
    }
    rig.clear();
    rig.feed({ t: 'link', link: 1, contributor: null });
    expect(rig.sent(1, 'bits').map(({ file: id }) => id)).toContain('f');
    const ask = (id: string) =>
      rig.frame(1, { t: 'bits', file: id, ask: true, count: 1, bits: Uint8Array.of(0) });
    for (const id of ['output-9', 'output-4000', 'input-0']) ask(id);
    expect(rig.sent(1, 'no').map(({ file: id }) => id)).toEqual(['output-9']);
    expect(rig.sent(1, 'bits').slice(-2)).toMatchObject([
      { file: 'output-4000', bits: Uint8Array.of(1) },
      { file: 'input-0', bits: Uint8Array.of(1) },
    ]);
    rig.feed({ t: 'gone', cids: ['output-4001'] });
    ask('output-4001');
    expect(rig.sent(1, 'no').at(-1)?.file).toBe('output-4001');
  });

  it('within its cap', () => {
    const file = manifest(32);
    const rig = new MachineRig({ upBytesPerSecond: 500_000 });
    rig.feed({ t: 'hold', file });
    rig.peer(1, file, []);
    rig.frame(1, { t: 'need', needs: true });
    let given = 0;
    for (let second = 0; second < 4; second++) {
      for (let i = 0; i < 2; i++) ask(rig, 1, file, 2 * second + i);
      for (let i = 0; i < 10; i++) {
        for (const bytes of rig.drain().values()) given += bytes;
        rig.pass(100);
      }
    }
    expect(given).toBeLessThan(500_000 * 4.5);
    expect(given).toBeGreaterThan(500_000 * 3.4);
  });

  it('who comes while places are free at once, and the rest by turns', () => {
    const file = manifest(4);
    const rig = new MachineRig({ slotsMin: 2, slotsMax: 4 });
    rig.feed({ t: 'hold', file });
    for (let link = 1; link <= 6; link++) {
      rig.peer(link, file, []);
      rig.frame(link, { t: 'need', needs: true });
    }
    const served = () => rig.machine.stats().peers.filter(({ isServed }) => isServed).length;
    expect(served()).toBe(1);
    const seen = new Set<number>();
    for (let i = 0; i < 40; i++) {
      rig.pass(2_000);
      for (const { link, isServed } of rig.machine.stats().peers) if (isServed) seen.add(link);
      expect(served()).toBeLessThanOrEqual(4);
    }
    expect(seen.size).toBe(6);
  });
});

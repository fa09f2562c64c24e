/**
 * Somebody leaves in the middle of giving: what was asked of them is asked of others at once where the end of the link is known, and soon where it is not, so
 * that nothing stands still for five seconds while somebody else has the blocks. The clock is made; the receiver's longest pause is measured on it.
 */
import { describe, expect, it } from 'vitest';
import { limits } from '#protocol/limits.ts';
import { kib, MachineRig, manifest, mib } from '../testing/machine-rig.ts';
import { SmallPeer, SmallWorld } from '../testing/small-world.ts';
import type { ExchangeOptions } from './events.ts';

const range = (count: number) => Array.from({ length: count }, (_, i) => i);
const pauseMsMax = 5_000;

interface Case {
  seed: number;
  hasWord: boolean;
  urgent: boolean;
  /** How many give, of whom one stays. */
  givers: number;
  upBytesPerSecond: number;
  options?: Partial<ExchangeOptions>;
}

/** The receiver's longest pause, ms, and whether it has everything in the end. The origin is off. */
function transfer({ seed, hasWord, urgent, givers, upBytesPerSecond, options = {} }: Case) {
  const file = manifest(24);
  const world = new SmallWorld(seed);
  const receiver = new SmallPeer(world, 0, upBytesPerSecond, options);
  const all = range(givers).map((i) => new SmallPeer(world, i + 1, upBytesPerSecond));
  for (const giver of all) {
    giver.feed({ t: 'hold', file });
    giver.link(receiver);
  }
  receiver.feed({ t: 'want', file, urgent });
  // Who stays alone would need so long for everything.
  const aloneMs = (1000 * 24 * 256 * kib) / upBytesPerSecond;
  for (const leaver of all.slice(1)) {
    world.at(100 + (world.dice() * aloneMs) / givers, () => leaver.leave(hasWord));
  }
  world.run(10 * aloneMs + 60_000, () => receiver.exchange.missing === 0);
  const times = [0, ...receiver.progress, ...(receiver.exchange.missing > 0 ? [world.now] : [])];
  const pauses = times.slice(1).map((at, i) => at - (times[i] as number));
  return { pauseMs: Math.max(...pauses), missing: receiver.exchange.missing };
}

describe('when who gives leaves in the middle of it', () => {
  const cases = [1, 2, 3, 4, 5, 6].flatMap((seed) =>
    [true, false].flatMap((urgent) =>
      [150_000, mib].flatMap((upBytesPerSecond) =>
        [2, 4].map((givers) => ({ seed, urgent, upBytesPerSecond, givers })),
      ),
    ),
  );

  for (const hasWord of [true, false]) {
    it(`${hasWord ? 'with' : 'without'} a word, the receiver never stands still for five seconds`, () => {
      for (const each of cases) {
        const { pauseMs, missing } = transfer({ ...each, hasWord });
        expect(missing, JSON.stringify(each)).toBe(0);
        expect(pauseMs, JSON.stringify(each)).toBeLessThan(pauseMsMax);
      }
    });
  }
});

describe('what was asked of a peer', () => {
  const meet = (urgent: boolean, isOther = true) => {
    const file = manifest(1);
    const rig = new MachineRig();
    rig.feed({ t: 'expect', ms: 60_000 });
    rig.feed({ t: 'want', file, urgent });
    rig.peer(1, file, [0]);
    if (isOther) rig.peer(2, file, [0]);
    rig.part(1, file, 0, 0);
    expect(rig.sent(2, 'req')).toHaveLength(0);
    return rig;
  };

  it('is asked of another in the moment when its link ends, from the start', () => {
    const rig = meet(false);
    rig.feed({ t: 'unlink', link: 1 });
    expect(rig.sent(2, 'req')[0]).toMatchObject({ index: 0, offset: 0 });
  });

  it('is asked of another soon after it fell silent, and sooner where a unit waits', () => {
    const askedAfter = (urgent: boolean) => {
      const rig = meet(urgent);
      const from = rig.now;
      while (rig.sent(2, 'req').length === 0 && rig.now - from < 60_000) rig.pass(100);
      return rig.now - from;
    };
    expect(askedAfter(false)).toBeLessThanOrEqual(1_700);
    expect(askedAfter(true)).toBeLessThanOrEqual(600);
  });

  it('is asked of the origin where nobody else has it, whether the link ended or not', () => {
    for (const isEnded of [true, false]) {
      const rig = meet(true, false);
      if (isEnded) rig.feed({ t: 'unlink', link: 1 });
      rig.pass(limits.shardStallMsMax);
      // `expect` was for the first link, which has been here.
      expect(rig.of('origin')).toHaveLength(1);
    }
  });

  it('is asked of the origin where those who have it serve others', () => {
    const file = manifest(1);
    const rig = meet(true, false);
    rig.peer(3, file, [0], { serves: false });
    rig.feed({ t: 'unlink', link: 1 });
    rig.pass(1_700);
    expect(rig.of('origin')).toHaveLength(1);
  });
});

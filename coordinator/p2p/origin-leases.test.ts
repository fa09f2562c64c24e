/** Leases of blocks at the origin: who waits, for how long at most, and how many are remembered. */
import { describe, expect, test } from 'vitest';
import { parseSwarm, swarmText } from '#protocol/http/swarm.ts';
import { OriginLeases } from './origin-leases.ts';

const [a, b] = ['a', 'b'].map((peer) => ({ swarm: 's', peer })) as [
  { swarm: string; peer: string },
  { swarm: string; peer: string },
];

function at(options = {}) {
  const clock = { now: 0 };
  return { clock, leases: new OriginLeases(() => clock.now, { leaseMs: 5_000, ...options }) };
}

describe('OriginLeases', () => {
  test('make others of the swarm wait, but neither the holder nor another swarm, nor for another block', () => {
    const { leases } = at();
    expect(leases.mustWait(a, 'x')).toBe(false);
    leases.take(a, 'x');
    expect(leases.mustWait(b, 'x')).toBe(true);
    expect(leases.mustWait(a, 'x')).toBe(false);
    expect(leases.mustWait({ ...b, swarm: 't' }, 'x')).toBe(false);
    expect(leases.mustWait(b, 'y')).toBe(false);
  });

  test('end by themselves, and whoever holds one cannot keep it by asking again', () => {
    const { leases, clock } = at();
    leases.take(a, 'x');
    for (clock.now = 100; clock.now < 5_000; clock.now += 100) leases.take(a, 'x');
    expect(leases.mustWait(b, 'x')).toBe(false);
    // Nor by taking it anew the moment it ends: the block is free for as long again.
    leases.take(a, 'x');
    expect(leases.mustWait(b, 'x')).toBe(false);
    clock.now = 10_000;
    leases.take(a, 'x');
    expect(leases.mustWait(b, 'x')).toBe(true);
  });

  test('last while pieces are taken, four times as long at the most, and end when their holder goes away', () => {
    const { leases, clock } = at();
    leases.take(a, 'x');
    for (clock.now = 4_000; clock.now < 20_000; clock.now += 4_000) {
      leases.renew(a, 'x');
      leases.renew(b, 'x');
      expect(leases.mustWait(b, 'x')).toBe(true);
    }
    leases.renew(a, 'x');
    expect(leases.mustWait(b, 'x'), 'however slowly it is taken').toBe(false);
    leases.take(a, 'y');
    leases.release(b, 'y');
    expect(leases.mustWait(b, 'y'), 'of another').toBe(true);
    leases.release(a, 'y');
    leases.renew(a, 'y');
    leases.take(a, 'y');
    expect(leases.mustWait(b, 'y'), 'not to be had again at once').toBe(false);
  });

  test('are forgotten when they are over, and bounded while they are not', () => {
    const { leases, clock } = at({ leasesMax: 100 });
    for (let i = 0; i < 1_000; i++) leases.take(a, `x${i}`);
    expect(leases.size).toBe(100);
    expect(leases.mustWait(b, 'x999')).toBe(true);
    clock.now = 20_000;
    leases.take(a, 'y');
    expect(leases.size).toBe(1);
  });
});

describe('the header', () => {
  test('is read as it is written, and nothing else is', () => {
    const asker = { swarm: 'job-1', peer: '12D3KooW' };
    expect(parseSwarm(swarmText(asker))).toEqual(asker);
    for (const text of [
      '',
      'x',
      ';peer=a',
      'x;peer=',
      'x y;peer=a',
      `${'x'.repeat(81)};peer=a`,
      'x;peer=a;b',
    ])
      expect(parseSwarm(text)).toBeUndefined();
  });
});

/** The scheduler: admission, choice, leases. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { admit, type Applicant, backOffMs, choose, defaultSchedulerRules as rules } from './scheduler.ts';
import { leaseMs, speedAfter, straggleAt } from './deadlines.ts';
import { tierOf } from './tiers.ts';

const applicant: Applicant = {
  programs: new Set(['p@1']),
  leased: 0,
  unsettled: 0,
  strikes: 0,
  lastRejectedAt: null,
  speed: null,
  memoryBytes: null,
};
const candidate = (unit: string, lostBefore = false, program = 'p@1') => ({
  unit,
  program,
  ...{ operations: 1, memoryBytes: 1_000, lostBefore },
  ...{ alike: false, atHand: false, spare: false },
});

test('a newcomer is admitted; one with enough leases or unsettled results is not', () => {
  expect(admit(applicant, 0, rules)).toEqual({ type: 'admitted' });
  expect(admit({ ...applicant, leased: rules.leasesMax }, 0, rules).type).toBe('refused');
  expect(admit({ ...applicant, unsettled: rules.unsettledMax }, 0, rules).type).toBe('refused');
});

test('rejected results make the next offer come later, twice as late each time, up to a limit', () => {
  const struck = { ...applicant, strikes: 3, lastRejectedAt: 10_000 };
  expect(admit(struck, 10_001, rules)).toMatchObject({ type: 'refused', retryMs: 3_999 });
  expect(admit(struck, 14_000, rules)).toEqual({ type: 'admitted' });
  expect(backOffMs({ strikes: 4 }, rules)).toBe(2 * backOffMs({ strikes: 3 }, rules));
  expect(backOffMs({ strikes: 1_000 }, rules)).toBe(rules.backOffMsMax);
});

test('the choice is even, within the programs, and units let go before come last', () => {
  const units = ['a', 'b', 'c', 'd'].map((unit) => candidate(unit));
  const counts = new Map<string, number>();
  for (let i = 0; i < 4_000; i++) {
    const pick = choose(units, applicant, Math.floor((i / 4_000) * 2 ** 32), rules)?.unit as string;
    counts.set(pick, (counts.get(pick) ?? 0) + 1);
  }
  expect([...counts.values()]).toEqual([1_000, 1_000, 1_000, 1_000]);
  expect(choose([candidate('a', true), candidate('b')], applicant, 0, rules)?.unit).toBe('b');
  expect(choose([candidate('a', true)], applicant, 0, rules)?.unit).toBe('a');
  expect(choose([candidate('a', false, 'q@1')], applicant, 0, rules)).toBeNull();
});

test('choose stays within its candidates for any random number', () => {
  fc.assert(
    fc.property(fc.nat(0xffffffff), fc.integer({ min: 1, max: 64 }), (random, count) => {
      const units = Array.from({ length: count }, (_, i) => candidate(String(i)));
      expect(choose(units, applicant, random, rules)).not.toBeNull();
    }),
  );
});

test('leases follow measured speed, within bounds', () => {
  expect(leaseMs(1, null, rules)).toBe(rules.leaseMsMin);
  expect(leaseMs(1e15, null, rules)).toBe(rules.leaseMsMax);
  expect(leaseMs(1e9, 1e5, rules)).toBe(rules.leaseSlack * 10_000);
  expect(leaseMs(1e9, speedAfter(1e5, 1e9, 20_000), rules)).toBeGreaterThan(leaseMs(1e9, 1e5, rules));
});

test('of units of one kind, those come first that cost least and tell most', () => {
  const plain = candidate('plain');
  const order = [
    { ...plain, unit: 'at hand', atHand: true },
    plain,
    { ...plain, unit: 'alike', alike: true, atHand: true },
    { ...plain, unit: 'lost', lostBefore: true, atHand: true },
    { ...plain, unit: 'spare', spare: true, atHand: true },
  ];
  for (let from = 0; from < order.length; from++) {
    const rest = order.slice(from).reverse();
    for (const random of [0, 2 ** 31, 2 ** 32 - 1]) {
      expect(choose(rest, applicant, random, rules)?.unit).toBe(order[from]?.unit);
    }
  }
});

test('a unit goes only to a device that has the memory and the speed for it', () => {
  const unit = { ...candidate('a'), memoryBytes: 5e9, operations: 1e12 };
  expect(choose([unit], { ...applicant, memoryBytes: 4e9 }, 0, rules)).toBeNull();
  expect(choose([unit], { ...applicant, memoryBytes: 8e9 }, 0, rules)?.unit).toBe('a');
  expect(choose([unit], { ...applicant, speed: 1e5 }, 0, rules)).toBeNull();
  expect(choose([unit], { ...applicant, speed: 1e7 }, 0, rules)?.unit).toBe('a');
});

test('the strong are given the large units of a model, so that the small are left for the weak', () => {
  const units = [1e9, 8e9].map((operations) => ({ ...candidate(String(operations)), operations }));
  const whale = { ...applicant, speed: 1e9, memoryBytes: 80 * 2 ** 30 };
  for (const random of [0, 2 ** 31, 2 ** 32 - 1]) {
    expect(choose(units, whale, random, rules)?.operations).toBe(8e9);
  }
  expect(choose(units, { ...applicant, speed: 1e5 }, 0, rules)?.operations).toBe(1e9);
});

test('tiers go by memory and measured speed; what is unknown speaks against nobody', () => {
  const gib = 2 ** 30;
  expect(tierOf(null, null)).toBe('participant');
  expect(tierOf(2 * gib, null)).toBe('mobile');
  expect(tierOf(8 * gib, 5e3)).toBe('mobile');
  expect(tierOf(8 * gib, 1e7)).toBe('miner');
  expect(tierOf(8 * gib, 1e9)).toBe('miner');
  expect(tierOf(80 * gib, 1e9)).toBe('whale');
});

test('a lease is late when a part of its time is over; only open leases are', () => {
  const lease = { state: 'leased', leasedAt: 1_000, deadline: 5_000 };
  expect(straggleAt([lease, { ...lease, leasedAt: 2_000 }], rules)).toBe(3_000);
  expect(straggleAt([{ ...lease, state: 'committed' }], rules)).toBeNull();
});

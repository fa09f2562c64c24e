/** The scheduler: admission, choice, leases. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  admit,
  type Applicant,
  backOffMs,
  choose,
  defaultSchedulerRules as rules,
  leaseMs,
  speedAfter,
} from './scheduler.ts';

const applicant: Applicant = {
  programs: new Set(['p@1']),
  leased: 0,
  unsettled: 0,
  strikes: 0,
  lastRejectedAt: null,
  speed: null,
};
const candidate = (unit: string, lostBefore = false, program = 'p@1') => ({
  unit,
  program,
  operations: 1,
  lostBefore,
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
    const pick = choose(units, applicant.programs, Math.floor((i / 4_000) * 2 ** 32))?.unit as string;
    counts.set(pick, (counts.get(pick) ?? 0) + 1);
  }
  expect([...counts.values()]).toEqual([1_000, 1_000, 1_000, 1_000]);
  expect(choose([candidate('a', true), candidate('b')], applicant.programs, 0)?.unit).toBe('b');
  expect(choose([candidate('a', true)], applicant.programs, 0)?.unit).toBe('a');
  expect(choose([candidate('a', false, 'q@1')], applicant.programs, 0)).toBeNull();
});

test('choose stays within its candidates for any random number', () => {
  fc.assert(
    fc.property(fc.nat(0xffffffff), fc.integer({ min: 1, max: 64 }), (random, count) => {
      const units = Array.from({ length: count }, (_, i) => candidate(String(i)));
      expect(choose(units, applicant.programs, random)).not.toBeNull();
    }),
  );
});

test('leases follow measured speed, within bounds', () => {
  expect(leaseMs(1, null, rules)).toBe(rules.leaseMsMin);
  expect(leaseMs(1e15, null, rules)).toBe(rules.leaseMsMax);
  expect(leaseMs(1e9, 1e5, rules)).toBe(rules.leaseSlack * 10_000);
  expect(leaseMs(1e9, speedAfter(1e5, 1e9, 20_000), rules)).toBeGreaterThan(leaseMs(1e9, 1e5, rules));
});

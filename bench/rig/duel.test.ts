/** Ratios hold on a machine whose speed drifts, and a figure that is missing is never good enough. */
import { expect, it } from 'vitest';
import { bounded, duel, information, median, ratio } from './duel.ts';

it('takes the middle', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
});

it('finds the ratio of two contenders while everything gets slower', async () => {
  let slowness = 1;
  const contender = (name: string, cost: number) => ({
    name,
    time: () => Promise.resolve(cost * (slowness += 0.01)),
  });
  const times = await duel([contender('own', 0.1), contender('peer', 0.3)], { rounds: 9, seconds: 1 });
  expect(ratio(times, 'peer', 'own')).toBeCloseTo(3, 0);
  expect(times.get('own')).toHaveLength(9);
});

it('repeats quick work until it can be measured, and slow work once', async () => {
  const counts: Record<string, number[]> = { quick: [], slow: [] };
  const contender = (name: string, cost: number) => ({
    name,
    time: (count: number) => (counts[name]?.push(count), Promise.resolve(cost)),
  });
  await duel([contender('quick', 0.01), contender('slow', 20)], { rounds: 2, seconds: 1 });
  expect(counts['quick']?.slice(-2)).toEqual([100, 100]);
  expect(counts['slow']).toEqual([1, 1, 1]);
});

it('goes on without who fails, and says who', async () => {
  const failures: string[] = [];
  let calls = 0;
  const fragile = {
    name: 'fragile',
    time: () => (++calls > 3 ? Promise.reject(new Error('gone')) : Promise.resolve(2)),
  };
  const steady = { name: 'steady', time: () => Promise.resolve(1) };
  const options = { rounds: 5, seconds: 1, failed: (name: string) => void failures.push(name) };
  const times = await duel([fragile, steady], options);
  expect([...times.keys()]).toEqual(['steady']);
  expect(times.get('steady')).toHaveLength(5);
  expect(failures).toEqual(['fragile']);
});

it('ends in time, after three rounds at least', async () => {
  const slow = { name: 'slow', time: () => Promise.resolve(1) };
  const times = await duel([slow], { rounds: 50, seconds: 1, clockSecondsMax: 0 });
  expect(times.get('slow')).toHaveLength(3);
});

it('judges by the bound, never by the aim, and fails what is not a number', () => {
  expect(bounded('a', 1.5, 'x', { atLeast: 1.3, aim: 2 }).ok).toBe(true);
  expect(bounded('a', 1.2, 'x', { atLeast: 1.3, aim: 2 }).ok).toBe(false);
  expect(bounded('a', 4, 'GB', { atMost: 5, aim: 3 }).ok).toBe(true);
  expect(bounded('a', NaN, 'GB', { atMost: 5, aim: 3 }).ok).toBe(false);
  expect(bounded('a', NaN, 'x', { atLeast: 1, aim: 3 }).ok).toBe(false);
  expect(information('a', 1.23456, 'x')).toEqual({ id: 'a', value: 1.23, unit: 'x', aim: null, ok: true });
});

it('does not round a miss into a hit', () => {
  expect(bounded('a', 1.2999, 'x', { atLeast: 1.3, aim: 2 }).ok).toBe(false);
});

/** Fairness between jobs: shares by weight, nothing saved up, nobody starved. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fairTags, type JobShare, weightOfJob } from './fairness.ts';

/** Two jobs that always have a unit waiting: how much of the work is the first one's. */
function shareOf(first: JobShare, second: JobShare, cost: (job: number) => number, steps: number): number {
  const jobs = [first, second].map((share, job) => ({ share, job, ...fairTags([cost(job)], share, 0) }));
  const done = [0, 0];
  for (let i = 0; i < steps; i++) {
    const next = jobs.reduce((a, b) => ((b.tags[0] as number) < (a.tags[0] as number) ? b : a));
    done[next.job] = (done[next.job] as number) + cost(next.job);
    Object.assign(
      next,
      fairTags([cost(next.job)], { ...next.share, finish: next.finish }, next.tags[0] as number),
    );
  }
  return (done[0] as number) / ((done[0] as number) + (done[1] as number));
}

test('jobs share the work by weight, whatever their units cost', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 20 }),
      (a, b, size) => {
        const share = shareOf(
          { weight: a, finish: 0 },
          { weight: b, finish: 0 },
          (job) => (job ? 1e9 : size * 1e9),
          4_000,
        );
        expect(share).toBeCloseTo(a / (a + b), 1);
      },
    ),
    { numRuns: 40 },
  );
});

test('a job that has rested begins at the present, and one that has run ahead waits', () => {
  expect(fairTags([1e6, 1e6], { weight: 1, finish: 10 }, 500).tags).toEqual([500, 501]);
  expect(fairTags([1e6], { weight: 1, finish: 800 }, 500).tags).toEqual([800]);
});

test('tags never fall, and a unit that costs nothing moves on all the same', () => {
  const { tags, finish } = fairTags([0, 0, 5e6, 0], { weight: 2, finish: 3 }, 0);
  expect(tags).toEqual([3, 3.5, 4, 6.5]);
  expect(finish).toBe(7);
});

test('a job whose pool is dry comes last, but comes', () => {
  expect(weightOfJob(4, null)).toBe(4);
  expect(weightOfJob(4, 1n)).toBe(4);
  expect(weightOfJob(4, 0n)).toBeCloseTo(0.4);
  const share = shareOf(
    { weight: 1, finish: 0 },
    { weight: weightOfJob(1, 0n), finish: 0 },
    () => 1e9,
    2_000,
  );
  expect(share).toBeGreaterThan(0.85);
  expect(share).toBeLessThan(1);
});

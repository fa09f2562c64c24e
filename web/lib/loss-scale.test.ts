/** The scale of the loss curve, over any losses. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { makeStatus } from '../e2e/fixtures.ts';
import { curveOf, lossRange, roundTicks } from './loss-scale.ts';

it('holds every finite loss with air, and never goes below zero', () => {
  const losses = fc.array(fc.double({ min: 0, max: 12, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(losses, (values) => {
      const [low, high] = lossRange([...values, Number.NaN, Number.POSITIVE_INFINITY]);
      expect(low).toBeGreaterThanOrEqual(0);
      expect(high).toBeGreaterThan(Math.max(...values));
      expect(low).toBeLessThanOrEqual(Math.min(...values));
    }),
  );
});

it('marks whole rounds, and not too many', () => {
  expect(roundTicks(1, 5, 8)).toEqual([1, 2, 3, 4, 5]);
  expect(roundTicks(1, 30, 8)).toEqual([5, 10, 15, 20, 25, 30]);
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1_000_000 }),
      fc.integer({ min: 1, max: 200_000 }),
      (from, span) => {
        const ticks = roundTicks(from, from + span, 8);
        expect(ticks.length).toBeLessThanOrEqual(9);
        expect(ticks.every((tick) => Number.isInteger(tick) && tick >= from && tick <= from + span)).toBe(
          true,
        );
      },
    ),
  );
});

it('begins with the untrained model, when that has been measured', () => {
  expect(curveOf(makeStatus(2)).map((point) => point.round)).toEqual([0, 1, 2]);
  expect(curveOf(makeStatus(2))[0]).toEqual({ round: 0, loss: 5.541, trainLoss: null });
  expect(curveOf(makeStatus(0))).toEqual([]);
});

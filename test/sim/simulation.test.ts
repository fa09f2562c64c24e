/** The seeded simulation: with a third of liars, churn, stragglers and a coordinator that goes down, what must hold does. */
import { describe, expect, test } from 'vitest';
import { type SimOptions, simulate, strategies } from './simulation.ts';

const options: SimOptions = {
  contributors: 200,
  liars: 0.3,
  strategy: 'random',
  rounds: 3,
  lanes: 30,
  seed: 1,
};

describe.each(strategies.filter((strategy) => strategy !== 'colluder'))('a third are %s', (strategy) => {
  test.each([1, 2, 3])(
    'seed %i: nothing wrong is accepted, no liar is paid, the checkpoints are the honest ones',
    (seed) => {
      const report = simulate({ ...options, strategy, seed });
      expect(
        report.faults,
        `npm run sim -- --strategy ${strategy} --rounds 3 --lanes 30 --seed ${seed}`,
      ).toEqual([]);
      expect(report).toMatchObject({ wrongAccepted: 0, creditDishonest: 0, unitsAccepted: 3 * 32 + 1 });
      expect(report.replicasUsed).toBeGreaterThan(2 * report.unitsAccepted);
    },
  );
});

test('without liars two replicas a unit are nearly enough', () => {
  const report = simulate({ ...options, liars: 0 });
  expect(report.faults).toEqual([]);
  expect(report.unitsSplit).toBe(0);
  expect(report.replicasPerUnit).toBeLessThan(2.3);
});

test('a few contributors finish many lanes: they meet on the same units instead of waiting for each other', () => {
  const few = { ...options, contributors: 3, liars: 0, lanes: 60, rounds: 1 };
  for (const seed of [1, 2, 3, 4]) expect(simulate({ ...few, seed }).faults).toEqual([]);
});

test('equal seeds replay equal histories, others do not', () => {
  const small = { ...options, contributors: 40, rounds: 1, lanes: 8 };
  expect(simulate(small)).toEqual(simulate(small));
  expect(simulate({ ...small, seed: 2 }).events).not.toBe(simulate(small).events);
});

test('liars that collude do get results accepted at equal weights: the simulation sees it', () => {
  const report = simulate({ ...options, strategy: 'colluder' });
  expect(report.wrongAccepted).toBeGreaterThan(0);
  expect(report.faults).toEqual([]);
});

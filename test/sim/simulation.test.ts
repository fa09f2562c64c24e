/** The seeded simulation with real identifiers, plans and commitments: with a third of liars, churn, stragglers, partitions and crashes, what must hold does. */
import { describe, expect, test } from 'vitest';
import { type SimOptions, simulate } from './simulation.ts';

const options: SimOptions = {
  contributors: 150,
  units: 1_500,
  liars: 0.3,
  strategy: 'liar',
  lanes: 30,
  seed: 1,
  exact: true,
};
const lone = ['liar', 'copycat', 'withholder', 'equivocator', 'slow-loris'] as const;

describe.each(lone)('a third are of the kind %s', (strategy) => {
  test.each([1, 2])('seed %i: nothing false is accepted, no liar is paid', (seed) => {
    const report = simulate({ ...options, strategy, seed });
    const replay = `npm run sim -- --exact --contributors 150 --units 1500 --lanes 30 --strategy ${strategy} --seed ${seed}`;
    expect(report.faults, replay).toEqual([]);
    expect(report, replay).toMatchObject({ wrongEver: 0, wrongCheckpoints: 0 });
    expect(report.unitsAccepted).toBeGreaterThanOrEqual(1_500);
    expect(report.strategies[strategy]).toMatchObject({ credit: 0, standing: 0 });
  });
});

test('a few contributors finish many lanes: they meet on the same units instead of waiting for each other', () => {
  const few = { ...options, contributors: 3, referees: 0, liars: 0, lanes: 60, units: 60 };
  for (const seed of [1, 2, 3, 4]) expect(simulate({ ...few, seed }).faults).toEqual([]);
});

test('equal seeds replay equal histories, others do not', () => {
  const small = { ...options, contributors: 40, units: 60, lanes: 8 };
  expect(simulate(small)).toEqual(simulate(small));
  expect(simulate({ ...small, seed: 2 }).events).not.toBe(simulate(small).events);
});

test('names instead of CIDs change nothing that is measured', () => {
  const small = { ...options, contributors: 60, units: 300, lanes: 20, strategy: 'mixed' } as const;
  const [exact, cheap] = [simulate(small), simulate({ ...small, exact: false })];
  for (const report of [exact, cheap]) expect(report.faults).toEqual([]);
  // Names are dice too: jobs side by side may begin a round more or less before enough is planned.
  expect(Math.abs(exact.unitsAccepted - cheap.unitsAccepted)).toBeLessThanOrEqual(small.lanes + 2);
});

test("BOINC's model runs with the same contributors and lets false results through", () => {
  const report = simulate({ ...options, exact: false, strategy: 'sleeper', model: 'boinc', units: 3_000 });
  expect(report.faults).toEqual([]);
  expect(report.wrongStanding).toBeGreaterThan(0);
  expect(report.strategies.sleeper?.profit).toBeGreaterThan(0);
});

test('without liars two replicas a unit are enough', () => {
  const report = simulate({ ...options, liars: 0 });
  expect(report.faults).toEqual([]);
  expect(report.replicasPerUnit).toBeLessThan(2.3);
});

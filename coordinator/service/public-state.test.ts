/** What is shown of units that are not published: the same for all of them, whatever has happened to each. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { SlotRecord } from '../storage/port.ts';
import { type LaneState, laneStates, shownPhase, ToldStates } from './public-state.ts';

const slot = (record: Partial<SlotRecord> & { unit: string }): SlotRecord => ({
  slot: { round: 1, kind: 'train', lane: 0 },
  program: 'train.steps@1+i15',
  phase: 'gathering',
  ...{
    splits: 0,
    sealed: true,
    rechecks: 0,
    replicas: 0,
    leased: 0,
    plannedAt: 0,
    acceptedAt: null,
    result: null,
  },
  ...record,
});

/** All that may have happened to a unit before it is published. */
const historyArb = fc.record({
  phase: fc.constantFrom(
    'gathering' as const,
    'revealing' as const,
    'agreed' as const,
    'accepted' as const,
    'disputed' as const,
  ),
  splits: fc.nat(3),
  rechecks: fc.nat(2),
  replicas: fc.nat(5),
  acceptedAt: fc.option(fc.nat()),
});

test('the first measurement and that of the first round can be told apart', () => {
  const kinds = ['first', 'train', 'eval'] as const;
  const states = laneStates(
    kinds.map((kind) => slot({ unit: kind, slot: { round: 1, kind, lane: 0 } })),
    () => 0,
  );
  expect(states.map(({ lane, initial }) => [lane, initial])).toEqual([
    [null, true],
    [0, undefined],
    [null, undefined],
  ]);
});

describe('an unpublished unit', () => {
  test('shows nothing of its own: its history changes no state, its own or another’s', () => {
    fc.assert(
      fc.property(historyArb, historyArb, fc.nat(3), (one, other, leased) => {
        const states = (history: typeof one) =>
          laneStates([slot({ unit: 'u', ...history }), slot({ unit: 'v', leased })], () => 0);
        expect(states(one)).toEqual(states(other));
        expect(shownPhase(slot({ unit: 'u', ...one }))).toBe('gathering');
      }),
    );
  });

  test('shows no progress of its own: only that of the whole job, in steps', () => {
    const open = [slot({ unit: 'u', leased: 1 }), slot({ unit: 'v' }), slot({ unit: 'w' })];
    const at = (u: number, v: number) =>
      laneStates(open, (unit) => (unit === 'u' ? u : unit === 'v' ? v : 0)).map((state) => state.progress);
    expect(at(0.2, 0.6)).toEqual([0.4, 0.4, 0.4]);
    expect(at(0.6, 0.2)).toEqual(at(0.2, 0.6));
    expect(at(0.21, 0.6)).toEqual(at(0.2, 0.6));
  });

  test('is ready while nobody is at work on the job', () => {
    const [state] = laneStates([slot({ unit: 'u', replicas: 2, phase: 'accepted' })], () => 1);
    expect(state).toMatchObject({ state: 'ready', progress: 0, replicas: 0 });
  });
});

test('a published unit shows what it is, also when it is disputed later', () => {
  const states = laneStates(
    [
      slot({ unit: 'a', phase: 'accepted', sealed: false, replicas: 2 }),
      slot({ unit: 'd', phase: 'disputed', sealed: false }),
      slot({ unit: 'f', phase: 'failed' }),
    ],
    () => 0,
  );
  expect(states.map((state) => state.state)).toEqual(['accepted', 'split', 'failed']);
});

test('listeners are told what is new to them, and nothing twice', () => {
  const told = new ToldStates();
  const [before] = laneStates([slot({ unit: 'u' })], () => 0) as [LaneState];
  const [after] = laneStates([slot({ unit: 'u', leased: 1 })], () => 0) as [LaneState];
  expect(told.news('job', [before])).toEqual([before]);
  expect(told.news('job', [before])).toEqual([]);
  expect(told.news('job', [after])).toEqual([after]);
  expect(told.news('other job', [after])).toEqual([after]);
});

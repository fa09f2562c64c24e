/** What events do to a status, and that doing it twice changes nothing. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JobEvent } from '#protocol/http/api.ts';
import { makeRound, makeStatus, makeUnit } from '../e2e/fixtures.ts';
import { applyEvent, chooseJob, computedNow, wayToLimit } from './job-events.ts';

describe('applyEvent', () => {
  it('closes the round: appends it, and drops its units but not those of the next', () => {
    const status = makeStatus(3);
    const early = makeUnit(5, 0, 'leased', 0.1);
    const after = applyEvent(
      { ...status, units: [...status.units, early] },
      { type: 'round', round: makeRound(4) },
    );
    expect(after.rounds.map((round) => round.round)).toEqual([1, 2, 3, 4]);
    expect(after.lossLast).toBe(makeRound(4).loss);
    expect(after.checkpoint).toBe(makeRound(4).checkpoint);
    expect(after.units).toEqual([early]);
    expect(status.rounds).toHaveLength(3);
  });

  it('changes nothing when an old round, or a unit of one, is told again', () => {
    const status = makeStatus(3);
    expect(applyEvent(status, { type: 'round', round: makeRound(2) })).toEqual(status);
    expect(applyEvent(status, { type: 'unit', unit: makeUnit(3, 0, 'accepted', 1) })).toEqual(status);
  });

  it('moves on to the round of the newest unit', () => {
    const after = applyEvent(makeStatus(3), { type: 'unit', unit: makeUnit(5, 0, 'ready', 0) });
    expect(after.round).toBe(5);
    expect(after.units).toHaveLength(5);
  });

  it('replaces a unit that is known and adds one that is not', () => {
    const status = makeStatus(0);
    const known = { ...makeUnit(1, 1, 'accepted', 1) };
    expect(applyEvent(status, { type: 'unit', unit: known }).units).toHaveLength(4);
    expect(applyEvent(status, { type: 'unit', unit: known }).units[1]).toEqual(known);
    const added = makeUnit(1, null, 'ready', 0);
    expect(applyEvent(status, { type: 'unit', unit: added }).units.at(-1)).toEqual(added);
  });

  it('puts an anchor on its round only', () => {
    const status = makeStatus(3);
    expect(status.rounds[2]?.anchor).toBeNull();
    const anchor = makeRound(3).anchor;
    if (!anchor) throw new Error('the fixture has no anchor');
    const after = applyEvent(status, { type: 'anchor', round: 3, anchor });
    expect(after.rounds[2]?.anchor).toEqual(anchor);
    expect(after.rounds[1]).toBe(status.rounds[1]);
  });

  it('is idempotent, whatever the stream repeats', () => {
    const events = fc.array(
      fc.oneof(
        fc.integer({ min: 1, max: 6 }).map((round): JobEvent => ({ type: 'round', round: makeRound(round) })),
        fc
          .tuple(fc.integer({ min: 0, max: 5 }), fc.constantFrom('ready', 'leased', 'accepted'))
          .map(([lane, state]): JobEvent => ({ type: 'unit', unit: makeUnit(4, lane, state, 0.5) })),
        fc.integer({ min: 0, max: 9 }).map((online): JobEvent => ({ type: 'contributors', online })),
      ),
    );
    fc.assert(
      fc.property(events, (list) => {
        for (let at = 0, status = makeStatus(3); at < list.length; at++) {
          const event = list[at] as JobEvent;
          const once = applyEvent(status, event);
          expect(applyEvent(once, event)).toEqual(once);
          const rounds = once.rounds.map((round) => round.round);
          expect(rounds).toEqual([...new Set(rounds)].sort((a, b) => a - b));
          expect(once.round).toBeGreaterThanOrEqual(status.round);
          status = once;
        }
      }),
    );
  });
});

describe('what the page derives', () => {
  it('shows the newest round whole and of older ones what is open, each place once', () => {
    const evaluate = (round: number, state: 'ready' | 'accepted') => ({
      ...makeUnit(round, null, state, 0),
      program: 'eval.loss@1+i10sr',
    });
    const units = [
      makeUnit(2, null, 'ready', 0),
      makeUnit(2, 1, 'ready', 0),
      { ...makeUnit(2, 0, 'accepted', 1), unit: makeUnit(2, 1, 'ready', 0).unit },
      makeUnit(2, 1, 'leased', 0.5),
      makeUnit(1, 0, 'accepted', 1),
      evaluate(1, 'ready'),
    ];
    const shown = computedNow({ ...makeStatus(0), round: 2, units });
    expect(shown.map((unit) => `${unit.round} ${unit.lane ?? unit.program} ${unit.state}`)).toEqual([
      '2 0 accepted',
      '2 1 leased',
      '2 train.outer@1 ready',
      '1 eval.loss@1+i10sr ready',
    ]);
  });

  it('says how far the model has come only when that means something', () => {
    const status = { ...makeStatus(3), unigramEntropy: 3, sourceEntropy: 1 };
    expect(wayToLimit({ ...status, lossLast: 2 })).toBe(0.5);
    expect(wayToLimit({ ...status, lossLast: 0.9 })).toBe(1);
    expect(wayToLimit({ ...status, lossLast: 3.1 })).toBeNull();
    expect(wayToLimit({ ...status, lossLast: null })).toBeNull();
    expect(wayToLimit({ ...status, lossLast: 2, sourceEntropy: null })).toBeNull();
    expect(wayToLimit({ ...status, lossLast: 2, sourceEntropy: 3 })).toBeNull();
  });

  it('shows the job asked for, else one that runs, else the newest', () => {
    const jobs = [
      { id: 'new', state: 'done' },
      { id: 'old', state: 'running' },
    ];
    expect(chooseJob(jobs, 'asked')).toBe('asked');
    expect(chooseJob(jobs, null)).toBe('old');
    expect(chooseJob(jobs.slice(0, 1), null)).toBe('new');
    expect(chooseJob([], null)).toBeNull();
  });
});

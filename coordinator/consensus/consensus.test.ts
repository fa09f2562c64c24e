/** Consensus on one unit: agreement, order, withholding, and invariants over random histories. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as consensus from './consensus.ts';
import type { Step, UnitState } from './consensus.ts';
import { benchRules, id, UnitBench } from '../testing/unit-bench.ts';

const rules = benchRules;

describe('agreement', () => {
  test('two equal digests agree; accepting settles both', () => {
    const bench = new UnitBench().round({ a: 'x', b: 'x' });
    expect(bench.unit).toMatchObject({ phase: 'agreed', digest: 'x' });
    bench.do(consensus.accept(bench.unit));
    expect(bench.states()).toEqual(['agreed', 'agreed']);
  });

  test('two different digests ask for one more; the third decides and the odd one out is rejected', () => {
    const bench = new UnitBench().round({ a: 'x', b: 'lie' });
    expect(bench.unit).toMatchObject({ phase: 'gathering', splits: 1 });
    expect(consensus.wanted(bench.unit)).toBe(1);
    bench.round({ c: 'x' }).do(consensus.accept(bench.unit));
    expect(bench.states()).toEqual(['agreed', 'rejected', 'agreed']);
  });

  test('three different digests want as many more as could make two thirds', () => {
    const bench = new UnitBench().round({ a: 'x', b: 'y' }).round({ c: 'z' });
    expect(consensus.wanted(bench.unit)).toBe(3);
    bench.round({ d: 'x', e: 'x', f: 'x' });
    expect(bench.unit).toMatchObject({ phase: 'agreed', digest: 'x' });
  });

  test('a unit that cannot agree within the limit fails, says why, and is tried again after a rest', () => {
    const bench = new UnitBench()
      .round({ a: '1', b: '2' })
      .round({ c: '3' })
      .round({ d: '4', e: '5', f: '6' });
    expect(bench.unit.phase).toBe('failed');
    expect(bench.unit.reason).toMatch(/no agreement within 9 replicas: 6 digests in 6 reveals/);
    expect(new Set(bench.states())).toEqual(new Set(['void']));
    bench.tick(500);
    expect(bench.unit.phase).toBe('failed');
    bench.tick(5_000);
    expect(bench.unit).toMatchObject({ phase: 'gathering', attempt: 2, replicas: [] });
  });
});

describe('order', () => {
  test('nothing opens before every wanted replica has committed', () => {
    const bench = new UnitBench().lease('a').commit('a');
    expect(bench.unit.phase).toBe('gathering');
    expect(consensus.reveal(bench.unit, id('a'), 'x', 11, rules)).toMatchObject({
      ok: false,
      code: 'conflict',
    });
    bench.lease('b').commit('b');
    expect(bench.log.at(-1)).toMatchObject({ type: 'opened' });
  });

  test('a contributor gets no second replica, except of a lease that came to nothing', () => {
    const bench = new UnitBench().lease('a');
    const again = (name: string) => ({
      assignment: id(name),
      contributor: id('by a'),
      weight: 1,
      deadline: 99,
    });
    expect(consensus.grantLease(bench.unit, again('a2'), rules).ok).toBe(false);
    bench.tick(60);
    expect(bench.states()).toEqual(['expired']);
    bench.do(consensus.grantLease(bench.unit, again('a2'), rules));
  });

  test('a late commit is stale, and the replica is leased to somebody else', () => {
    const bench = new UnitBench().lease('a').lease('b').commit('b');
    bench.tick(51);
    expect(consensus.commit(bench.unit, id('a'), 51, rules)).toMatchObject({
      ok: false,
      code: 'stale_lease',
    });
    bench.lease('c', { deadline: 200 }).commit('c', 60);
    expect(bench.unit.phase).toBe('revealing');
  });

  test('a late lease cannot touch a verdict: nothing is granted, committed or revealed once it stands', () => {
    const bench = new UnitBench().lease('a').lease('b');
    const grant = { assignment: id('late'), contributor: id('late'), weight: 9, deadline: 999 };
    expect(consensus.grantLease(bench.unit, grant, rules)).toMatchObject({ ok: false, code: 'conflict' });
    bench.commit('a').commit('b');
    expect(consensus.grantLease(bench.unit, grant, rules).ok).toBe(false);
    bench.reveal('a', 'x').reveal('b', 'x');
    for (const unit of [bench.unit, bench.do(consensus.accept(bench.unit)).unit]) {
      expect(consensus.grantLease(unit, grant, rules).ok).toBe(false);
      expect(consensus.commit(unit, id('a'), 30, rules).ok).toBe(false);
      expect(consensus.reveal(unit, id('a'), 'y', 30, rules).ok).toBe(false);
      expect(consensus.withhold(unit, id('a'), 'no', 30, rules).ok).toBe(false);
      expect(consensus.release(unit, id('a'), 'no', 30, rules).ok).toBe(false);
    }
  });
});

describe('withholding', () => {
  test('a missing reveal counts as withheld; another replica is asked for and the withholder is rejected', () => {
    const bench = new UnitBench().lease('a').lease('b').commit('a').commit('b').reveal('a', 'x');
    expect(consensus.dueAt(bench.unit)).toBe(110);
    bench.tick(111);
    expect(bench.states()).toEqual(['revealed', 'withheld']);
    expect(consensus.wanted(bench.unit)).toBe(1);
    expect(consensus.reveal(bench.unit, id('b'), 'x', 112, rules).ok).toBe(false);
    bench
      .lease('c', { deadline: 300 })
      .commit('c', 150)
      .reveal('c', 'x', 160)
      .do(consensus.accept(bench.unit));
    expect(bench.states()).toEqual(['agreed', 'rejected', 'agreed']);
  });

  test('who withheld may try again, since no vote was cast: two contributors are enough after a mishap', () => {
    const bench = new UnitBench().lease('a').lease('b').commit('a').commit('b').tick(111);
    expect(bench.states()).toEqual(['withheld', 'withheld']);
    const again = { assignment: id('a2'), contributor: id('by a'), weight: 1, deadline: 300 };
    bench.do(consensus.grantLease(bench.unit, again, rules));
    expect(consensus.grantLease(bench.unit, { ...again, assignment: id('a3') }, rules).ok).toBe(false);
    bench.do(
      consensus.grantLease(bench.unit, { ...again, assignment: id('b2'), contributor: id('by b') }, rules),
    );
    bench.commit('a2', 150).commit('b2', 150).reveal('a2', 'x', 160).reveal('b2', 'x', 160);
    expect(bench.unit.phase).toBe('agreed');
  });

  test('a reveal that opens nothing ends the wait at once', () => {
    const bench = new UnitBench().lease('a').lease('b').commit('a').commit('b').reveal('a', 'x');
    bench.do(consensus.withhold(bench.unit, id('b'), 'it does not open the commitment', 21, rules));
    expect(bench.unit.phase).toBe('gathering');
    expect(bench.log.at(-1)).toMatchObject({ type: 'split', wanted: 1 });
  });

  test('after downtime no deadline is nearer than the grace', () => {
    const bench = new UnitBench().lease('a').lease('b').commit('a');
    const later = consensus.afterDowntime(bench.unit, 1_000, 30);
    expect(consensus.dueAt(later)).toBe(1_030);
    expect(consensus.commit(later, id('b'), 1_020, rules).ok).toBe(true);
  });

  test('leases that keep ending without a commitment give the unit up', () => {
    const bench = new UnitBench();
    for (let i = 0; i <= rules.lostLeasesMax && bench.unit.phase === 'gathering'; i++) {
      bench.lease(`l${i}`, { deadline: 1_000 });
      bench.do(consensus.release(bench.unit, id(`l${i}`), 'no', 1, rules));
    }
    expect(bench.unit).toMatchObject({ phase: 'failed', reason: '65 leases ended without a commitment' });
  });
});

test('whatever happens: a verdict needs two different contributors and two thirds, and never changes', () => {
  const action = fc.record({
    kind: fc.constantFrom('lease', 'commit', 'reveal', 'withhold', 'release', 'tick', 'accept', 'reissue'),
    who: fc.nat(11),
    digest: fc.constantFrom('x', 'y', 'z'),
    pass: fc.nat(60),
  });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 120 }), (actions) => {
      let unit = consensus.newUnit(rules);
      let now = 0;
      let grants = 0;
      for (const { kind, who, digest, pass } of actions) {
        now += pass;
        const own = unit.replicas.findLast((r) => r.contributor === id(String(who)))?.assignment ?? '0x';
        const steps: Record<typeof kind, () => Step> = {
          lease: () => {
            const assignment = id(`${who}/${grants++}`);
            return consensus.grantLease(
              unit,
              {
                assignment,
                contributor: id(String(who)),
                weight: 1,
                deadline: now + 100,
              },
              rules,
            );
          },
          commit: () => consensus.commit(unit, own, now, rules),
          reveal: () => consensus.reveal(unit, own, digest, now, rules),
          withhold: () => consensus.withhold(unit, own, 'bad', now, rules),
          release: () => consensus.release(unit, own, 'given back', now, rules),
          tick: () => consensus.tick(unit, now, rules),
          accept: () => consensus.accept(unit),
          reissue: () => consensus.reissue(unit, 'lost', rules),
        };
        const step = steps[kind]();
        if (!step.ok) {
          expect(step.reason).not.toBe('');
          continue;
        }
        if (unit.phase === 'accepted') expect(step.unit).toEqual(unit);
        unit = step.unit;
        for (const transition of step.transitions) expect(transition.reason).not.toBe('');
        checkInvariants(unit);
      }
    }),
    { numRuns: 500 },
  );
});

function checkInvariants(unit: UnitState): void {
  const counted = unit.replicas.filter((r) => !['expired', 'released'].includes(r.state));
  expect(counted.length).toBeLessThanOrEqual(rules.replicasMax);
  const live = counted.filter((r) => r.state !== 'withheld' && (r.state !== 'rejected' || r.digest !== null));
  expect(new Set(live.map((r) => r.contributor)).size).toBe(live.length);
  if (unit.phase !== 'agreed' && unit.phase !== 'accepted') return;
  const revealed = live.filter((r) => r.digest !== null);
  const winners = revealed.filter((r) => r.digest === unit.digest);
  expect(winners.length).toBeGreaterThanOrEqual(2);
  expect(3 * winners.length).toBeGreaterThanOrEqual(2 * revealed.length);
  if (unit.phase === 'accepted') expect(winners.every((r) => r.state === 'agreed')).toBe(true);
}

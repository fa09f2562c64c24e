/** Plans, weights, owners, samples, referees and late leases: what decides a vote, and that each defence is what does it. */
import { describe, expect, test } from 'vitest';
import { benchRules, by, id, UnitBench } from '../testing/unit-bench.ts';
import * as consensus from './consensus.ts';
import type { Rules } from './consensus.ts';

const without = (defence: keyof Rules['defences']): Rules => ({
  ...benchRules,
  defences: { ...benchRules.defences, [defence]: false },
});
const single = { target: 1, quorum: 1 };

describe('plans', () => {
  test('a proven contributor decides alone where the plan says so', () => {
    const bench = new UnitBench().lease('a', { plan: single, weight: 4 }).commit('a');
    expect(bench.unit.phase).toBe('revealing');
    bench.reveal('a', 'x');
    expect(bench.unit).toMatchObject({ phase: 'agreed', digest: 'x' });
  });

  test('a checked single opens at once like any other, and then wants a second', () => {
    const bench = new UnitBench().lease('a', { plan: { target: 1, quorum: 2 }, weight: 4 }).commit('a');
    expect(bench.unit.phase).toBe('revealing');
    bench.reveal('a', 'x');
    expect(bench.last('sampled')).toMatchObject({ wanted: 1 });
    bench.round({ b: 'x' });
    expect(bench.unit).toMatchObject({ phase: 'agreed', digest: 'x' });
  });

  test('strangers among themselves need more equal digests than a vote with a proven one among them', () => {
    const strangers = { strangers: 4 };
    const alone = new UnitBench().round({ a: 'x', b: 'x' }, {}, strangers);
    expect(alone.last('sampled')).toMatchObject({ wanted: 1 });
    alone.round({ c: 'x' }, {}, strangers);
    expect(alone.unit.phase).toBe('gathering');
    alone.round({ d: 'x' }, {}, strangers);
    expect(alone.unit).toMatchObject({ phase: 'agreed', digest: 'x' });
    const joined = new UnitBench().round({ a: 'x', b: 'x' }, {}, strangers);
    joined.round({ p: 'x' }, { weight: 4 }, strangers);
    expect(joined.unit).toMatchObject({ phase: 'agreed', digest: 'x' });
    expect(new UnitBench().round({ a: 'x', b: 'x' }).unit.phase).toBe('agreed');
  });

  test('who takes the place of a proven one does not inherit its plan', () => {
    const bench = new UnitBench().lease('a', { plan: single, weight: 4 }).tick(60);
    expect(consensus.isUndecided(bench.unit)).toBe(true);
    bench.lease('b', { deadline: 200 }).commit('b', 70).reveal('b', 'x', 80);
    expect(bench.unit.phase).toBe('gathering');
    const planned = new UnitBench().lease('a', { plan: single, weight: 4 }).tick(60);
    planned.lease('b', { plan: { target: 3, quorum: 3 } });
    expect(planned.unit).toMatchObject({ target: 3, quorum: 3 });
    expect(consensus.isUndecided(planned.unit)).toBe(false);
  });

  test('a unit that is issued again is planned anew', () => {
    const bench = new UnitBench().round({ a: 'x', b: 'y', c: 'x' }, { plan: { target: 3, quorum: 2 } });
    bench.do(consensus.reissue(bench.unit, 'the outputs are lost', bench.rules));
    expect(consensus.isUndecided(bench.unit)).toBe(true);
    expect(bench.lease('d', { plan: { target: 5, quorum: 5 } }).unit.target).toBe(5);
  });

  test('a network that has become too small makes do with fewer', () => {
    const bench = new UnitBench().lease('a', { plan: { target: 5, quorum: 5 } }).lease('b');
    bench.commit('a').commit('b');
    expect(bench.unit.phase).toBe('gathering');
    bench.do(consensus.relax(bench.unit, { target: 2, quorum: 2 }, 30, bench.rules));
    bench.reveal('a', 'x').reveal('b', 'x');
    expect(bench.unit.phase).toBe('agreed');
  });

  test('a unanimous vote may be looked at once more, once', () => {
    const bench = new UnitBench().round({ a: 'x', b: 'x' }, {}, { audit: true });
    expect(bench.last('sampled')).toMatchObject({
      wanted: 1,
      reason: 'a unanimous vote is looked at once more',
    });
    bench.round({ c: 'x' }, {}, { audit: true });
    expect(bench.unit.phase).toBe('agreed');
  });
});

describe('what a vote needs', () => {
  const three = { target: 3, quorum: 3 };

  test('a group of three that is not of one mind needs a fourth, and three quarters', () => {
    const bench = new UnitBench().round({ a: 'x', b: 'x', c: 'lie' }, { plan: three });
    expect(consensus.wanted(bench.unit)).toBe(2);
    bench.lease('d').lease('e').commit('d').commit('e').reveal('d', 'x').reveal('e', 'lie');
    expect(bench.unit.phase).toBe('gathering');
    bench.round({ f: 'x', g: 'x', h: 'x' });
    expect(bench.unit).toMatchObject({ phase: 'agreed', digest: 'x' });
    const ring = new UnitBench({ ...benchRules, contestedQuorum: 9 });
    ring.round({ a: 'x', b: 'lie', c: 'lie' }, { plan: three }).round({ d: 'lie' });
    expect(ring.unit).toMatchObject({ phase: 'agreed', digest: 'lie' });
  });

  test('the network may ask for more by now than when the unit was planned, but a proven single stands', () => {
    const early = new UnitBench().round({ a: 'lie', b: 'lie' }, {}, { quorum: 4 });
    expect(early.unit).toMatchObject({ phase: 'gathering', quorum: 4 });
    expect(consensus.wanted(early.unit)).toBe(2);
    const alone = new UnitBench().lease('p', { plan: single, weight: 4 }).commit('p');
    expect(alone.reveal('p', 'x', 20, { quorum: 4 }).unit.phase).toBe('agreed');
  });
});

describe('weights', () => {
  const plan = { target: 3, quorum: 2 };

  test('two newcomers do not outvote a proven one; a second proven one decides', () => {
    const vote = (rules: Rules) => {
      const bench = new UnitBench(rules).lease('p', { plan, weight: 6 }).lease('a').lease('b');
      for (const name of ['p', 'a', 'b']) bench.commit(name);
      return bench.reveal('p', 'x').reveal('a', 'lie').reveal('b', 'lie');
    };
    const bench = vote(benchRules);
    expect(bench.unit).toMatchObject({ phase: 'gathering', splits: 1 });
    bench.round({ q: 'x' }, { weight: 6 });
    expect(bench.unit).toMatchObject({ phase: 'agreed', digest: 'x' });
    expect(vote(without('weights')).unit).toMatchObject({ phase: 'agreed', digest: 'lie' });
  });

  test('no owner has more than half: the heaviest against one other is a draw', () => {
    const heavy = (rules: Rules) =>
      new UnitBench({ ...rules, replicasMin: 1 })
        .lease('p', { plan: { target: 2, quorum: 1 }, weight: 8 })
        .lease('a')
        .commit('p')
        .commit('a')
        .reveal('p', 'x')
        .reveal('a', 'y');
    expect(heavy(benchRules).unit.phase).toBe('gathering');
    expect(heavy(without('ownerCap')).unit).toMatchObject({ phase: 'agreed', digest: 'x' });
  });

  test('an owner has one replica of a unit, whatever it calls itself', () => {
    const sibling = { owner: by('a') };
    expect(new UnitBench().lease('a').tryLease('b', sibling).ok).toBe(false);
    expect(new UnitBench(without('ownerOnce')).lease('a').tryLease('b', sibling).ok).toBe(true);
  });

  test('weight 0 never counts', () => {
    const bench = new UnitBench().round({ a: 'lie', b: 'lie' }, { weight: 0 });
    expect(bench.unit.phase).toBe('gathering');
  });
});

describe('the referee', () => {
  test('decides a vote at once, alone or against all others', () => {
    const bench = new UnitBench().lease('a', { plan: { target: 3, quorum: 3 } }).lease('b');
    bench.lease('r', { referee: true, weight: 8 });
    for (const name of ['a', 'b', 'r']) bench.commit(name);
    bench.reveal('a', 'lie').reveal('b', 'lie').reveal('r', 'x');
    expect(bench.unit).toMatchObject({ phase: 'agreed', digest: 'x' });
  });

  test('is called when more replicas could not decide', () => {
    const bench = new UnitBench().round({ a: '1', b: '2' }).round({ c: '3' });
    bench.round({ d: '4', e: '5', f: '6' }, {}, { referee: true });
    expect(bench.unit).toMatchObject({ phase: 'gathering', target: 7 });
    bench.round({ r: '3' }, { referee: true });
    expect(bench.unit).toMatchObject({ phase: 'agreed', digest: '3' });
  });
});

describe('late leases', () => {
  test('another may be leased beyond the target; the late one still counts while the vote is open', () => {
    const bench = new UnitBench().lease('late').lease('b').commit('b');
    expect(bench.tryLease('c').ok).toBe(false);
    bench.lease('c', { duplicate: true });
    expect(bench.tryLease('d', { duplicate: true }).ok).toBe(false);
    bench.commit('c');
    expect(bench.unit.phase).toBe('revealing');
    bench.reveal('b', 'x').commit('late', 30).reveal('c', 'x', 31);
    expect(bench.last('opened')?.replicas).toEqual([{ assignment: id('late'), contributor: by('late') }]);
    expect(bench.unit.phase).toBe('revealing');
    bench.reveal('late', 'x', 40).accept();
    expect(bench.states()).toEqual(['agreed', 'agreed', 'agreed']);
  });

  test('what comes after the verdict is void and no fault', () => {
    const bench = new UnitBench().lease('late').lease('b').lease('c', { duplicate: true });
    bench.commit('b').commit('c').reveal('b', 'x').reveal('c', 'x');
    expect(bench.states()).toEqual(['void', 'revealed', 'revealed']);
    expect(consensus.commit(bench.unit, id('late'), 40, bench.rules)).toMatchObject({ code: 'stale_lease' });
  });

  test('there is nothing to double before all are leased, nor after all have committed', () => {
    expect(new UnitBench().lease('a').tryLease('b', { duplicate: true }).ok).toBe(false);
    const open = new UnitBench().lease('a').lease('b').commit('a').commit('b');
    expect(open.tryLease('c', { duplicate: true }).ok).toBe(false);
  });
});

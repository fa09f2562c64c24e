/** Late looks: what strangers decided, or somebody who has gone unchecked, is replayed by the proven; each with the defence switched off too. */
import { describe, expect, test } from 'vitest';
import { addressOf, climateOf, never, RecordBench, surely } from '../testing/record-bench.ts';
import { defaultRecordRules } from './rules.ts';

const { trust } = defaultRecordRules;
const strangers = climateOf({ judged: 10, provenOnline: 0 });
const known = climateOf({});
const without = { trust: { ...trust, defences: { ...trust.defences, lateLooks: false } } };

/** Decided by four strangers, and never chosen as a canary. */
function decidedByStrangers(rules: ConstructorParameters<typeof RecordBench>[0] = {}) {
  const bench = new RecordBench(rules, strangers);
  bench.random = never;
  const unit = bench.plan();
  const names = ['a', 'b', 'c', 'd', 'e'].slice(0, bench.rules.consensus.replicasMax);
  const leases = names.flatMap((name) => {
    const outcome = bench.lease(bench.person(name));
    return outcome.type === 'lease' ? [outcome.assignment] : [];
  });
  for (const lease of leases) bench.commit(lease);
  for (const lease of leases) bench.reveal(lease, 'lie');
  bench.accept(unit);
  return { bench, unit };
}

describe('what strangers decided', () => {
  test('waits until there are proven contributors, who then overturn a lie', () => {
    const { bench, unit } = decidedByStrangers();
    expect(bench.unit(unit)).toMatchObject({ phase: 'accepted', rechecks: 0 });
    bench.tick(trust.strangersMs + 1);
    expect(bench.unit(unit)).toMatchObject({ rechecks: 0 });
    bench.store.climate = known;
    bench.tick(3 * bench.rules.scheduling.checkMs);
    expect(bench.unit(unit).rechecks).toBeGreaterThan(0);
    for (const name of ['p', 'q', 'r', 's']) {
      if (bench.unit(unit).wanted > 0) bench.work(bench.person(name, 1_000), 'right');
    }
    expect(bench.unit(unit)).toMatchObject({ phase: 'agreed', digest: 'right' });
    expect(bench.store.contributor(addressOf('a'))?.outlawedAt).not.toBeNull();
  });

  test('is waited with for a week at the most', () => {
    const { bench, unit } = decidedByStrangers();
    bench.tick(6 * 24 * 3_600_000);
    expect(bench.unit(unit).dueAt).not.toBeNull();
    bench.tick(2 * 24 * 3_600_000);
    expect(bench.unit(unit)).toMatchObject({ rechecks: 0, dueAt: null });
  });

  test('stands for ever where the defence is switched off', () => {
    const { bench, unit } = decidedByStrangers(without);
    bench.store.climate = known;
    for (let i = 0; i < 9; i++) bench.tick(3_600_000);
    expect(bench.unit(unit)).toMatchObject({ phase: 'accepted', rechecks: 0, dueAt: null });
  });

  test('one sweep asks for no more looks than a share of the proven can take', () => {
    const bench = new RecordBench({}, known);
    for (let i = 0; i < 9; i++) {
      const unit = bench.plan();
      bench.store.put('units', { ...bench.unit(unit), phase: 'accepted', wanted: 0, until: 1, dueAt: 1 });
    }
    bench.tick(10);
    const asked = [...bench.store.atHand()].filter((unit) => unit.rechecks > 0);
    expect(asked).toHaveLength(Math.ceil(known.provenOnline / 100));
    const others = [...bench.store.atHand()].filter((unit) => unit.rechecks === 0);
    expect(others.every((unit) => unit.dueAt !== null && unit.dueAt > bench.now)).toBe(true);
  });
});

describe('a single', () => {
  const goneUnchecked = (rules: ConstructorParameters<typeof RecordBench>[0] = {}, chance = 1) => {
    const bench = new RecordBench({ trust: { ...(rules?.trust ?? trust), goneChance: chance } }, known);
    bench.random = never;
    const unit = bench.plan();
    const person = bench.person('p', 1_000);
    bench.work(person, 'lie');
    bench.accept(unit);
    return { bench, unit, person };
  };

  test('of somebody who has gone, and whom nothing has confirmed since, is looked at', () => {
    const { bench, unit } = goneUnchecked();
    bench.tick(trust.goneMs + 1);
    expect(bench.unit(unit)).toMatchObject({ phase: 'accepted', rechecks: 1 });
  });

  test('of somebody who is still at work, or has been confirmed since, is left alone', () => {
    const working = goneUnchecked();
    working.bench.plan();
    working.bench.now += trust.goneMs;
    working.bench.leased(working.person);
    working.bench.tick(1);
    expect(working.bench.unit(working.unit)).toMatchObject({ rechecks: 0, dueAt: null });
    const confirmed = goneUnchecked();
    const next = confirmed.bench.plan();
    confirmed.bench.work(confirmed.person, 'x');
    confirmed.bench.random = surely;
    confirmed.bench.accept(next);
    confirmed.bench.random = never;
    confirmed.bench.work(confirmed.bench.person('q', 1_000), 'x');
    confirmed.bench.tick(trust.goneMs + 1);
    expect(confirmed.bench.unit(confirmed.unit)).toMatchObject({ rechecks: 0, dueAt: null });
  });

  test('is looked at by chance only, and not at all with the defence switched off', () => {
    for (const { bench, unit } of [goneUnchecked({}, 0), goneUnchecked(without)]) {
      bench.tick(trust.goneMs + 1);
      expect(bench.unit(unit)).toMatchObject({ rechecks: 0, dueAt: null });
    }
  });
});

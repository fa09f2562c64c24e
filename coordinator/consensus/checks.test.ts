/** After acceptance: replays that confirm, disputes, and who settles them. */
import { describe, expect, test } from 'vitest';
import { benchRules, by, id, UnitBench } from '../testing/unit-bench.ts';
import * as consensus from './consensus.ts';

const alone = { plan: { target: 1, quorum: 1 }, weight: 4 };

/** A unit that one proven contributor has had accepted with digest `x`, and that is checked. */
function accepted(rechecks = 1): UnitBench {
  return new UnitBench().lease('a', alone).commit('a').reveal('a', 'x').accept(rechecks);
}

function check(bench: UnitBench, name: string, digest: string, more = {}, hints = {}): UnitBench {
  return bench
    .lease(name, { weight: 4, ...more })
    .commit(name)
    .reveal(name, digest, 20, hints);
}

describe('a check', () => {
  test('opens at once, as a unit of one replica does, and confirms', () => {
    const bench = accepted();
    expect(consensus.wanted(bench.unit)).toBe(1);
    bench.lease('b').commit('b');
    expect(bench.last('opened')?.replicas).toEqual([{ assignment: id('b'), contributor: by('b') }]);
    bench.reveal('b', 'x');
    expect(bench.unit).toMatchObject({ phase: 'accepted', digest: 'x', rechecks: 0, overturned: false });
    expect(bench.states()).toEqual(['agreed', 'agreed']);
    expect(bench.last('confirmed')).toMatchObject({ contributor: by('b') });
  });

  test('goes to nobody who has had a replica, nor to another of its owner', () => {
    const bench = accepted();
    expect(bench.tryLease('again', { contributor: by('a') })).toMatchObject({ ok: false });
    expect(bench.tryLease('kin', { owner: by('a') })).toMatchObject({ ok: false });
    expect(bench.tryLease('stranger').ok).toBe(true);
  });

  test('is wanted again when its lease ends or its reveal stays away', () => {
    const bench = accepted().lease('b');
    expect(consensus.dueAt(bench.unit)).toBe(50);
    bench.tick(51);
    expect(consensus.wanted(bench.unit)).toBe(1);
    bench.lease('c', { deadline: 200 }).commit('c', 60);
    expect(consensus.dueAt(bench.unit)).toBe(160);
    bench.tick(161);
    expect(bench.states()).toEqual(['agreed', 'expired', 'withheld']);
    expect(consensus.wanted(bench.unit)).toBe(1);
    bench.lease('d', { deadline: 300 });
    bench.do(consensus.release(bench.unit, id('d'), 'no', 170, bench.rules));
    expect(consensus.wanted(bench.unit)).toBe(1);
  });

  test('is not asked of a unit that is open, and twice asked is once asked', () => {
    expect(consensus.recheck(new UnitBench().unit, 1, 'why')).toMatchObject({ ok: false });
    const bench = accepted(0).do(consensus.recheck(accepted(0).unit, 1, 'a sample'));
    expect(bench.last('recheck')).toMatchObject({ wanted: 1, reason: 'a sample' });
    bench.do(consensus.recheck(bench.unit, 1, 'again'));
    expect(bench.unit.rechecks).toBe(1);
  });
});

describe('a dispute', () => {
  test('needs three equal digests where there is no referee; the false check is rejected', () => {
    const bench = check(accepted(), 'liar', 'lie');
    expect(bench.unit).toMatchObject({ phase: 'disputed', digest: 'x' });
    expect(bench.last('disputed')).toMatchObject({ wanted: 2 });
    check(bench, 'c', 'x');
    expect(bench.unit.phase).toBe('disputed');
    check(bench, 'd', 'x');
    expect(bench.unit).toMatchObject({ phase: 'accepted', digest: 'x', rechecks: 0, overturned: false });
    expect(bench.states()).toEqual(['agreed', 'rejected', 'agreed', 'agreed']);
    expect(bench.last('upheld')?.reason).toBe(
      '3 contributors with 12 of the weight 16 found the accepted digest',
    );
  });

  test('overturns a false digest; the right one is pulled and accepted like any other', () => {
    const bench = check(check(check(accepted(), 'b', 'y'), 'c', 'y'), 'd', 'y');
    expect(bench.unit).toMatchObject({ phase: 'agreed', digest: 'y', overturned: true });
    expect(bench.last('overturned')).toMatchObject({ digest: 'y', was: 'x' });
    expect(bench.states()).toEqual(['rejected', 'revealed', 'revealed', 'revealed']);
    bench.accept();
    expect(bench.states()).toEqual(['rejected', 'agreed', 'agreed', 'agreed']);
    expect(bench.unit).toMatchObject({ phase: 'accepted', overturned: true });
  });

  test('clears who was outvoted and right', () => {
    const bench = new UnitBench().round({ a: 'lie', b: 'lie', c: 'y' }, { plan: { target: 3, quorum: 2 } });
    bench.accept(1);
    expect(bench.states()).toEqual(['agreed', 'agreed', 'rejected']);
    check(bench, 'd', 'y', { referee: true }).accept();
    expect(bench.states()).toEqual(['rejected', 'rejected', 'agreed', 'agreed']);
  });

  test('is asked of one referee, whose word is final', () => {
    const bench = check(accepted(), 'b', 'y', {}, { referee: true });
    expect(bench.last('disputed')).toMatchObject({ wanted: 1 });
    check(bench, 'r', 'y', { referee: true, weight: 8 });
    expect(bench.unit).toMatchObject({ phase: 'agreed', digest: 'y' });
    expect(bench.last('overturned')?.reason).toBe('a referee found another digest');
  });

  test('without the defence, a referee is one of many', () => {
    const rules = { ...benchRules, defences: { ...benchRules.defences, referee: false } };
    const bench = new UnitBench(rules).lease('a', alone).commit('a').reveal('a', 'x').accept(1);
    check(bench, 'r', 'y', { referee: true, weight: 8 });
    expect(bench.unit.phase).toBe('disputed');
  });

  test('counts nothing that a liar has said', () => {
    const plain = check(check(accepted(), 'b', 'y'), 'c', 'y');
    expect(plain.unit.phase).toBe('disputed');
    const named = accepted();
    named.do(consensus.recheck(named.unit, 1, 'its contributor lied', by('a')));
    expect(named.unit.replicas[0]?.weight).toBe(0);
    check(check(check(named, 'b', 'y', { weight: 1 }), 'c', 'y', { weight: 1 }), 'd', 'y', { weight: 1 });
    expect(named.unit).toMatchObject({ phase: 'agreed', digest: 'y' });
  });

  test('ends: once enough have spoken the leading digest stands', () => {
    const bench = accepted();
    for (let i = 1; i < bench.rules.disputeMax; i++) {
      expect(bench.unit.phase).not.toBe('agreed');
      check(bench, `n${i}`, `digest ${i}`);
    }
    expect(bench.unit).toMatchObject({ phase: 'agreed', digest: 'digest 1', overturned: true });
    expect(bench.unit.replicas).toHaveLength(bench.rules.disputeMax);
  });
});

describe('liars and two-faced messages', () => {
  test('an outlaw is taken out of a vote: its lease, its commitment and its digest', () => {
    const bench = new UnitBench()
      .lease('a', { plan: { target: 3, quorum: 3 } })
      .lease('b')
      .lease('c')
      .commit('a');
    const expel = (name: string) =>
      bench.do(consensus.expel(bench.unit, by(name), 'a liar', 12, bench.rules));
    expel('a');
    expel('b');
    expect(bench.states()).toEqual(['withheld', 'released', 'leased']);
    bench.commit('c').lease('d').commit('d').reveal('c', 'x').reveal('d', 'lie');
    expel('d');
    expect(bench.unit.replicas.at(-1)).toMatchObject({ state: 'revealed', weight: 0 });
    bench.round({ e: 'x', f: 'x', g: 'x' });
    expect(bench.unit).toMatchObject({ phase: 'agreed', digest: 'x' });
  });

  test('two signed messages that contradict each other end the replica, before and after the reveal', () => {
    const bench = new UnitBench().lease('a').lease('b').commit('a');
    const twice = () => consensus.equivocate(bench.unit, id('a'), 'two commitments', 12, bench.rules);
    bench.do(twice());
    expect(bench.last('equivocated')).toMatchObject({ contributor: by('a') });
    expect(twice().ok).toBe(false);
    bench.commit('b').reveal('b', 'x').round({ c: 'x' }).accept();
    expect(bench.states()).toEqual(['rejected', 'agreed', 'agreed']);
  });
});

/** The record's operations, one defence at a time: secret plans, diversity, seals, checks, overturned results, reviews, stragglers. */
import { describe, expect, test } from 'vitest';
import { addressOf, climateOf, never, RecordBench, surely } from '../testing/record-bench.ts';
import { defaultRecordRules } from './rules.ts';

const small = climateOf({ online: 3, provenOnline: 0, judged: 3 });
const { consensus, trust } = defaultRecordRules;

describe('replication', () => {
  test('strangers in a small network are two of two, as ever', () => {
    const bench = new RecordBench({}, small);
    const unit = bench.plan();
    const first = bench.leased(bench.person('a'));
    const second = bench.leased(bench.person('b'));
    expect(bench.lease(bench.person('c')).type).toBe('none');
    for (const each of [first, second]) bench.commit(each);
    for (const each of [first, second]) expect(bench.reveal(each, 'x').ok).toBe(true);
    expect(bench.accept(unit).verdicts.map((v) => [v.outcome, v.credit])).toEqual([
      ['agreed', 1_000],
      ['agreed', 1_000],
    ]);
    expect(bench.creditOf(addressOf('a'))).toBe(1_000n);
  });

  test('the proven work alone, but for a sample drawn in secret', () => {
    const bench = new RecordBench();
    const proven = bench.person('p', 1_000);
    const alone = bench.plan();
    bench.work(proven, 'x');
    expect(bench.unit(alone)).toMatchObject({ phase: 'agreed', target: 1, quorum: 1 });
    const draws = Array.from({ length: 4_000 }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 0);
    const checked = draws.filter((random) => {
      const fresh = new RecordBench();
      fresh.plan();
      fresh.leased(fresh.person('p', 1_000), { random });
      return fresh.unit('unit0001').quorum === 2;
    });
    expect(checked.length / draws.length).toBeGreaterThan(0.01);
    expect(checked.length / draws.length).toBeLessThan(0.04);
  });

  test('where there are proven ones enough a seat is given once the one before has committed', () => {
    for (const serial of [true, false]) {
      const defences = { ...trust.defences, serial };
      const bench = new RecordBench({ trust: { ...trust, defences } });
      bench.plan();
      const first = bench.leased(bench.person('a'));
      const second = bench.person('p', 1_000);
      expect(bench.lease(second).type).toBe(serial ? 'none' : 'lease');
      if (!serial) continue;
      bench.commit(first);
      expect(bench.lease(second).type).toBe('lease');
    }
  });

  test('strangers whose kept seat no proven one took need more of them, and a proven one among them ends it', () => {
    const vote = (verified: number) => {
      const bench = new RecordBench();
      const unit = bench.plan();
      for (const name of ['a', 'b', 'c']) {
        const person = bench.person(name, name === 'c' ? verified : 0);
        const assignment = bench.leased(person);
        bench.commit(assignment);
        for (const { assignment: open } of bench.store.replicas(unit)) bench.reveal(open, 'x');
        bench.now = bench.replica(assignment).deadline + trust.seatMs + 1;
      }
      return bench.unit(unit);
    };
    expect(vote(0)).toMatchObject({ phase: 'gathering', wanted: 1 });
    expect(vote(1_000)).toMatchObject({ phase: 'agreed' });
  });

  test('a network that has become too small for a plan makes do with two', () => {
    const bench = new RecordBench({}, climateOf({ judged: 10, provenOnline: 0 }));
    const unit = bench.plan();
    const [a, b] = ['a', 'b'].map((name) => bench.leased(bench.person(name)));
    expect(bench.unit(unit).target).toBeGreaterThan(2);
    for (const each of [a, b]) bench.commit(each as never);
    bench.store.climate = small;
    const outcome = bench.lease(addressOf('a'));
    expect(outcome.type === 'none' && outcome.change?.transitions.map((t) => t.type)).toEqual(['opened']);
    for (const each of [a, b]) bench.reveal(each as never, 'x');
    expect(bench.unit(unit).phase).toBe('agreed');
  });

  test('a page that was reloaded is given its lease again', () => {
    const bench = new RecordBench({}, small);
    bench.plan();
    const person = bench.person('a');
    const assignment = bench.leased(person);
    expect(bench.lease(person, { held: new Set() })).toMatchObject({ type: 'lease', assignment });
    expect(bench.lease(person, { held: new Set([assignment]) }).type).toBe('none');
  });
});

describe('diversity', () => {
  const owned = { owner: addressOf('wallet') };

  test('an owner has one replica of a unit, whatever keys it uses', () => {
    for (const ownerOnce of [true, false]) {
      const defences = { ...consensus.defences, ownerOnce };
      const bench = new RecordBench({ consensus: { ...consensus, defences } }, small);
      bench.plan();
      bench.leased(bench.person('a', 0, owned));
      expect(bench.lease(bench.person('b', 0, owned)).type).toBe(ownerOnce ? 'none' : 'lease');
    }
  });

  test('two of one network never meet where there are three networks, and only in need where there are not', () => {
    for (const prefixesOnline of [2, 3]) {
      const bench = new RecordBench({}, { ...small, prefixesOnline });
      bench.plan();
      const here = { prefix: 'here', device: 'd', vendor: '', memoryBytes: null };
      bench.leased(bench.person('a', 0, here), { origin: here });
      const next = bench.lease(bench.person('b', 0, here), { origin: here });
      expect(next.type).toBe(prefixesOnline === 3 ? 'none' : 'lease');
    }
  });

  test('another vendor is preferred where there is a choice', () => {
    const green = { prefix: '', device: 'd', vendor: 'green', memoryBytes: null };
    for (const random of [0, 1 << 30, 2 ** 31, never]) {
      const bench = new RecordBench({}, small);
      const units = [bench.plan(), bench.plan()];
      bench.leased(bench.person('a', 0, green), { origin: green });
      const free = units.find((unit) => bench.unit(unit).wanted === 2);
      expect(bench.lease(bench.person('b', 0, green), { origin: green, random })).toMatchObject({
        unit: free,
      });
    }
  });
});

describe('a referee on duty', () => {
  const referee = addressOf('referee');
  const rules = { referees: new Set([referee]) };
  const crowd = climateOf({ refereesOnline: 1 });
  const duty = { duty: true };

  test('leaves to others what they can decide, and takes it when it asks for anything', () => {
    const bench = new RecordBench(rules, crowd);
    bench.person('referee');
    bench.plan();
    expect(bench.lease(referee, duty)).toMatchObject({ type: 'none' });
    expect(bench.lease(referee)).toMatchObject({ type: 'lease' });
  });

  test('takes everything, and decides it alone, where only referees are', () => {
    const bench = new RecordBench(rules, { ...crowd, online: 1, provenOnline: 0 });
    bench.person('referee');
    const unit = bench.plan();
    bench.work(referee, 'right', duty);
    expect(bench.unit(unit).digest).toBe('right');
  });

  test('takes the third replica where two differ', () => {
    const bench = new RecordBench(rules, { ...small, refereesOnline: 1 });
    bench.person('referee');
    const unit = bench.plan();
    const both = ['a', 'b'].map((name) => bench.leased(bench.person(name)));
    expect(bench.lease(referee, duty)).toMatchObject({ type: 'none' });
    for (const id of both) bench.commit(id);
    both.forEach((id, i) => bench.reveal(id, `of ${i}`));
    bench.work(referee, 'of 1', duty);
    expect(bench.unit(unit).digest).toBe('of 1');
  });

  test('takes what nobody else has come for', () => {
    const bench = new RecordBench(rules, crowd);
    bench.person('referee');
    bench.plan();
    bench.now += bench.rules.trust.seatMs + 1;
    expect(bench.lease(referee, duty)).toMatchObject({ type: 'lease' });
  });

  test('is nothing that a stranger can claim', () => {
    const bench = new RecordBench(rules, crowd);
    bench.plan();
    expect(bench.lease(bench.person('stranger'), duty)).toMatchObject({ type: 'lease' });
  });
});

describe('seals', () => {
  test('what is accepted is served only once it is unsealed, and not while it is being checked', () => {
    const bench = new RecordBench();
    const unit = bench.plan();
    bench.work(bench.person('p', 1_000), 'x');
    bench.random = surely;
    bench.accept(unit);
    expect(bench.unit(unit)).toMatchObject({ phase: 'accepted', sealed: true, rechecks: 1, wanted: 1 });
    expect(bench.unseal(unit)).toBe(false);
    expect(bench.store.published.size).toBe(0);
    const canary = bench.leased(bench.person('q', 1_000));
    expect(bench.commit(canary)).toMatchObject({ ok: true, transitions: [{}, { type: 'opened' }] });
    bench.reveal(canary, 'x');
    expect(bench.unseal(unit)).toBe(true);
    expect([...bench.store.published]).toEqual([`${unit} output`]);
  });

  test('all are unsealed or none', () => {
    const bench = new RecordBench();
    const [done, open] = [bench.plan(), bench.plan()];
    bench.work(bench.person('p', 1_000), 'x', { random: 0 });
    const agreed = bench.unit(done).phase === 'agreed' ? done : open;
    bench.accept(agreed);
    expect(bench.unseal(done, open)).toBe(false);
    expect(bench.unit(agreed).sealed).toBe(true);
  });
});

describe('checks', () => {
  /** A unit that p computed alone, wrongly or not, and that is to be looked at again. */
  function doubtful(digest: string) {
    const bench = new RecordBench();
    const unit = bench.plan();
    const liar = bench.person('p', 1_000);
    const lie = bench.work(liar, digest);
    bench.random = surely;
    bench.accept(unit);
    bench.random = never;
    return { bench, unit, liar, lie };
  }

  test('a check that agrees confirms both, and pays the one who made it', () => {
    const { bench, unit, liar } = doubtful('x');
    const checker = bench.person('q', 500);
    const check = bench.work(checker, 'x');
    expect(bench.unit(unit)).toMatchObject({ phase: 'accepted', rechecks: 0, wanted: 0 });
    expect(bench.replica(check)).toMatchObject({ purpose: 'recheck', state: 'agreed', credit: 1_000n });
    expect(bench.store.device(liar, 'd')?.verified).toBe(1_001);
    expect(bench.store.device(checker, 'd')?.verified).toBe(501);
  });

  test('a false result is overturned before anybody has seen it: the right one takes its place, the liar pays', () => {
    const { bench, unit, liar, lie } = doubtful('lie');
    expect(bench.creditOf(liar)).toBe(1_000n);
    for (const name of ['q', 'r', 's']) bench.work(bench.person(name, 1_000), 'x');
    expect(bench.unit(unit)).toMatchObject({ phase: 'agreed', digest: 'x', overturned: false });
    expect(bench.replica(lie)).toMatchObject({ state: 'rejected', credit: 0n });
    expect(bench.store.contributor(liar)).toMatchObject({ faults: 1, outlawedAt: bench.now, reviewFrom: '' });
    expect(bench.creditOf(liar)).toBe(0n);
    expect(bench.lease(liar)).toMatchObject({ type: 'none', retryMs: 60_000 });
    bench.accept(unit, ['right']);
    expect(bench.unit(unit)).toMatchObject({ phase: 'accepted', sealed: true, overturned: false });
    expect(new TextDecoder().decode(bench.unit(unit).result as Uint8Array)).toBe('x');
    for (const name of ['q', 'r', 's']) expect(bench.creditOf(addressOf(name))).toBe(1_000n);
  });

  test('one that is caught only after it has been used stays what it was, and is flagged', () => {
    const bench = new RecordBench();
    const unit = bench.plan();
    const liar = bench.person('p', 1_000);
    bench.work(liar, 'lie');
    bench.accept(unit);
    expect(bench.unseal(unit)).toBe(true);
    bench.outlaw(liar);
    expect(bench.review(liar).map((change) => change.transitions[0]?.type)).toEqual(['recheck']);
    for (const name of ['q', 'r', 's']) bench.work(bench.person(name, 1_000), 'x');
    expect(bench.unit(unit)).toMatchObject({ phase: 'agreed', digest: 'x', overturned: true });
    bench.accept(unit, ['right']);
    expect(new TextDecoder().decode(bench.unit(unit).result as Uint8Array)).toBe('lie');
    expect(bench.store.published.has('right')).toBe(false);
  });

  test("a liar's word does not count in the dispute about its own result", () => {
    const { bench, unit, liar } = doubtful('x');
    const other = bench.person('q', 1_000);
    bench.work(other, 'lie');
    expect(bench.unit(unit).phase).toBe('disputed');
    for (const name of ['r', 's']) bench.work(bench.person(name, 1_000), 'x');
    expect(bench.unit(unit)).toMatchObject({ phase: 'accepted', digest: 'x' });
    expect(bench.store.contributor(other)?.outlawedAt).toBe(bench.now);
    expect(bench.store.contributor(liar)?.outlawedAt).toBeNull();
  });

  test('in a network so small that nobody may be there to check, checks are let go', () => {
    for (const online of [3, 100]) {
      const { bench, unit } = doubtful('x');
      bench.store.climate = climateOf({ online });
      const { checkMs } = bench.rules.scheduling;
      const types = bench.tick(checkMs + 1).flatMap((c) => c.transitions.map((t) => t.type));
      expect(types).toEqual(online === 3 ? ['recheck'] : []);
      expect(bench.unit(unit).rechecks).toBe(online === 3 ? 0 : 1);
      expect(bench.unseal(unit)).toBe(online === 3);
    }
  });
});

describe('a proven liar', () => {
  test.each([true, false])('everything it has touched is looked at again: %s', (secondLooks) => {
    const defences = { ...trust.defences, secondLooks };
    const bench = new RecordBench({ trust: { ...trust, defences } });
    const liar = bench.person('p', 1_000);
    const units = Array.from({ length: 150 }, () => {
      const unit = bench.plan();
      bench.work(liar, 'x');
      bench.accept(unit);
      return unit;
    });
    bench.outlaw(liar);
    bench.review(liar);
    expect(units.filter((unit) => bench.unit(unit).wanted === 1).length).toBe(secondLooks ? 150 : 0);
    expect(bench.store.contributor(liar)?.reviewFrom).toBeNull();
  });

  test('its open replicas end, its escrow is void, and a step of the review that was done already does nothing', () => {
    const bench = new RecordBench();
    const liar = bench.person('p', 10);
    const unit = bench.plan();
    bench.work(liar, 'x');
    bench.accept(unit);
    expect(bench.store.account(`escrow:${liar}`)?.balance).toBe(1_000n);
    bench.plan();
    const open = bench.leased(liar);
    bench.outlaw(liar);
    bench.review(liar);
    expect(bench.replica(open).state).toBe('released');
    expect(bench.creditOf(liar)).toBe(0n);
    const again = bench.store.runNow(bench.operations.review(liar, '', bench.now));
    expect(again).toEqual({ changes: [], more: false });
  });

  test('two commitments for one assignment prove their sender false, and nobody waits for it', () => {
    const bench = new RecordBench({}, small);
    const unit = bench.plan();
    const [a, b] = ['a', 'b'].map((name) => bench.leased(bench.person(name))) as [
      `0x${string}`,
      `0x${string}`,
    ];
    bench.commit(a, '0x01');
    expect(bench.commit(a, '0x01')).toMatchObject({ ok: true, transitions: [] });
    const refusal = bench.commit(a, '0x02');
    expect(refusal).toMatchObject({ ok: false, code: 'conflict' });
    expect(!refusal.ok && refusal.change?.transitions[0]?.type).toBe('equivocated');
    expect(bench.store.contributor(addressOf('a'))?.outlawedAt).toBe(bench.now);
    bench.commit(b);
    expect(bench.unit(unit).phase).not.toBe('agreed');
  });
});

describe('time', () => {
  test('a late lease is offered once more, to whoever has nothing else to do, and the first to commit counts', () => {
    const bench = new RecordBench();
    const unit = bench.plan();
    const slow = bench.leased(bench.person('slow', 1_000));
    const { leaseMsMin } = bench.rules.scheduling;
    bench.tick(leaseMsMin * 0.4);
    expect(bench.unit(unit).wanted).toBe(0);
    bench.tick(leaseMsMin * 0.2);
    expect(bench.unit(unit)).toMatchObject({ wanted: 1, spare: true });
    const other = bench.plan();
    expect(bench.lease(bench.person('busy', 1_000))).toMatchObject({ type: 'lease', unit: other });
    const quick = bench.leased(bench.person('quick', 1_000));
    expect(bench.unit(unit)).toMatchObject({ wanted: 0, spare: false });
    bench.commit(quick);
    bench.reveal(quick, 'x');
    expect(bench.unit(unit)).toMatchObject({ phase: 'agreed', digest: 'x' });
    expect(bench.replica(slow).state).toBe('void');
  });

  test("leases run out, reveals are withheld, and downtime is nobody's fault", () => {
    const bench = new RecordBench({}, small);
    const unit = bench.plan();
    const [a, b] = ['a', 'b'].map((name) => bench.leased(bench.person(name))) as [
      `0x${string}`,
      `0x${string}`,
    ];
    bench.now += 1e9;
    while (bench.store.runNow(bench.operations.resume(bench.now, 30_000)));
    expect(bench.tick()).toEqual([]);
    expect(bench.unit(unit).dueAt).toBe(bench.now + 30_000);
    for (const each of [a, b]) expect(bench.commit(each).ok).toBe(true);
    bench.reveal(a, 'x');
    const types = bench
      .tick(bench.rules.consensus.revealMs + 1)
      .flatMap((c) => c.transitions.map((t) => t.type));
    expect(types).toEqual(['withheld', 'split']);
    expect(bench.unit(unit)).toMatchObject({ phase: 'gathering', wanted: 1 });
    expect(bench.store.contributor(addressOf('b'))?.strikes).toBe(1);
    expect(bench.replica(b).state).toBe('withheld');
  });
});

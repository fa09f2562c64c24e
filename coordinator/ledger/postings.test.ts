/** The ledger over a `View`: after any history it is balanced, nobody is overdrawn, and nothing is paid or taken twice. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Hex } from 'viem';
import { contributorRow, type LedgerView, ledgerView, replicaRow } from '../testing/ledger-view.ts';
import { bonusOf, creditOf, escrowOf, forfeit, grantOf, issued, poolOf } from './accounts.ts';
import { gainOf, payBonus } from './bonus.ts';
import { balanceChanges } from './chain.ts';
import { clawBack, earn, fund, release, voidEscrow } from './postings.ts';
import { defaultLedgerRules as rules, growthOf, type LedgerRules, priceOf } from './rules.ts';

const unit = 'bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm';
const job = 'bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy';
const hex = (n: number, bytes: number): Hex => `0x${n.toString(16).padStart(2 * bytes, '0')}`;
const address = (n: number) => hex(n, 20);
const assignment = (n: number) => hex(n, 32);
const work = { cid: unit, job, operations: 1_000_000, quality: 1000 };
const balance = (view: LedgerView, id: string) => view.account(id)?.balance ?? 0n;

/** What the record does around the ledger's functions: rows follow what was posted. */
class Record {
  readonly view = ledgerView();
  readonly rules: LedgerRules;
  #next = 1;

  constructor(of: LedgerRules = rules) {
    this.rules = of;
  }

  accept(states: readonly { who: number; agreed: boolean }[], operations = 1_000_000, quality = 1000): Hex[] {
    const rows = states.map(({ who, agreed }) =>
      replicaRow(assignment(this.#next++), unit, address(who), agreed ? 'agreed' : 'rejected'),
    );
    for (const row of rows) this.view.put('replicas', row);
    for (const { assignment: id, amount } of earn(
      this.view,
      { ...work, operations, quality },
      rows,
      this.rules,
    )) {
      const row = this.view.replica(id);
      if (row) this.view.put('replicas', { ...row, credit: row.credit + amount });
    }
    return rows.map((row) => row.assignment);
  }

  trust(who: number): void {
    const row = this.view.contributor(address(who)) ?? contributorRow(address(who));
    if (row.outlawedAt !== null) return;
    this.view.put('contributors', { ...row, trustedAt: 1 });
    release(this.view, address(who), 'trust earned');
  }

  /** Earns into escrow again, with what it has still there. */
  distrust(who: number): void {
    const row = this.view.contributor(address(who));
    if (row) this.view.put('contributors', { ...row, trustedAt: null });
  }

  overturn(id: Hex): bigint {
    const row = this.view.replica(id);
    if (!row) return 0n;
    const taken = clawBack(this.view, row, job, 'proven false', this.rules);
    this.view.put('replicas', { ...row, state: 'rejected', credit: 0n });
    return taken;
  }

  outlaw(who: number): void {
    const row = this.view.contributor(address(who)) ?? contributorRow(address(who));
    this.view.put('contributors', { ...row, outlawedAt: 1, trustedAt: null });
    voidEscrow(this.view, address(who), 'outlawed');
  }
}

const loss = fc.double({ min: 0.01, max: 6, noNaN: true });
const actions = fc.array(
  fc.oneof(
    fc.record({
      do: fc.constant('fund' as const),
      amount: fc.nat(2 ** 30),
      reference: fc.constantFrom('a', 'b'),
    }),
    fc.record({
      do: fc.constant('accept' as const),
      operations: fc.nat(2 ** 50),
      quality: fc.nat(1000),
      states: fc.array(fc.record({ who: fc.nat(4), agreed: fc.boolean() }), { maxLength: 5 }),
    }),
    fc.record({ do: fc.constant('trust' as const), who: fc.nat(4) }),
    fc.record({ do: fc.constant('distrust' as const), who: fc.nat(4) }),
    fc.record({ do: fc.constant('outlaw' as const), who: fc.nat(4) }),
    fc.record({ do: fc.constant('overturn' as const), which: fc.nat(30) }),
    fc.record({ do: fc.constant('climate' as const), judged: fc.nat(100_000), liars: fc.nat(1000) }),
    fc.record({
      do: fc.constant('bonus' as const),
      round: fc.nat(3),
      before: loss,
      after: loss,
    }),
  ),
  { maxLength: 60 },
);
type Action = typeof actions extends fc.Arbitrary<(infer A)[]> ? A : never;

function act(record: Record, action: Action): void {
  const { view } = record;
  if (action.do === 'fund') fund(view, { ...action, job, amount: BigInt(action.amount) });
  else if (action.do === 'accept') record.accept(action.states, action.operations, action.quality);
  else if (action.do === 'trust') record.trust(action.who);
  else if (action.do === 'distrust') record.distrust(action.who);
  else if (action.do === 'outlaw') record.outlaw(action.who);
  else if (action.do === 'overturn') record.overturn(assignment(action.which));
  else if (action.do === 'climate') view.climate = { ...view.climate, ...action };
  else payBonus(view, { ...action, job, units: [unit] }, record.rules);
}

describe('after any history', () => {
  test('all balances together are zero, each is the sum of its transfers, and only the issuer owes', () => {
    fc.assert(
      fc.property(actions, (history) => {
        const record = new Record();
        for (const action of history) act(record, action);
        const { accounts, transfers } = record.view;
        expect([...accounts.values()].reduce((sum, { balance: of }) => sum + of, 0n)).toBe(0n);
        expect(new Map([...accounts].map(([id, row]) => [id, row.balance]))).toEqual(
          balanceChanges(transfers),
        );
        for (const { id, balance: of } of accounts.values()) expect(of >= 0n || id === issued).toBe(true);
        for (const { amount } of transfers) expect(amount > 0n).toBe(true);
        for (const [id, { balance: of }] of accounts) if (id.startsWith('bonus:')) expect(of).toBe(0n);
      }),
      { numRuns: 300 },
    );
  });

  test('no more is taken back of a result than it earned, nor fined than the rule says, and a replica holds what is left', () => {
    fc.assert(
      fc.property(actions, (history) => {
        const record = new Record();
        for (const action of history) act(record, action);
        const { view } = record;
        for (const [id, row] of view.allReplicas) {
          const of = (...kinds: string[]) =>
            view.transfers
              .filter((t) => t.assignment === id && kinds.includes(t.kind))
              .reduce((sum, t) => sum + t.amount, 0n);
          const paid = of('earned', 'bonus');
          const back = of('voided', 'clawback');
          expect(back <= paid).toBe(true);
          expect(of('fine') * 1000n <= paid * BigInt(rules.fine)).toBe(true);
          expect(row.credit === paid || (row.credit === 0n && row.state === 'rejected')).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('a job with a pool never spends more than it was given', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 40), actions, (budget, history) => {
        const record = new Record();
        fund(record.view, { job, amount: BigInt(budget) + 1n, reference: 'budget' });
        for (const action of history) act(record, action);
        const given = record.view.transfers.filter((t) => t.credit === poolOf(job));
        const spent = record.view.transfers.filter((t) => t.debit === poolOf(job));
        const sum = (of: { amount: bigint }[]) => of.reduce((all, { amount }) => all + amount, 0n);
        expect(sum(spent) <= sum(given)).toBe(true);
        expect(record.view.transfers.some((t) => t.debit === issued && t.kind !== 'funded')).toBe(false);
      }),
      { numRuns: 300 },
    );
  });
});

test('a pool gets what is paid into it, and each payment once', () => {
  const payment = fc.record({ amount: fc.nat(1_000), reference: fc.constantFrom('a', 'b', 'c') });
  fc.assert(
    fc.property(fc.array(payment, { maxLength: 12 }), (payments) => {
      const { view } = new Record();
      const paid = new Map<string, number>();
      for (const { amount, reference } of payments) {
        const isNew = amount > 0 && !paid.has(reference);
        expect(fund(view, { job, amount: BigInt(amount), reference })).toBe(isNew);
        if (isNew) paid.set(reference, amount);
      }
      const total = BigInt([...paid.values()].reduce((sum, amount) => sum + amount, 0));
      expect(balance(view, poolOf(job))).toBe(total);
      expect(balance(view, issued)).toBe(-total);
      for (const reference of paid.keys()) expect(balance(view, grantOf(job, reference))).toBe(0n);
    }),
  );
});

describe('earnings', () => {
  test('are operations x quality x growth, in escrow for the untrusted, nothing for the rejected and for outlaws', () => {
    const record = new Record();
    record.view.climate = { ...record.view.climate, judged: 20, liars: 2 };
    record.trust(2);
    record.outlaw(3);
    const states = [1, 2, 3, 4].map((who) => ({ who, agreed: who !== 4 }));
    record.accept(states, 1_000_000, 900);
    expect(growthOf(18, rules)).toBe(1200);
    expect(balance(record.view, escrowOf(address(1)))).toBe(1_080_000n);
    expect(balance(record.view, creditOf(address(2)))).toBe(1_080_000n);
    for (const who of [3, 4]) {
      expect(
        balance(record.view, escrowOf(address(who))) + balance(record.view, creditOf(address(who))),
      ).toBe(0n);
    }
  });

  test('are not paid twice: a unit accepted again pays only those that were not paid', () => {
    const record = new Record();
    const [first] = record.accept([{ who: 1, agreed: true }]);
    const row = record.view.replica(first as Hex);
    const later = replicaRow(assignment(99), unit, address(2), 'agreed');
    const earned = earn(record.view, work, [row as NonNullable<typeof row>, later], rules);
    expect(earned).toEqual([{ assignment: assignment(99), contributor: address(2), amount: 1_000_000n }]);
  });

  test('growth rises with participants, by steps, to its limit', () => {
    fc.assert(
      fc.property(fc.nat(10_000_000), fc.nat(10_000_000), (a, b) => {
        const [few, many] = a < b ? [a, b] : [b, a];
        expect(growthOf(few, rules)).toBeLessThanOrEqual(growthOf(many, rules));
        expect(growthOf(many, rules)).toBeLessThanOrEqual(rules.growthMax);
        expect(growthOf(few, rules)).toBeGreaterThanOrEqual(1000);
      }),
    );
    expect([1, 7, 8, 15, 16, 1e12].map((count) => growthOf(count, rules))).toEqual([
      1000, 1000, 1100, 1100, 1200, 2000,
    ]);
    expect(growthOf(1e12, { ...rules, growthFrom: 0 })).toBe(1000);
  });

  test('amounts beyond 2^53 are exact', () => {
    expect(priceOf(Number.MAX_SAFE_INTEGER, 1000, 2000)).toBe(2n * BigInt(Number.MAX_SAFE_INTEGER));
  });
});

describe('a liar', () => {
  test('that had earned trust gives back its false result and as much again', () => {
    const record = new Record();
    record.trust(1);
    const [, lie] = [record.accept([{ who: 1, agreed: true }]), record.accept([{ who: 1, agreed: true }])];
    expect(record.overturn(lie[0] as Hex)).toBe(2_000_000n);
    expect(balance(record.view, creditOf(address(1)))).toBe(0n);
    expect(record.overturn(lie[0] as Hex)).toBe(0n);
    expect(balance(record.view, forfeit)).toBe(2_000_000n);
  });

  test('without the fine is left with what its honest work earned; without clawback keeps all', () => {
    for (const [change, left] of [
      [{ fine: 0 }, 1_000_000n],
      [{ clawback: false }, 2_000_000n],
    ] as const) {
      const record = new Record({ ...rules, ...change });
      record.trust(1);
      const [, lie] = [record.accept([{ who: 1, agreed: true }]), record.accept([{ who: 1, agreed: true }])];
      record.overturn(lie[0] as Hex);
      expect(balance(record.view, creditOf(address(1)))).toBe(left);
    }
  });

  test('gives back what was released before from credit, and the rest from escrow first', () => {
    const record = new Record();
    record.trust(1);
    record.accept([{ who: 1, agreed: true }], 1_000);
    record.distrust(1);
    const [lie] = record.accept([{ who: 1, agreed: true }], 300);
    record.accept([{ who: 1, agreed: true }], 100);
    expect(record.overturn(lie as Hex)).toBe(600n);
    expect(balance(record.view, escrowOf(address(1)))).toBe(0n);
    expect(balance(record.view, creditOf(address(1)))).toBe(800n);
  });

  test('that had not loses its escrow; without escrow it would keep it', () => {
    for (const escrow of [true, false]) {
      const record = new Record({ ...rules, escrow });
      record.accept([{ who: 1, agreed: true }]);
      record.outlaw(1);
      expect(balance(record.view, creditOf(address(1)))).toBe(escrow ? 0n : 1_000_000n);
      expect(balance(record.view, forfeit)).toBe(escrow ? 1_000_000n : 0n);
    }
  });
});

describe('the bonus of a round', () => {
  test('is shared by what the training earned, once, and falls under a later clawback', () => {
    const record = new Record();
    const [one] = record.accept([{ who: 1, agreed: true }], 3_000);
    record.accept([{ who: 2, agreed: true }], 1_000);
    const gain = { job, round: 1, units: [unit], before: 2, after: 1.75 };
    expect(payBonus(record.view, gain, rules).map(({ amount }) => amount)).toEqual([375n, 125n]);
    expect(payBonus(record.view, gain, rules)).toEqual([]);
    expect(balance(record.view, bonusOf(job, 1))).toBe(0n);
    expect(record.view.replica(one as Hex)?.credit).toBe(3_375n);
    expect(record.overturn(one as Hex)).toBe(3_375n);
    expect(balance(record.view, escrowOf(address(1)))).toBe(0n);
  });

  test('is nothing when the loss rose or was no number, and has a limit', () => {
    for (const [before, after] of [
      [1, 1],
      [1, 2],
      [0, -1],
      [Number.NaN, 1],
      [1, Number.NaN],
      [Infinity, 1],
    ]) {
      expect(gainOf(before as number, after as number, rules)).toBe(0);
    }
    expect(gainOf(Number.MAX_VALUE, 1, rules)).toBe(rules.bonusMax);
    expect(gainOf(2, 1.99, rules)).toBe(5);
  });
});

/** The chain over transfers: any batches give one chain, a change of any column shows where, and the sealer's sums are the transfers'. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Hex } from 'viem';
import type { Transfer } from '../record/rows.ts';
import { creditOf, escrowOf, forfeit, issued } from './accounts.ts';
import {
  balanceChanges,
  brokenAt,
  firstTip,
  sealTransfers,
  type SealedTransfer,
  shareChanges,
} from './chain.ts';

const unit = 'bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm';
const job = 'bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy';
const address = (n: number): Hex => `0x${String(n).padStart(40, '0')}`;
const account = fc.oneof(
  fc.constantFrom(issued, forfeit),
  fc.nat(3).map((n) => creditOf(address(n))),
  fc.nat(3).map((n) => escrowOf(address(n))),
);
const transfer = fc.record({
  kind: fc.constantFrom<Transfer['kind']>('earned', 'released', 'voided', 'clawback', 'fine', 'bonus'),
  debit: account,
  credit: account,
  amount: fc.bigInt(1n, 2n ** 80n),
  job: fc.constantFrom(job, null),
  unit: fc.constantFrom(unit, null),
  assignment: fc.constantFrom(address(9), null),
  reason: fc.string({ maxLength: 20 }),
  at: fc.nat(),
});
const ledger = fc
  .array(transfer, { maxLength: 20 })
  .map((rows): Transfer[] => rows.map((row, i) => ({ ...row, seq: i + 1 })));

const changes: { [K in keyof SealedTransfer]: (of: SealedTransfer) => SealedTransfer[K] } = {
  seq: (of) => of.seq + 1,
  kind: () => 'funded',
  debit: (of) => `${of.debit}x`,
  credit: (of) => `${of.credit}x`,
  amount: (of) => of.amount + 1n,
  job: (of) => (of.job === null ? job : null),
  unit: (of) => (of.unit === null ? unit : null),
  assignment: (of) => (of.assignment === null ? address(8) : null),
  reason: (of) => `${of.reason}!`,
  at: (of) => of.at + 1,
  hash: (of) => `0x${of.hash.slice(2).split('').reverse().join('')}`,
};

test('sealing in any batches gives one chain, which holds from any tip of it', () => {
  fc.assert(
    fc.property(ledger, fc.nat(20), (rows, cut) => {
      const whole = sealTransfers(firstTip, rows);
      const head = sealTransfers(firstTip, rows.slice(0, cut));
      const tail = sealTransfers(head.at(-1) ?? firstTip, rows.slice(cut));
      expect([...head, ...tail]).toEqual(whole);
      expect(brokenAt(whole)).toBeNull();
      expect(brokenAt(tail, head.at(-1))).toBeNull();
    }),
  );
});

test('a change of any column, a transfer dropped or two exchanged show where', () => {
  fc.assert(
    fc.property(ledger, fc.nat(19), fc.constantFrom(...Object.keys(changes)), (rows, at, column) => {
      const whole = sealTransfers(firstTip, rows);
      const found = whole[at];
      if (!found) return;
      const key = column as keyof SealedTransfer;
      const forged: SealedTransfer = { ...found, [key]: changes[key](found) };
      const expected = key === 'seq' ? at + 2 : at + 1;
      expect(brokenAt(whole.with(at, forged))).toBe(expected);
      if (at + 1 < whole.length) {
        expect(brokenAt(whole.toSpliced(at, 1))).toBe(at + 2);
        expect(brokenAt(whole.toSpliced(at, 2, whole[at + 1] as SealedTransfer, found))).toBe(at + 2);
      }
    }),
    { numRuns: 300 },
  );
});

test('a gap is refused', () => {
  fc.assert(
    fc.property(transfer, fc.nat(), (row, seq) => {
      fc.pre(seq !== 1);
      expect(() => sealTransfers(firstTip, [{ ...row, seq }])).toThrow(RangeError);
    }),
  );
});

test('batches change balances and shares by as much as the whole', () => {
  fc.assert(
    fc.property(ledger, fc.nat(20), (rows, cut) => {
      const sum = (parts: [string, bigint][]) => {
        const sums = new Map<string, bigint>();
        for (const [key, amount] of parts) sums.set(key, (sums.get(key) ?? 0n) + amount);
        return new Map([...sums].filter(([, amount]) => amount !== 0n).sort());
      };
      const shares = (of: Transfer[]) =>
        shareChanges(of).map((s): [string, bigint] => [`${s.job} ${s.contributor}`, s.amount]);
      const [head, tail] = [rows.slice(0, cut), rows.slice(cut)];
      expect(sum([...balanceChanges(head), ...balanceChanges(tail)])).toEqual(sum([...balanceChanges(rows)]));
      expect(sum([...shares(head), ...shares(tail)])).toEqual(sum(shares(rows)));
      expect([...balanceChanges(rows).values()].reduce((all, amount) => all + amount, 0n)).toBe(0n);
    }),
  );
});

test('a share is what was earned of a job, less what was taken back of it; fines and releases leave it as it is', () => {
  const [escrow, credit] = [escrowOf(address(1)), creditOf(address(1))];
  const of = (kind: Transfer['kind'], debit: string, to: string, amount: bigint) => ({
    ...{ kind, debit, credit: to, amount },
    job: kind === 'released' ? null : job,
  });
  const rows = [
    of('earned', issued, escrow, 100n),
    of('released', escrow, credit, 100n),
    of('bonus', issued, credit, 10n),
    of('clawback', credit, forfeit, 40n),
    of('fine', credit, forfeit, 40n),
  ];
  expect(shareChanges(rows)).toEqual([{ job, contributor: address(1), amount: 70n }]);
});

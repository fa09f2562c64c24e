/** The ledger: conservation, and a chain that shows every change. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Hex } from 'viem';
import { balances, creditsFor, type Entry, firstBreak, genesis, sealEntries } from './ledger.ts';

const unit = 'bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm';
const address = (n: number): Hex => `0x${String(n).padStart(40, '0')}`;
const states = ['agreed', 'rejected', 'void', 'withheld', 'expired'];

const entriesArbitrary = fc
  .array(fc.record({ amount: fc.nat(2 ** 40), who: fc.nat(5) }), { maxLength: 30 })
  .map((posts): Entry[] =>
    posts.map(({ amount, who }, i) => ({
      ...{ seq: i + 1, unit, assignment: address(i), contributor: address(who) },
      ...{ amount, postedAt: 1_000 + i },
    })),
  );

test('conservation: what is credited is the operations of a unit times its agreed replicas, and nobody else is paid', () => {
  const replica = fc.record({ who: fc.nat(5), state: fc.constantFrom(...states) });
  const settled = fc.record({ operations: fc.nat(2 ** 50), replicas: fc.array(replica, { maxLength: 9 }) });
  fc.assert(
    fc.property(fc.array(settled, { maxLength: 20 }), (units) => {
      const credits = units.flatMap(({ operations, replicas }) =>
        creditsFor(
          unit,
          operations,
          replicas.map(({ who, state }, i) => ({ assignment: address(i), contributor: address(who), state })),
        ),
      );
      const owed = units.reduce(
        (sum, u) =>
          sum + BigInt(u.operations) * BigInt(u.replicas.filter((r) => r.state === 'agreed').length),
        0n,
      );
      expect([...balances(credits).values()].reduce((sum, balance) => sum + balance, 0n)).toBe(owed);
    }),
  );
});

test('sealing in any batches gives one chain, and any change of it shows where', () => {
  fc.assert(
    fc.property(entriesArbitrary, fc.nat(30), fc.nat(29), (entries, cut, change) => {
      const whole = sealEntries({ seq: 0, hash: genesis }, entries);
      const head = sealEntries({ seq: 0, hash: genesis }, entries.slice(0, cut));
      const tip = head.at(-1) ?? { seq: 0, hash: genesis };
      expect([...head, ...sealEntries(tip, entries.slice(cut))]).toEqual(whole);
      expect(firstBreak(whole)).toBeNull();
      if (change >= whole.length) return;
      const forged = whole.map((entry, i) => (i === change ? { ...entry, amount: entry.amount + 1 } : entry));
      expect(firstBreak(forged)).toBe(change + 1);
      const dropped = whole.toSpliced(change, 1);
      if (change < whole.length - 1) expect(firstBreak(dropped)).toBe(change + 2);
    }),
  );
});

test('a gap is refused', () => {
  const entry = { seq: 2, unit, assignment: address(1), contributor: address(1), amount: 1, postedAt: 0 };
  expect(() => sealEntries({ seq: 0, hash: genesis }, [entry])).toThrow(RangeError);
});

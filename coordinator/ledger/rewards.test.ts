/** Rewards as a root: anybody computes the same one from the chain, at any tip, and each reward proves itself. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Hex } from 'viem';
import { rewardLeaf, verifyProof } from '#protocol/merkle.ts';
import type { Transfer } from '../record/rows.ts';
import { creditOf, escrowOf, forfeit, issued } from './accounts.ts';
import { firstTip, sealTransfers } from './chain.ts';
import { rewardsBefore, rewardsOf, rewardTree } from './rewards.ts';

const address = (n: number): Hex => `0x${String(n).padStart(40, '0')}`;
const noPause = async () => undefined;

/** A ledger as it could be: nobody loses more than it has. */
const history = fc
  .array(fc.record({ who: fc.nat(5), kind: fc.nat(3), amount: fc.bigInt(1n, 2n ** 70n) }), { maxLength: 40 })
  .map((steps) => {
    const credit = new Map<number, bigint>();
    const transfers: Transfer[] = [];
    for (const { who, kind, amount } of steps) {
      const has = credit.get(who) ?? 0n;
      const loss = amount < has ? amount : has;
      const [debit, to, change] = (
        [
          [issued, creditOf(address(who)), amount],
          [issued, escrowOf(address(who)), 0n],
          [escrowOf(address(who)), creditOf(address(who)), amount],
          [creditOf(address(who)), forfeit, -loss],
        ] as const
      )[kind] as readonly [string, string, bigint];
      credit.set(who, has + change);
      const moved = kind === 3 ? loss : amount;
      if (moved === 0n) continue;
      transfers.push({
        ...{
          seq: transfers.length + 1,
          kind: 'earned',
          debit,
          credit: to,
          amount: moved,
          job: null,
          unit: null,
        },
        ...{ assignment: null, reason: '', at: 0 },
      });
    }
    return { credit, sealed: sealTransfers(firstTip, transfers) };
  });

const sorted = (rewards: { contributor: Hex; amount: bigint }[]) =>
  rewards.toSorted((a, b) => (a.contributor < b.contributor ? -1 : 1));

test('the chain amounts to what everybody has, and every earlier tip to what everybody had', () => {
  fc.assert(
    fc.property(history, fc.nat(40), ({ credit, sealed }, at) => {
      const now = rewardsOf(sealed);
      const expected = [...credit].filter(([, amount]) => amount > 0n);
      expect(sorted(now)).toEqual(
        sorted(expected.map(([who, amount]) => ({ contributor: address(who), amount }))),
      );
      expect(sorted(rewardsBefore(now, sealed.slice(at)))).toEqual(sorted(rewardsOf(sealed.slice(0, at))));
    }),
  );
});

test('every reward proves itself against the root, and no other amount does', async () => {
  await fc.assert(
    fc.asyncProperty(history, async ({ sealed }) => {
      const rewards = rewardsOf(sealed);
      const tree = await rewardTree(rewards, noPause);
      expect(tree === null).toBe(rewards.length === 0);
      if (!tree) return;
      expect(tree.contributors).toBe(rewards.length);
      expect(tree.total).toBe(rewards.reduce((sum, { amount }) => sum + amount, 0n));
      for (const { contributor, amount } of rewards) {
        const siblings = tree.proof(contributor)?.siblings ?? [];
        expect(verifyProof(tree.root, rewardLeaf(contributor, amount), siblings)).toBe(true);
        expect(verifyProof(tree.root, rewardLeaf(contributor, amount + 1n), siblings)).toBe(false);
      }
      expect(tree.proof(address(99))).toBeNull();
    }),
    { numRuns: 30 },
  );
});

test('a large tree gives others their turn', async () => {
  let pauses = 0;
  const rewards = Array.from({ length: 2_000 }, (_, i) => ({ contributor: address(i), amount: 1n }));
  await rewardTree(rewards, async () => void (pauses += 1));
  expect(pauses).toBeGreaterThan(10);
});

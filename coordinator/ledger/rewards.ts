/**
 * Everybody's rewards as one Merkle root: a leaf is an address and all it has ever been posted, less what was taken back. A contributor proves
 * its own with a few siblings, and what has been claimed before is the claim's business.
 *
 * A root belongs to a tip of the ledger's chain, so it can be computed anew from the transfers up to there.
 */
import { merkleTreeInSlices, rewardLeaf } from '#protocol/merkle.ts';
import type { Hex } from 'viem';
import { holderOf, isCredit } from './accounts.ts';
import { balanceChanges, type SealedTransfer } from './chain.ts';

export interface Reward {
  contributor: Hex;
  amount: bigint;
}

export interface RewardTree {
  root: Hex;
  contributors: number;
  total: bigint;
  /** Null for one that has no reward. */
  proof(contributor: Hex): { amount: bigint; siblings: Hex[] } | null;
}

/** Leaves hashed between two pauses. */
const sliceLeaves = 256;

/** Null where nobody has a reward. `pause` lets others have their turn: a hundred thousand leaves take seconds. */
export async function rewardTree(
  rewards: readonly Reward[],
  pause: () => Promise<void>,
): Promise<RewardTree | null> {
  const amounts = new Map(
    rewards.filter(({ amount }) => amount > 0n).map((of) => [of.contributor, of.amount]),
  );
  if (amounts.size === 0) return null;
  const leaves: Hex[] = [];
  for (const [contributor, amount] of amounts) {
    leaves.push(rewardLeaf(contributor, amount));
    if (leaves.length % sliceLeaves === 0) await pause();
  }
  const tree = await merkleTreeInSlices(leaves, pause);
  return {
    root: tree.root,
    contributors: amounts.size,
    total: [...amounts.values()].reduce((sum, amount) => sum + amount, 0n),
    proof(contributor) {
      const amount = amounts.get(contributor);
      return amount === undefined ? null : { amount, siblings: tree.proof(rewardLeaf(contributor, amount)) };
    },
  };
}

/**
 * The rewards as they were at an earlier tip: those of now, less what the transfers since have changed. The transfers may be taken away in parts, in any
 * order; an amount may be below zero in between.
 */
export function rewardsBefore(now: readonly Reward[], since: readonly SealedTransfer[]): Reward[] {
  const amounts = new Map(now.map(({ contributor, amount }) => [contributor, amount]));
  for (const [account, change] of balanceChanges(since)) {
    const contributor = isCredit(account) ? holderOf(account) : null;
    if (contributor) amounts.set(contributor, (amounts.get(contributor) ?? 0n) - change);
  }
  return [...amounts]
    .map(([contributor, amount]) => ({ contributor, amount }))
    .filter(({ amount }) => amount !== 0n);
}

/** The rewards that a chain amounts to, from its first transfer on: what a client computes by itself. */
export function rewardsOf(transfers: readonly SealedTransfer[]): Reward[] {
  const nobody: Reward[] = [];
  const undone = transfers.map((transfer) => ({
    ...transfer,
    debit: transfer.credit,
    credit: transfer.debit,
  }));
  return rewardsBefore(nobody, undone);
}

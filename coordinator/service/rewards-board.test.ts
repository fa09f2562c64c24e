/** Rewards at the close of rounds: roots follow the ledger, and proofs hold against the last root whatever has been posted since. */
import { expect, test } from 'vitest';
import type { Hex } from 'viem';
import { rewardLeaf, verifyProof } from '#protocol/merkle.ts';
import { creditOf, escrowOf, forfeit, issued } from '../ledger/accounts.ts';
import { firstTip, sealTransfers, type SealedTransfer } from '../ledger/chain.ts';
import { rewardsOf } from '../ledger/rewards.ts';
import type { Transfer } from '../record/rows.ts';
import { MemoryShelf } from '../storage/shelf.ts';
import { RewardsBoard, type RewardsPorts } from './rewards-board.ts';

const address = (n: number): Hex => `0x${String(n).padStart(40, '0')}`;
const [ann, bob] = [address(1), address(2)];

class Ledger {
  readonly open: Transfer[] = [];
  readonly sealed: SealedTransfer[] = [];
  readonly shelf = new MemoryShelf();

  post(debit: string, credit: string, amount: bigint): void {
    const seq = this.sealed.length + this.open.length + 1;
    const rest = { job: null, unit: null, assignment: null, reason: '', at: 0 };
    this.open.push({ seq, kind: 'earned', debit, credit, amount, ...rest });
  }

  ports(): RewardsPorts {
    const storage = {
      shelf: this.shelf,
      seal: async (most: number) => {
        const part = this.open.splice(0, most);
        this.sealed.push(...sealTransfers(this.sealed.at(-1) ?? firstTip, part));
        return part.length;
      },
      ledger: {
        rewards: async () => ({ tip: this.sealed.at(-1) ?? firstTip, rewards: rewardsOf(this.sealed) }),
        transfersAfter: async (seq: number, most: number) => this.sealed.slice(seq, seq + most),
      },
    };
    return { storage, clock: { now: () => 7 }, pageMax: 2 };
  }
}

async function closed(board: RewardsBoard) {
  const made = await board.make();
  if (made) await board.keep(made);
  return made;
}

async function provenAmount(board: RewardsBoard, contributor: Hex): Promise<string> {
  const { root, siblings, amount } = await board.proof(contributor);
  expect(verifyProof(root, rewardLeaf(contributor, BigInt(amount)), siblings)).toBe(true);
  return amount;
}

test('a root is made of all that is sealed, and of nothing while nobody has a reward', async () => {
  const ledger = new Ledger();
  const board = new RewardsBoard(ledger.ports());
  ledger.post(issued, escrowOf(ann), 5n);
  expect(await closed(board)).toBeNull();
  expect(await board.last()).toBeNull();
  await expect(board.proof(ann)).rejects.toMatchObject({ code: 'not_found' });
  for (let i = 0; i < 2500; i++) ledger.post(issued, creditOf(ann), 2n);
  ledger.post(issued, creditOf(bob), 1n);
  const made = await closed(board);
  expect(ledger.open).toEqual([]);
  expect(made).toMatchObject({ contributors: 2, total: '5001', tip: { seq: 2502 } });
  expect(await board.last()).toEqual(made);
  expect([await provenAmount(board, ann), await provenAmount(board, bob)]).toEqual(['5000', '1']);
});

test('another process, and one that was started anew, prove against the same root, page by page back to it', async () => {
  const ledger = new Ledger();
  ledger.post(issued, creditOf(ann), 2n);
  const made = await closed(new RewardsBoard(ledger.ports()));
  // Taken away oldest first, ann's reward is below zero in between.
  for (const [debit, credit, amount] of [
    [issued, creditOf(ann), 10n],
    [issued, creditOf(bob), 3n],
    [creditOf(ann), forfeit, 7n],
    [creditOf(bob), forfeit, 3n],
    [issued, creditOf(bob), 9n],
  ] as const) {
    ledger.post(debit, credit, amount);
  }
  await ledger.ports().storage.seal(100);
  const other = new RewardsBoard(ledger.ports());
  expect((await other.proof(ann)).root).toBe(made?.root);
  expect(await provenAmount(other, ann)).toBe('2');
  await expect(other.proof(bob)).rejects.toMatchObject({ code: 'not_found' });
  await closed(other);
  expect([await provenAmount(other, ann), await provenAmount(other, bob)]).toEqual(['5', '9']);
});

test('a ledger that does not lead back to the root is no proof, and is looked at again', async () => {
  const ledger = new Ledger();
  ledger.post(issued, creditOf(ann), 2n);
  await closed(new RewardsBoard(ledger.ports()));
  const honest = ledger.sealed[0] as SealedTransfer;
  ledger.sealed[0] = { ...honest, amount: 3n };
  const board = new RewardsBoard(ledger.ports());
  await expect(board.proof(ann)).rejects.toMatchObject({ code: 'internal' });
  ledger.sealed[0] = honest;
  expect(await provenAmount(board, ann)).toBe('2');
});

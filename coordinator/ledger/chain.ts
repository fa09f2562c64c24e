/**
 * The chain over the ledger's transfers: what the sealer computes, in batches, outside of the hot transactions, and what anybody checks.
 *
 * The hash of a transfer covers every column of it and the hash before; amounts go in as decimal text, since they outgrow 64 bits. The sealer
 * also adds up what each batch changes: the sealed balance of every account, and each contributor's share of a job.
 */
import { hash } from 'node:crypto';
import { encodeCanonical } from '#protocol/codec/cbor.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import type { Transfer } from '../record/rows.ts';
import { holderOf } from './accounts.ts';

export interface Tip {
  seq: number;
  hash: Hex;
}

export interface SealedTransfer extends Transfer {
  hash: Hex;
}

/** Before the first transfer. */
export const firstTip: Tip = { seq: 0, hash: `0x${'00'.repeat(32)}` };

/** sha256 over the canonical bytes of the previous hash and every column. */
export function transferHash(previous: Hex, transfer: Transfer): Hex {
  const { seq, kind, debit, credit, amount, job, unit, assignment, reason, at } = transfer;
  const columns = { seq, kind, debit, credit, amount: String(amount), job, unit, assignment, reason, at };
  return `0x${hash('sha256', encodeCanonical({ previous, ...columns }), 'hex')}`;
}

/** Chains transfers, which must follow the tip without a gap. Throws RangeError otherwise. */
export function sealTransfers(tip: Tip, transfers: readonly Transfer[]): SealedTransfer[] {
  let { seq, hash: last } = tip;
  return transfers.map((transfer) => {
    if (transfer.seq !== seq + 1) throw new RangeError(`Transfer ${transfer.seq} does not follow ${seq}.`);
    seq = transfer.seq;
    last = transferHash(last, transfer);
    return { ...transfer, hash: last };
  });
}

/** The sequence number at which the chain does not follow from the tip; null when it holds. */
export function brokenAt(transfers: readonly SealedTransfer[], tip: Tip = firstTip): number | null {
  let previous = tip;
  for (const transfer of transfers) {
    const follows =
      transfer.seq === previous.seq + 1 && transfer.hash === transferHash(previous.hash, transfer);
    if (!follows) return transfer.seq;
    previous = transfer;
  }
  return null;
}

/** What transfers change of every account's balance; the sum is zero. */
export function balanceChanges(
  transfers: readonly Pick<Transfer, 'debit' | 'credit' | 'amount'>[],
): Map<string, bigint> {
  const changes = new Map<string, bigint>();
  const add = (id: string, amount: bigint) => changes.set(id, (changes.get(id) ?? 0n) + amount);
  for (const { debit, credit, amount } of transfers) {
    add(debit, -amount);
    add(credit, amount);
  }
  return changes;
}

export interface ShareChange {
  job: Cid;
  contributor: Hex;
  amount: bigint;
}

/** What transfers change of the shares of models: earnings and bonuses of a job, less what of them was voided or taken back; fines do not count. */
export function shareChanges(
  transfers: readonly Pick<Transfer, 'kind' | 'job' | 'debit' | 'credit' | 'amount'>[],
): ShareChange[] {
  const changes = new Map<string, ShareChange>();
  for (const { kind, job, debit, credit, amount } of transfers) {
    if (job === null || kind === 'fine') continue;
    for (const [account, change] of [
      [debit, -amount],
      [credit, amount],
    ] as const) {
      const contributor = holderOf(account);
      if (!contributor) continue;
      const key = `${job} ${contributor}`;
      const before = changes.get(key)?.amount ?? 0n;
      changes.set(key, { job, contributor, amount: before + change });
    }
  }
  return [...changes.values()].filter((change) => change.amount !== 0n);
}

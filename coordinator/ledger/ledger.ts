/**
 * Credit, append-only: one entry for every replica that agreed, worth the exact operations of its unit.
 *
 * Entries are posted inside the transaction that accepts a unit and hash-chained later, in batches, by a sealer: the chain proves that nothing
 * was changed or dropped, and hashing stays out of the hot path. Amounts are integers; sums are bigints, since they outgrow 2^53.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { encodeCanonical } from '#protocol/codec/cbor.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { toHex } from '#protocol/messages/contribution.ts';
import type { Hex } from 'viem';

export interface Credit {
  unit: Cid;
  assignment: Hex;
  contributor: Hex;
  /** Exact operations. */
  amount: number;
}

export interface Entry extends Credit {
  /** From 1, without gaps. */
  seq: number;
  postedAt: number;
}

export interface SealedEntry extends Entry {
  hash: Hex;
}

/** The chain's value before its first entry. */
export const genesis: Hex = `0x${'00'.repeat(32)}`;

/** One credit for every replica that agreed; the others get nothing. */
export function creditsFor(
  unit: Cid,
  operations: number,
  replicas: readonly { assignment: Hex; contributor: Hex; state: string }[],
): Credit[] {
  return replicas
    .filter((replica) => replica.state === 'agreed')
    .map(({ assignment, contributor }) => ({ unit, assignment, contributor, amount: operations }));
}

/** sha256 over the canonical bytes of the previous hash and the entry. */
export function entryHash(previous: Hex, entry: Entry): Hex {
  const { seq, unit, assignment, contributor, amount, postedAt } = entry;
  return toHex(sha256(encodeCanonical({ previous, seq, unit, assignment, contributor, amount, postedAt })));
}

/** Chains entries, which must follow `tip` without a gap. Throws RangeError otherwise. */
export function sealEntries(tip: { seq: number; hash: Hex }, entries: readonly Entry[]): SealedEntry[] {
  let { seq, hash } = tip;
  return entries.map((entry) => {
    if (entry.seq !== seq + 1) throw new RangeError(`Entry ${entry.seq} does not follow ${seq}.`);
    seq = entry.seq;
    hash = entryHash(hash, entry);
    return { ...entry, hash };
  });
}

/** The sequence number of the first entry that breaks the chain; null when it holds. */
export function firstBreak(entries: readonly SealedEntry[]): number | null {
  let previous = { seq: 0, hash: genesis };
  for (const entry of entries) {
    if (entry.seq !== previous.seq + 1 || entry.hash !== entryHash(previous.hash, entry)) return entry.seq;
    previous = entry;
  }
  return null;
}

export function balances(entries: readonly Credit[]): Map<Hex, bigint> {
  const sums = new Map<Hex, bigint>();
  for (const { contributor, amount } of entries) {
    sums.set(contributor, (sums.get(contributor) ?? 0n) + BigInt(amount));
  }
  return sums;
}

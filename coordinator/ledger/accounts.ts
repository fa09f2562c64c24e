/**
 * The accounts of the ledger, by name. Only `issued`, where credit comes from, may be below zero; all balances together are always zero.
 *
 *   issued            what the network has given out, as a debt
 *   pool:<job>        what a job has been given to spend; a job without a pool is paid for by the network, from `issued`
 *   grant:<job>:<ref>  passes a payment into a pool on; empty afterwards, and a payment whose account exists has been made
 *   escrow:<address>  earned by a contributor that has yet to earn trust
 *   credit:<address>  posted: what a contributor has
 *   bonus:<job>:<r>   passes the bonus of a round on; empty afterwards, and a round whose account exists has had its bonus
 *   forfeit           what was voided, clawed back and fined
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';

export const issued = 'issued';
export const forfeit = 'forfeit';

export const poolOf = (job: Cid): string => `pool:${job}`;
export const grantOf = (job: Cid, reference: string): string => `grant:${job}:${reference}`;
export const escrowOf = (contributor: Hex): string => `escrow:${contributor}`;
export const creditOf = (contributor: Hex): string => `credit:${contributor}`;
export const bonusOf = (job: Cid, round: number): string => `bonus:${job}:${round}`;

/** The contributor whose escrow or credit an account holds; null for every other account. */
export function holderOf(account: string): Hex | null {
  const match = /^(?:escrow|credit):(0x[0-9a-f]{40})$/.exec(account);
  return match ? (match[1] as Hex) : null;
}

export const isCredit = (account: string): boolean => account.startsWith('credit:');
export const mayOwe = (account: string): boolean => account === issued;

/**
 * What the record posts to the ledger, over a `View`: earnings on acceptance, release when trust is earned, forfeits of liars, clawback of
 * what was proven false, the bonus of a round.
 *
 * These functions post transfers and say what moved; the replica rows, whose `credit` follows, are put by the caller. None of them overdraws
 * an account, whatever order they are called in, and what has been earned or taken once is not earned or taken again.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import type { NewTransfer, ReplicaRow, UnitRow } from '../record/rows.ts';
import type { Climate, Operation, View } from '../record/view.ts';
import { creditOf, escrowOf, forfeit, grantOf, issued, poolOf } from './accounts.ts';
import { growthOf, type LedgerRules, permille, priceOf } from './rules.ts';

export interface Earned {
  assignment: Hex;
  contributor: Hex;
  amount: bigint;
}

/** Of a unit, what its pay depends on. */
export type Work = Pick<UnitRow, 'cid' | 'operations' | 'quality'> & { job: Cid };

/** Of a replica, what its pay depends on. */
export type Paid = Pick<ReplicaRow, 'assignment' | 'contributor' | 'unit' | 'state' | 'credit'>;

/** A payment into a job's pool; the same reference of a job is the same payment. */
export interface Funding {
  job: Cid;
  amount: bigint;
  reference: string;
}

/** Gives a job something to spend, once. Once a job has a pool, it is all that its work is paid from. False: that was done before. */
export function fund(view: View, { job, amount, reference }: Funding): boolean {
  const grant = grantOf(job, reference);
  if (amount <= 0n || view.account(grant) !== null) return false;
  const reason = `funded: ${reference}`;
  move(view, { kind: 'funded', debit: issued, credit: grant, amount, job, reason });
  move(view, { kind: 'funded', debit: grant, credit: poolOf(job), amount, job, reason });
  return true;
}

/** The same as an operation of the record. */
export function fundOperation(funding: Funding): Operation<boolean> {
  const accounts = [grantOf(funding.job, funding.reference), poolOf(funding.job), issued];
  return { hints: { accounts }, run: (view) => fund(view, funding) };
}

/**
 * Pays the replicas that agreed and have not been paid: votes when the unit is accepted, rechecks when they confirm it, those that were right
 * when it is overturned. Outlaws get nothing. A pool that runs dry pays what is left, in the order of the replicas.
 */
export function earn(view: View, work: Work, replicas: readonly Paid[], rules: LedgerRules): Earned[] {
  const due = replicas.filter((replica) => replica.state === 'agreed' && replica.credit === 0n);
  if (due.length === 0) return [];
  const growth = growthOf(participants(view.climate), rules);
  const price = priceOf(work.operations, work.quality, growth);
  const reason = `${work.operations} operations, quality ${work.quality}, growth ${growth}`;
  const purse = purseOf(view, work.job);
  return due.map(({ assignment, contributor }) => {
    const account = accountFor(view, contributor, rules);
    const amount = account ? purse.take(price) : 0n;
    const { cid: unit, job } = work;
    if (account) {
      move(view, { kind: 'earned', debit: purse.id, credit: account, amount, job, unit, assignment, reason });
    }
    return { assignment, contributor, amount };
  });
}

/** Trust is earned: what was in escrow is the contributor's. Call it once `trustedAt` is set. */
export function release(view: View, contributor: Hex, reason: string): bigint {
  const amount = balanceOf(view, escrowOf(contributor));
  move(view, {
    ...{ kind: 'released', debit: escrowOf(contributor), credit: creditOf(contributor) },
    ...{ amount, reason },
  });
  return amount;
}

/** A proven liar's escrow is void, whatever it was for. Claw back what was false first, so that nothing is taken twice. */
export function voidEscrow(view: View, contributor: Hex, reason: string): bigint {
  const amount = balanceOf(view, escrowOf(contributor));
  move(view, { kind: 'voided', debit: escrowOf(contributor), credit: forfeit, amount, reason });
  return amount;
}

/**
 * Takes back the credit of a result that was proven false, and the fine, from what its contributor has, in escrow first. The replica has to
 * be put with a `credit` of 0 afterwards.
 */
export function clawBack(view: View, replica: Paid, job: Cid, reason: string, rules: LedgerRules): bigint {
  if (!rules.clawback || replica.credit === 0n) return 0n;
  const { contributor, unit, assignment } = replica;
  const about = { job, unit, assignment, reason };
  const [escrow, credit] = [escrowOf(contributor), creditOf(contributor)];
  const left = new Map([escrow, credit].map((id) => [id, balanceOf(view, id)]));
  const take = (kind: NewTransfer['kind'], debit: string, wanted: bigint): bigint => {
    const amount = least(wanted, left.get(debit) as bigint);
    left.set(debit, (left.get(debit) as bigint) - amount);
    move(view, { ...about, kind, debit, credit: forfeit, amount });
    return amount;
  };
  const voided = take('voided', escrow, replica.credit);
  const clawed = take('clawback', credit, replica.credit - voided);
  const fine = permille(replica.credit, rules.fine);
  const fromEscrow = take('fine', escrow, fine);
  return voided + clawed + fromEscrow + take('fine', credit, fine - fromEscrow);
}

/** Where a contributor's earnings go; null for an outlaw. */
export function accountFor(view: View, contributor: Hex, rules: LedgerRules): string | null {
  const row = view.contributor(contributor);
  if (row && row.outlawedAt !== null) return null;
  const trusted = !rules.escrow || (row !== null && row.trustedAt !== null);
  return trusted ? creditOf(contributor) : escrowOf(contributor);
}

/** What a job's work is paid from, and how much of a wish it can meet. */
export function purseOf(view: View, job: Cid): { id: string; take(wanted: bigint): bigint } {
  const pool = view.account(poolOf(job));
  if (!pool) return { id: issued, take: (wanted) => wanted };
  let left = pool.balance;
  return {
    id: pool.id,
    take(wanted) {
      const amount = least(wanted, left > 0n ? left : 0n);
      left -= amount;
      return amount;
    },
  };
}

/** Those that have done work and not been found lying; connections alone are not participation. */
export function participants({ judged, liars }: Climate): number {
  return Math.max(0, judged - liars);
}

/** Posts a transfer, unless it moves nothing. */
export function move(
  view: View,
  transfer: Pick<NewTransfer, 'kind' | 'debit' | 'credit' | 'amount' | 'reason'> & Partial<NewTransfer>,
): void {
  if (transfer.amount > 0n) view.post({ job: null, unit: null, assignment: null, ...transfer });
}

function balanceOf(view: View, id: string): bigint {
  return view.account(id)?.balance ?? 0n;
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

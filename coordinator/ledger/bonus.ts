/**
 * The bonus of a round: the more its training lowered the held-out loss, the more of what it earned is paid again, up to a limit, and to the
 * same replicas in proportion. Loss is measured of the round's checkpoint as a whole, so the lanes of a round share its gain.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Operation, View } from '../record/view.ts';
import { bonusOf, poolOf } from './accounts.ts';
import { accountFor, type Earned, move, purseOf } from './postings.ts';
import { type LedgerRules, permille } from './rules.ts';

export interface RoundGain {
  job: Cid;
  round: number;
  /** The round's training units. */
  units: readonly Cid[];
  /** Held-out loss before and after the round. */
  before: number;
  after: number;
}

/** How much of the loss is gone, in permille, from 0 to the most a bonus is. */
export function gainOf(before: number, after: number, rules: LedgerRules): number {
  if (!Number.isFinite(before) || !Number.isFinite(after) || before <= 0 || after >= before) return 0;
  return Math.min(rules.bonusMax, Math.floor((1000 * (before - after)) / before));
}

/**
 * Pays a round's bonus, once: the account it passes through exists from then on. The replicas that get a share are put with it in their
 * `credit`, so that a later clawback takes it too.
 */
export function payBonus(view: View, gain: RoundGain, rules: LedgerRules): Earned[] {
  const { job, round, before, after } = gain;
  const part = gainOf(before, after, rules);
  const bonus = bonusOf(job, round);
  if (part === 0 || view.account(bonus) !== null) return [];
  const earners = gain.units
    .flatMap((unit) => view.replicas(unit))
    .filter((replica) => replica.state === 'agreed' && replica.credit > 0n)
    .map((replica) => ({ replica, account: accountFor(view, replica.contributor, rules) }))
    .filter(({ account }) => account !== null);
  const earned = earners.reduce((sum, { replica }) => sum + replica.credit, 0n);
  const purse = purseOf(view, job);
  const whole = purse.take(permille(earned, part));
  if (whole === 0n) return [];
  const shares = earners.map(({ replica }) => (whole * replica.credit) / earned);
  const amount = shares.reduce((sum, share) => sum + share, 0n);
  const reason = `round ${round} took ${part} permille off the loss`;
  move(view, { kind: 'bonus', debit: purse.id, credit: bonus, amount, job, reason });
  return earners.map(({ replica, account }, i) => {
    const { assignment, contributor, unit } = replica;
    const share = shares[i] as bigint;
    const credit = account as string;
    move(view, { kind: 'bonus', debit: bonus, credit, amount: share, job, unit, assignment, reason });
    view.put('replicas', { ...replica, credit: replica.credit + share });
    return { assignment, contributor, amount: share };
  });
}

/** The same as an operation of the record. */
export function bonusOperation(gain: RoundGain, rules: LedgerRules): Operation<Earned[]> {
  const accounts = [bonusOf(gain.job, gain.round), poolOf(gain.job)];
  return { hints: { units: gain.units, accounts }, run: (view) => payBonus(view, gain, rules) };
}

/**
 * What work is worth, as rules with their reasons. All factors are integers in permille, so that every process, and every auditor, comes to
 * the same amount.
 */

export interface LedgerRules {
  /** Growth begins beyond this many participants; up to it, credit is the operations done. */
  growthFrom: number;
  /** What every doubling of the participants adds, in permille. */
  growthPerDoubling: number;
  /** The most that growth makes of an amount, in permille. */
  growthMax: number;
  /** Credit goes into escrow until its contributor has earned trust. */
  escrow: boolean;
  /** Credit of results proven false later is taken back. */
  clawback: boolean;
  /** Taken on top of the clawback, in permille of the false result's credit. */
  fine: number;
  /** The most that the bonus of a round is, in permille of what its training earned. */
  bonusMax: number;
}

export const defaultLedgerRules: LedgerRules = {
  // A handful of contributors is a test or a beginning, not growth.
  growthFrom: 4,
  // Ten percent for twice the participants: worth inviting others for, not worth inventing them.
  growthPerDoubling: 100,
  growthMax: 2000,
  escrow: true,
  clawback: true,
  // Giving back what was not worked for leaves a liar where it began; the fine makes a lie cost more than the work.
  fine: 1000,
  bonusMax: 200,
};

/** Permille for so many participants: rises by doublings, never falls, never exceeds the maximum. */
export function growthOf(participants: number, rules: LedgerRules): number {
  let doublings = 0;
  for (let size = rules.growthFrom * 2; size <= participants && size > 0; size *= 2) doublings += 1;
  return Math.min(rules.growthMax, 1000 + doublings * rules.growthPerDoubling);
}

/** Credit of one replica: operations x quality x growth, rounded down. */
export function priceOf(operations: number, quality: number, growth: number): bigint {
  return (BigInt(operations) * BigInt(quality) * BigInt(growth)) / 1_000_000n;
}

/** The part of an amount, rounded down. */
export function permille(amount: bigint, part: number): bigint {
  return (amount * BigInt(part)) / 1000n;
}

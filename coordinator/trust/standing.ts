/**
 * What a contributor has earned and lost: proven, trusted, outlawed, its weight in a vote, and how each event changes its rows.
 *
 * Reliability belongs to a contributor on a device; what it lost belongs to the contributor. Weights are integers.
 */
import type { ContributorTrust, DeviceTrust, Standing, TrustEvent, TrustRules } from './types.ts';

export function standingOf(contributor: ContributorTrust, device: DeviceTrust, referee: boolean): Standing {
  const { verified, streak, alone } = device;
  const { faults, stake, outlawedAt } = contributor;
  return { referee, outlawed: !referee && outlawedAt !== null, verified, streak, alone, faults, stake };
}

export function isProven(standing: Standing, rules: TrustRules): boolean {
  return standing.referee || (!standing.outlawed && standing.streak >= rules.provenStreak);
}

/** Credit is posted at once from here on; before, it waits in escrow. */
export function isTrusted(standing: Standing, rules: TrustRules): boolean {
  if (!rules.defences.escrow) return true;
  return isProven(standing, rules) && standing.verified >= rules.trustedVerified;
}

/**
 * 0 for an outlaw; 1 to 3 before a contributor is proven, `provenWeight` to `weightMax` from then on: one more for every doubling of the
 * confirmed results, and for every unit of stake. Neither time nor money makes up for a record: stake counts for the proven alone.
 */
export function weightOf(standing: Standing, rules: TrustRules): number {
  if (standing.outlawed) return 0;
  if (standing.referee) return rules.weightMax;
  if (!isProven(standing, rules)) {
    const share = Math.min(standing.streak, rules.provenStreak - 1) / rules.provenStreak;
    return Math.min(rules.provenWeight - 1, 1 + Math.floor(2 * share));
  }
  const doublings = Math.floor(Math.log2(Math.max(1, standing.verified / rules.provenStreak)));
  const stake = standing.stake / rules.stakeUnit;
  const bonus = stake > BigInt(rules.weightMax) ? rules.weightMax : Number(stake);
  return Math.min(rules.weightMax, rules.provenWeight + doublings + bonus);
}

export interface TrustRows<C extends ContributorTrust, D extends DeviceTrust> {
  contributor: C;
  device: D;
}

/** The rows after an event; `now` marks rejections, outlawry and trust. */
export function standingAfter<C extends ContributorTrust, D extends DeviceTrust>(
  rows: TrustRows<C, D>,
  event: TrustEvent,
  now: number,
  rules: TrustRules,
): TrustRows<C, D> {
  const next = changed(rows, event, now, rules);
  const { contributor, device } = next;
  if (contributor.outlawedAt !== null || contributor.trustedAt !== null) return next;
  const trusted = isTrusted(standingOf(contributor, device, false), rules);
  return trusted ? { contributor: { ...contributor, trustedAt: now }, device } : next;
}

function changed<C extends ContributorTrust, D extends DeviceTrust>(
  { contributor, device }: TrustRows<C, D>,
  event: TrustEvent,
  now: number,
  rules: TrustRules,
): TrustRows<C, D> {
  switch (event.type) {
    case 'agreed': {
      const strikes = Math.max(0, contributor.strikes - 1);
      const agreed = { ...contributor, agreed: contributor.agreed + 1, strikes };
      const confirmed = event.by !== null || !rules.defences.independent;
      return {
        contributor: agreed,
        device: confirmed ? withVerified(device) : { ...device, alone: device.alone + 1 },
      };
    }
    case 'confirmed':
      return { contributor, device: withVerified(device) };
    case 'rejected':
    case 'overturned':
      return rejected({ contributor, device }, event, now, rules);
    case 'exonerated': {
      const faults = Math.max(0, contributor.faults - 1);
      const cleared = {
        ...contributor,
        faults,
        agreed: contributor.agreed + 1,
        rejected: Math.max(0, contributor.rejected - 1),
        strikes: Math.max(0, contributor.strikes - 1),
        outlawedAt: faults === 0 ? null : contributor.outlawedAt,
      };
      return { contributor: cleared, device: { ...device, faults: Math.max(0, device.faults - 1) } };
    }
    case 'withheld':
      // Whoever withholds where it expects to be checked would otherwise stay proven at no cost.
      return {
        contributor: { ...struck(contributor, now), rejected: contributor.rejected + 1 },
        device: { ...device, streak: Math.floor(device.streak / 2) },
      };
    case 'lapsed':
      return { contributor: struck(contributor, now), device };
    case 'equivocated': {
      const lied = { ...struck(contributor, now), faults: contributor.faults + 1 };
      return { contributor: outlawed(lied, 'strong', now, rules), device: withFault(device) };
    }
  }
}

function rejected<C extends ContributorTrust, D extends DeviceTrust>(
  { contributor, device }: TrustRows<C, D>,
  { type, proof }: Extract<TrustEvent, { type: 'rejected' | 'overturned' }>,
  now: number,
  rules: TrustRules,
): TrustRows<C, D> {
  const counted = {
    ...struck(contributor, now),
    agreed: type === 'overturned' ? Math.max(0, contributor.agreed - 1) : contributor.agreed,
    rejected: contributor.rejected + 1,
    faults: contributor.faults + 1,
  };
  return { contributor: outlawed(counted, proof, now, rules), device: withFault(device) };
}

function struck<C extends ContributorTrust>(contributor: C, now: number): C {
  return { ...contributor, strikes: contributor.strikes + 1, lastRejectedAt: now };
}

/** Strong proof outlaws at once. Weak proof adds up, and good results make up for it: a majority of two may itself have lied. */
function outlawed<C extends ContributorTrust>(
  contributor: C,
  proof: 'strong' | 'weak',
  now: number,
  rules: TrustRules,
): C {
  if (!rules.defences.outlaw || contributor.outlawedAt !== null) return contributor;
  const forgiven = Math.floor(contributor.agreed / rules.faultsPerAgreed);
  const guilty = proof === 'strong' || contributor.faults >= rules.weakFaultsMax + forgiven;
  return guilty ? { ...contributor, outlawedAt: now } : contributor;
}

function withVerified<D extends DeviceTrust>(device: D): D {
  return { ...device, verified: device.verified + 1, streak: device.streak + 1, alone: 0 };
}

function withFault<D extends DeviceTrust>(device: D): D {
  return { ...device, faults: device.faults + 1, streak: 0 };
}

/**
 * Who gets which unit, and for how long: pure functions over what the storage offers.
 *
 * Nobody chooses their unit: the pick is random among those that the contributor may take. Randomness and time come in as arguments.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';

export interface Candidate {
  unit: Cid;
  program: string;
  operations: number;
  /** The contributor has let a lease of this unit go. */
  lostBefore: boolean;
}

export interface Applicant {
  programs: ReadonlySet<string>;
  /** Leases not yet committed, and those whose unit is not settled. */
  leased: number;
  unsettled: number;
  /** Rejected results that good ones have not made up for, and when the last one was. */
  strikes: number;
  lastRejectedAt: number | null;
  /** Operations a millisecond in earlier units; null for a newcomer. */
  speed: number | null;
}

export interface SchedulerRules {
  leasesMax: number;
  unsettledMax: number;
  /** Speed assumed of a newcomer, operations a millisecond: a slow CPU. */
  newcomerSpeed: number;
  /** A lease lasts this many times the expected computing time. */
  leaseSlack: number;
  leaseMsMin: number;
  leaseMsMax: number;
  backOffMsMin: number;
  backOffMsMax: number;
}

export const defaultSchedulerRules: SchedulerRules = {
  leasesMax: 2,
  unsettledMax: limits.leasesPerContributorMax,
  newcomerSpeed: 1e5,
  leaseSlack: 4,
  leaseMsMin: limits.leaseMsMin,
  leaseMsMax: limits.leaseMsMax,
  backOffMsMin: 1_000,
  backOffMsMax: 10 * 60_000,
};

export type Admission = { type: 'admitted' } | { type: 'refused'; reason: string; retryMs: number };

/** Whether a contributor may have a lease now, before any unit is looked at. */
export function admit(applicant: Applicant, now: number, rules: SchedulerRules): Admission {
  const wait = backOffMs(applicant, rules) - (now - (applicant.lastRejectedAt ?? -Infinity));
  if (wait > 0) {
    const reason = `${applicant.strikes} recent results were rejected; the next offer comes later`;
    return { type: 'refused', reason, retryMs: Math.ceil(wait) };
  }
  if (applicant.leased >= rules.leasesMax) {
    return refused('as many leases are open as one contributor may hold');
  }
  if (applicant.unsettled >= rules.unsettledMax) {
    return refused('earlier results still wait for other contributors');
  }
  return { type: 'admitted' };
}

function refused(reason: string): Admission {
  return { type: 'refused', reason, retryMs: limits.idleRetryMs };
}

/** Doubles with every rejected result; each agreed one takes a strike away. */
export function backOffMs(applicant: Pick<Applicant, 'strikes'>, rules: SchedulerRules): number {
  if (applicant.strikes === 0) return 0;
  return Math.min(rules.backOffMsMax, rules.backOffMsMin * 2 ** Math.min(30, applicant.strikes - 1));
}

/**
 * One of the candidates at random; null when none is for this contributor. `random` is 32 bits. A unit that the contributor let go comes last:
 * somebody else may do better, but in a small network there may be nobody else.
 */
export function choose(
  candidates: readonly Candidate[],
  programs: ReadonlySet<string>,
  random: number,
): Candidate | null {
  const able = candidates.filter((candidate) => programs.has(candidate.program));
  const fresh = able.filter((candidate) => !candidate.lostBefore);
  const fitting = fresh.length > 0 ? fresh : able;
  return fitting[Math.floor((random / 2 ** 32) * fitting.length)] ?? null;
}

/**
 * How many of the oldest unfinished units are offered at a time. Without a bound, contributors of a large queue would spread so thin that no two
 * meet on a unit, and all would wait for each other: it must stay below `unsettledMax` units a contributor. Above one a contributor, so that
 * nobody can tell which unit the next asker gets.
 */
export function windowSize(online: number): number {
  return Math.max(4, 2 * online);
}

/** How long a lease lasts: several times what the contributor should need, within the protocol's bounds. */
export function leaseMs(operations: number, speed: number | null, rules: SchedulerRules): number {
  const expected = operations / Math.max(speed ?? rules.newcomerSpeed, Number.MIN_VALUE);
  const lease = Math.round(expected * rules.leaseSlack);
  return Math.min(rules.leaseMsMax, Math.max(rules.leaseMsMin, lease));
}

/** A moving average of speed, after one more unit. */
export function speedAfter(speed: number | null, operations: number, ms: number): number {
  const measured = operations / Math.max(1, ms);
  return speed === null ? measured : speed + 0.25 * (measured - speed);
}

/** How long an idle contributor waits before it asks again: longer when many are online, so that asking stays cheap. */
export function idleRetryMs(online: number): number {
  return Math.min(60_000, Math.max(limits.idleRetryMs, Math.round(online / 4)));
}

/**
 * Who gets which unit, and for how long: pure functions over what the storage offers.
 *
 * Nobody chooses their unit: the pick is random among those that the contributor may take. Randomness and time come in as arguments.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';
import { tierOf } from './tiers.ts';

export interface Candidate {
  unit: Cid;
  program: string;
  operations: number;
  memoryBytes: number;
  /** The contributor has let a lease of this unit go. */
  lostBefore: boolean;
  /** A replica of the unit is on a device of the same vendor, or from the same network. */
  alike: boolean;
  /** The contributor has the checkpoint at hand. */
  atHand: boolean;
  /** The unit wants nothing, but a lease of it is late. */
  spare: boolean;
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
  /** Memory that a unit may take; null when the device does not say. */
  memoryBytes: number | null;
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
  /** The part of its time after which a lease is late, and somebody who has nothing else to do may help. */
  lateShare: number;
  /** Checks that nobody takes are looked at after this time. */
  checkMs: number;
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
  // With a slack of 4, twice the expected time.
  lateShare: 0.5,
  checkMs: 120_000,
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
 * One of the candidates at random; null when none is for this contributor. `random` is 32 bits. What counts against a candidate, from the worst:
 * nobody waits for it; the contributor let it go before, so that somebody else may do better; its replicas would be alike; its checkpoint has to
 * be fetched; it is small, and the contributor is one that could take a large one. In a small network there may be nothing else.
 */
export function choose(
  candidates: readonly Candidate[],
  applicant: Pick<Applicant, 'programs' | 'memoryBytes' | 'speed'>,
  random: number,
  rules: SchedulerRules,
): Candidate | null {
  const able = candidates.filter((candidate) => isAble(candidate, applicant, rules));
  if (able.length === 0) return null;
  const largest = isStrong(applicant) ? Math.max(...able.map((candidate) => candidate.operations)) : 0;
  const scores = able.map((candidate) => against(candidate, largest));
  const best = Math.min(...scores);
  const fitting = able.filter((_, i) => scores[i] === best);
  return fitting[Math.floor((random / 2 ** 32) * fitting.length)] ?? null;
}

/** Nothing speaks against it, whatever else is offered. Who could take a large unit has to see all of them first. */
export function isBest(
  candidate: Candidate,
  applicant: Pick<Applicant, 'programs' | 'memoryBytes' | 'speed'>,
  holds: boolean,
  rules: SchedulerRules,
): boolean {
  const { spare, lostBefore, alike, atHand } = candidate;
  if (spare || lostBefore || alike || (holds && !atHand)) return false;
  return isAble(candidate, applicant, rules) && !isStrong(applicant);
}

function against({ spare, lostBefore, alike, atHand, operations }: Candidate, largest: number): number {
  return (
    (spare ? 16 : 0) +
    (lostBefore ? 8 : 0) +
    (alike ? 4 : 0) +
    (atHand ? 0 : 2) +
    (operations < largest ? 1 : 0)
  );
}

/** Its programs, its memory, and its speed where that is known: a unit that takes longer than any lease lasts is for others. */
function isAble(
  { program, memoryBytes, operations }: Candidate,
  applicant: Pick<Applicant, 'programs' | 'memoryBytes' | 'speed'>,
  { leaseMsMax }: SchedulerRules,
): boolean {
  if (!applicant.programs.has(program)) return false;
  if (applicant.memoryBytes !== null && memoryBytes > applicant.memoryBytes) return false;
  return applicant.speed === null || operations <= applicant.speed * leaseMsMax;
}

function isStrong({ memoryBytes, speed }: Pick<Applicant, 'memoryBytes' | 'speed'>): boolean {
  const tier = tierOf(memoryBytes, speed);
  return tier === 'miner' || tier === 'whale';
}

/**
 * How many of the oldest unfinished units are offered at a time. Without a bound, contributors of a large queue would spread so thin that no two
 * meet on a unit, and all would wait for each other: it must stay below `unsettledMax` units a contributor. Above one a contributor, so that
 * nobody can tell which unit the next asker gets.
 */
export function windowSize(online: number): number {
  return Math.max(4, 2 * online);
}

/** How long an idle contributor waits before it asks again: longer when many are online, so that asking stays cheap. */
export function idleRetryMs(online: number): number {
  return Math.min(60_000, Math.max(limits.idleRetryMs, Math.round(online / 4)));
}

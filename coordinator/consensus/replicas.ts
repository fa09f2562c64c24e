/** Questions about the replicas of one unit, asked by votes and checks alike. */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import type { Grant, Replica, ReplicaState, Rules, UnitState } from './types.ts';

/** A lease that ended without a commitment. */
export function isLost(state: ReplicaState): boolean {
  return state === 'expired' || state === 'released';
}

/** No vote was cast, so the contributor may have another replica of the unit: in a small network there may be nobody else. */
export function mayTryAgain(state: ReplicaState): boolean {
  return isLost(state) || state === 'withheld';
}

export function isOpen(state: ReplicaState): boolean {
  return state === 'leased' || state === 'committed';
}

/** Has been recorded as an answer, whatever became of it. */
export function hasVoted({ digest, state }: Replica): boolean {
  return digest !== null && (state === 'revealed' || state === 'agreed' || state === 'rejected');
}

export function isProven({ weight, purpose }: Pick<Replica, 'weight' | 'purpose'>, rules: Rules): boolean {
  return purpose === 'referee' || weight >= rules.provenWeight;
}

function counts(state: ReplicaState): boolean {
  return state === 'leased' || state === 'committed' || state === 'revealed' || state === 'withheld';
}

/** Replicas of the vote that stand against its target. */
export function counting(unit: Pick<UnitState, 'replicas'>): number {
  let count = 0;
  for (const { state } of unit.replicas) if (counts(state)) count++;
  return count;
}

/** Checks of an accepted unit that are under way. */
export function openChecks(unit: UnitState): number {
  let count = 0;
  for (const { state } of unit.replicas) if (isOpen(state)) count++;
  return count;
}

/** Two different digests have been revealed in this attempt. */
export function isSplit(unit: Pick<UnitState, 'replicas'>): boolean {
  let first: Cid | null = null;
  for (const replica of unit.replicas) {
    if (!hasVoted(replica)) continue;
    if (first === null) first = replica.digest;
    else if (replica.digest !== first) return true;
  }
  return false;
}

/** Replicas still to be leased, for whatever purpose. */
export function wanted(unit: UnitState): number {
  if (unit.phase === 'gathering') return Math.max(0, unit.target - counting(unit));
  if (unit.phase === 'accepted' || unit.phase === 'disputed')
    return Math.max(0, unit.rechecks - openChecks(unit));
  return 0;
}

/** The next moment at which `tick` has something to do; null when nothing is pending. */
export function dueAt(unit: UnitState): number | null {
  if (unit.phase === 'failed') return unit.until;
  const checks = unit.phase === 'accepted' || unit.phase === 'disputed';
  let due = unit.phase === 'revealing' ? (unit.until as number) : Infinity;
  for (const { state, deadline } of unit.replicas) {
    if (state === 'leased' || (checks && state === 'committed')) due = Math.min(due, deadline);
  }
  return due === Infinity ? null : due;
}

/** Nobody could reach the coordinator while it was down: every open deadline is at least `graceMs` away. */
export function afterDowntime(unit: UnitState, now: number, graceMs: number): UnitState {
  const replicas = unit.replicas.map((r) =>
    isOpen(r.state) ? { ...r, deadline: Math.max(r.deadline, now + graceMs) } : r,
  );
  const until = unit.phase === 'revealing' ? Math.max(unit.until as number, now + graceMs) : unit.until;
  return { ...unit, until, replicas };
}

/** The contributor, or somebody of the same owner, has a replica of this unit that stands. */
export function isTaken(unit: UnitState, grant: Pick<Grant, 'contributor' | 'owner'>, rules: Rules): boolean {
  const owner = grant.owner ?? grant.contributor;
  return unit.replicas.some((r) => {
    const same = r.contributor === grant.contributor || (rules.defences.ownerOnce && r.owner === owner);
    return same && !mayTryAgain(r.state);
  });
}

export function find(unit: UnitState, assignment: Hex): Replica | undefined {
  return unit.replicas.find((r) => r.assignment === assignment);
}

export function withReplica(unit: UnitState, assignment: Hex, change: Partial<Replica>): UnitState {
  const replicas = unit.replicas.slice();
  const at = replicas.findIndex((r) => r.assignment === assignment);
  if (at >= 0) replicas[at] = { ...(replicas[at] as Replica), ...change };
  return { ...unit, replicas };
}

export function granted(unit: UnitState, grant: Grant, recheck: boolean): UnitState {
  const { assignment, contributor, owner, weight, deadline, referee } = grant;
  const replica: Replica = {
    assignment,
    contributor,
    owner: owner ?? contributor,
    purpose: referee ? 'referee' : recheck ? 'recheck' : 'vote',
    weight,
    state: 'leased',
    deadline,
    digest: null,
  };
  return { ...unit, replicas: [...unit.replicas, replica] };
}

export interface Votes {
  /** The leading digest; the referee's, where one has spoken. */
  digest: Cid | null;
  contributors: number;
  weight: number;
  total: number;
  digests: number;
  revealed: number;
  /** The leading digest has a supporter of proven weight. */
  proven: boolean;
  /** A referee has revealed the leading digest. */
  final: boolean;
}

/**
 * The leading digest: the most weight, then the smallest CID, so that every process names the same one. Nobody's weight is more than that of
 * all others together, so that no owner decides alone; a referee's word is final.
 */
export function countVotes(replicas: readonly Replica[], rules: Rules): Votes {
  const votes: Votes = {
    ...{ digest: null, contributors: 0, weight: 0, total: 0, digests: 0, revealed: 0 },
    ...{ proven: false, final: false },
  };
  const cast = replicas.filter((r) => hasVoted(r) && r.weight > 0);
  const cap = weightCap(cast, rules);
  const groups = new Map<Cid, { contributors: number; weight: number; proven: boolean; final: boolean }>();
  for (const replica of cast) {
    const digest = replica.digest as Cid;
    const group = groups.get(digest) ?? { contributors: 0, weight: 0, proven: false, final: false };
    const weight = rules.defences.weights ? Math.min(cap, replica.weight) : 1;
    group.contributors += 1;
    group.weight += weight;
    group.proven ||= isProven(replica, rules);
    group.final ||= rules.defences.referee && replica.purpose === 'referee';
    groups.set(digest, group);
    votes.total += weight;
    votes.revealed += 1;
  }
  votes.digests = groups.size;
  for (const [digest, group] of groups) {
    if (leads({ digest, ...group }, votes)) Object.assign(votes, { digest, ...group });
  }
  return votes;
}

function leads(
  a: Pick<Votes, 'digest' | 'weight' | 'final'>,
  b: Pick<Votes, 'digest' | 'weight' | 'final'>,
): boolean {
  if (b.digest === null) return true;
  if (a.final !== b.final) return a.final;
  if (a.weight !== b.weight) return a.weight > b.weight;
  return (a.digest as Cid) < b.digest;
}

/** What all but the heaviest weigh together; no cap for one alone. */
function weightCap(cast: readonly Replica[], rules: Rules): number {
  if (cast.length < 2 || !rules.defences.ownerCap) return Infinity;
  let [heaviest, total] = [0, 0];
  for (const { weight } of cast) {
    heaviest = Math.max(heaviest, weight);
    total += weight;
  }
  return total - heaviest;
}

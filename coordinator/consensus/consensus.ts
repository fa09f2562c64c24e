/**
 * Consensus on one unit: a pure state machine. No clock, no randomness, no I/O; every step returns the new state and its transitions, each
 * with a reason.
 *
 *   gathering --all wanted replicas committed--> revealing --all revealed or out of time--> agreed | gathering (split) | failed
 *   agreed --outputs stored--> accepted        agreed | failed --reissue--> gathering (a new attempt)
 *
 * Agreement: at least two equal digests by different contributors that hold at least 2/3 of the revealed weight. Nothing is granted, committed
 * or revealed once the phase has moved on, so a late lease cannot change a settled verdict. Deadlines are what `tick` ends, nothing else: a
 * message that is late while nobody has looked at the clock yet harms nobody. Weights are all 1 for now.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { ErrorCode } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { Outcome } from '#protocol/messages/frames.ts';
import type { Hex } from 'viem';

export type Phase = 'gathering' | 'revealing' | 'agreed' | 'accepted' | 'failed';

export type ReplicaState =
  | 'leased'
  | 'committed'
  | 'revealed'
  | 'expired' // no commitment in time
  | 'released' // given back
  | 'withheld' // committed, and did not open the commitment in time or at all
  | Outcome;

export interface Replica {
  assignment: Hex;
  contributor: Hex;
  weight: number;
  state: ReplicaState;
  /** When an uncommitted lease ends. */
  deadline: number;
  digest: Cid | null;
}

export interface UnitState {
  phase: Phase;
  /** Counts from 1; a re-issued unit starts a new one, with replicas of its own. */
  attempt: number;
  /** Replicas that must have committed before the reveals open. */
  target: number;
  splits: number;
  /** When the phase ends by itself: reveals close, or a failed unit is tried again. */
  until: number | null;
  digest: Cid | null;
  /** Why the unit is where it is. */
  reason: string;
  /** Of this attempt. */
  replicas: readonly Replica[];
}

export interface Rules {
  replicasMin: number;
  replicasMax: number;
  /** Leases that may end without a commitment before the unit is given up. */
  lostLeasesMax: number;
  revealMs: number;
  /** How long a unit that was given up rests before it is tried again. */
  retryMs: number;
}

export const defaultRules: Rules = {
  replicasMin: 2,
  replicasMax: limits.replicasMax,
  lostLeasesMax: 64,
  revealMs: limits.revealMsMax,
  retryMs: 30_000,
};

export type Transition =
  | { type: 'leased' | 'committed' | 'revealed' | 'released'; assignment: Hex; reason: string }
  | { type: 'expired' | 'withheld'; assignment: Hex; contributor: Hex; reason: string }
  | { type: 'opened'; replicas: { assignment: Hex; contributor: Hex }[]; reason: string }
  | { type: 'agreed'; digest: Cid; reason: string }
  | { type: 'split'; wanted: number; reason: string }
  | { type: 'accepted' | 'failed' | 'reissued'; reason: string };

export type Step =
  { ok: true; unit: UnitState; transitions: Transition[] } | { ok: false; code: ErrorCode; reason: string };

export function newUnit(rules: Rules): UnitState {
  return {
    phase: 'gathering',
    attempt: 1,
    target: rules.replicasMin,
    splits: 0,
    until: null,
    digest: null,
    reason: 'planned',
    replicas: [],
  };
}

/** Replicas still to be leased. */
export function wanted(unit: UnitState): number {
  return unit.phase === 'gathering' ? Math.max(0, unit.target - counting(unit)) : 0;
}

/** The next moment at which `tick` has something to do; null when nothing is pending. */
export function dueAt(unit: UnitState): number | null {
  if (unit.phase === 'revealing' || unit.phase === 'failed') return unit.until;
  const deadlines = unit.replicas.filter((r) => r.state === 'leased').map((r) => r.deadline);
  return deadlines.length > 0 ? Math.min(...deadlines) : null;
}

export interface Grant {
  assignment: Hex;
  contributor: Hex;
  weight: number;
  deadline: number;
}

export function grantLease(unit: UnitState, grant: Grant): Step {
  if (wanted(unit) === 0) return refused('conflict', 'The unit wants no further replica.');
  if (unit.replicas.some((r) => r.contributor === grant.contributor && !mayTryAgain(r.state))) {
    return refused('conflict', 'The contributor has a replica of this unit.');
  }
  const replica: Replica = { ...grant, state: 'leased', digest: null };
  return accepted({ ...unit, replicas: [...unit.replicas, replica] }, [
    { type: 'leased', assignment: grant.assignment, reason: 'a replica was wanted' },
  ]);
}

/** The commitment itself is the storage's business; consensus only counts it. */
export function commit(unit: UnitState, assignment: Hex, now: number, rules: Rules): Step {
  const replica = find(unit, assignment);
  if (replica?.state !== 'leased') {
    return refused(
      'stale_lease',
      'The lease has ended. Ask for another; the work for this one is not counted.',
    );
  }
  const next = withReplica(unit, assignment, { state: 'committed' });
  const reason = 'the contributor committed in time';
  return settle(next, [{ type: 'committed', assignment, reason }], now, rules);
}

/** Records a reveal that opens its commitment; who checks that is the caller. */
export function reveal(unit: UnitState, assignment: Hex, digest: Cid, now: number, rules: Rules): Step {
  const closed = revealRefusal(unit, assignment);
  if (closed) return closed;
  const next = withReplica(unit, assignment, { state: 'revealed', digest });
  const reason = 'the reveal opens the commitment';
  return settle(next, [{ type: 'revealed', assignment, reason }], now, rules);
}

/** Ends a replica whose signed reveal does not open its commitment, or opens it to something unusable. */
export function withhold(unit: UnitState, assignment: Hex, why: string, now: number, rules: Rules): Step {
  const closed = revealRefusal(unit, assignment);
  if (closed) return closed;
  const { contributor } = find(unit, assignment) as Replica;
  const next = withReplica(unit, assignment, { state: 'withheld' });
  return settle(next, [{ type: 'withheld', assignment, contributor, reason: why }], now, rules);
}

function revealRefusal(unit: UnitState, assignment: Hex): Step | null {
  const replica = find(unit, assignment);
  if (replica?.state !== 'committed') {
    return refused('stale_lease', 'There is no commitment of yours that waits for a reveal.');
  }
  if (unit.phase !== 'revealing') {
    return refused('conflict', 'Not every replica has committed yet. Reveal after the open frame.');
  }
  return null;
}

export function release(unit: UnitState, assignment: Hex, why: string, now: number, rules: Rules): Step {
  if (find(unit, assignment)?.state !== 'leased') {
    return refused('stale_lease', 'There is no open lease of yours to give back.');
  }
  const next = withReplica(unit, assignment, { state: 'released' });
  return settle(next, [{ type: 'released', assignment, reason: why }], now, rules);
}

/** Ends leases and reveals whose time is over, and tries a failed unit again when its rest is over. */
export function tick(unit: UnitState, now: number, rules: Rules): Step {
  const transitions: Transition[] = [];
  if (unit.phase === 'failed' && now >= (unit.until as number)) {
    return reissue(unit, 'its rest after being given up is over', rules);
  }
  let next = unit;
  for (const { assignment, contributor, state, deadline } of unit.replicas) {
    if (state === 'leased' && now > deadline) {
      next = withReplica(next, assignment, { state: 'expired' });
      transitions.push({
        type: 'expired',
        assignment,
        contributor,
        reason: 'no commitment before the deadline',
      });
    } else if (state === 'committed' && unit.phase === 'revealing' && now > (unit.until as number)) {
      next = withReplica(next, assignment, { state: 'withheld' });
      transitions.push({
        type: 'withheld',
        assignment,
        contributor,
        reason: 'no reveal before the deadline',
      });
    }
  }
  return settle(next, transitions, now, rules);
}

/** The agreed outputs are stored: the verdict stands. */
export function accept(unit: UnitState): Step {
  if (unit.phase !== 'agreed') return refused('conflict', 'The unit has no agreed digest to accept.');
  const replicas = unit.replicas.map((r) => ({ ...r, state: finalState(r, unit.digest as Cid) }));
  const reason = 'the agreed outputs are stored';
  return accepted({ ...unit, phase: 'accepted', reason, replicas }, [{ type: 'accepted', reason }]);
}

/** Starts over with new replicas, because the agreed outputs are lost or no agreement came about. */
export function reissue(unit: UnitState, why: string, rules: Rules): Step {
  if (unit.phase !== 'agreed' && unit.phase !== 'failed') {
    return refused('conflict', 'Only an agreed or failed unit can be issued again.');
  }
  const next = { ...newUnit(rules), attempt: unit.attempt + 1, splits: unit.splits, reason: why };
  return accepted(next, [{ type: 'reissued', reason: why }]);
}

/** Nobody could reach the coordinator while it was down: every open deadline is at least `graceMs` away. */
export function afterDowntime(unit: UnitState, now: number, graceMs: number): UnitState {
  const replicas = unit.replicas.map((r) =>
    r.state === 'leased' ? { ...r, deadline: Math.max(r.deadline, now + graceMs) } : r,
  );
  const until = unit.phase === 'revealing' ? Math.max(unit.until as number, now + graceMs) : unit.until;
  return { ...unit, until, replicas };
}

/** Moves the phase on as far as the replicas allow. */
function settle(unit: UnitState, transitions: Transition[], now: number, rules: Rules): Step {
  if (unit.phase === 'gathering') return settleGathering(unit, transitions, now, rules);
  if (unit.phase === 'revealing' && !unit.replicas.some((r) => r.state === 'committed')) {
    return tally(unit, transitions, now, rules);
  }
  return accepted(unit, transitions);
}

function settleGathering(unit: UnitState, transitions: Transition[], now: number, rules: Rules): Step {
  const lost = unit.replicas.filter((r) => isLost(r.state)).length;
  if (lost > rules.lostLeasesMax) {
    return fail(unit, `${lost} leases ended without a commitment`, transitions, now, rules);
  }
  const waiting = unit.replicas.some((r) => r.state === 'leased');
  if (waiting || counting(unit) < unit.target) return accepted(unit, transitions);
  const replicas = unit.replicas
    .filter((r) => r.state === 'committed')
    .map(({ assignment, contributor }) => ({ assignment, contributor }));
  const reason = `${replicas.length} replicas have committed`;
  const next: UnitState = { ...unit, phase: 'revealing', until: now + rules.revealMs, reason };
  return accepted(next, [...transitions, { type: 'opened', replicas, reason }]);
}

function tally(unit: UnitState, transitions: Transition[], now: number, rules: Rules): Step {
  const votes = countVotes(unit.replicas);
  if (votes.digest && votes.contributors >= rules.replicasMin && 3 * votes.weight >= 2 * votes.total) {
    const reason = `${votes.contributors} contributors with ${votes.weight} of the weight ${votes.total} revealed one digest`;
    const next: UnitState = { ...unit, phase: 'agreed', until: null, digest: votes.digest, reason };
    return accepted(next, [...transitions, { type: 'agreed', digest: votes.digest, reason }]);
  }
  // The fewest further replicas, of weight 1 and for the leading digest, that could agree.
  const more = Math.max(1, rules.replicasMin - votes.contributors, 2 * votes.total - 3 * votes.weight);
  const target = counting(unit) + Math.ceil(more);
  const seen = `${votes.digests} digests in ${votes.revealed} reveals, the leading one by ${votes.contributors}`;
  if (target > rules.replicasMax) {
    return fail(unit, `no agreement within ${rules.replicasMax} replicas: ${seen}`, transitions, now, rules);
  }
  const splits = unit.splits + (votes.digests > 1 ? 1 : 0);
  const next: UnitState = { ...unit, phase: 'gathering', target, splits, until: null, reason: seen };
  return accepted(next, [...transitions, { type: 'split', wanted: wanted(next), reason: seen }]);
}

function fail(unit: UnitState, reason: string, transitions: Transition[], now: number, rules: Rules): Step {
  const replicas = unit.replicas.map((r) => ({ ...r, state: voided(r.state) }));
  const until = now + rules.retryMs;
  const next: UnitState = { ...unit, phase: 'failed', until, reason, replicas };
  return accepted(next, [...transitions, { type: 'failed', reason }]);
}

function voided(state: ReplicaState): ReplicaState {
  return mayTryAgain(state) ? state : 'void';
}

interface Votes {
  digest: Cid | null;
  contributors: number;
  weight: number;
  total: number;
  digests: number;
  revealed: number;
}

/** The leading digest: the most weight, then the smallest CID, so that every process names the same one. */
function countVotes(replicas: readonly Replica[]): Votes {
  const groups = new Map<Cid, { contributors: number; weight: number }>();
  const votes: Votes = { digest: null, contributors: 0, weight: 0, total: 0, digests: 0, revealed: 0 };
  for (const { state, digest, weight } of replicas) {
    if (state !== 'revealed' || digest === null) continue;
    const group = groups.get(digest) ?? { contributors: 0, weight: 0 };
    groups.set(digest, { contributors: group.contributors + 1, weight: group.weight + weight });
    votes.total += weight;
    votes.revealed += 1;
  }
  votes.digests = groups.size;
  for (const [digest, group] of groups) {
    const leads =
      group.weight > votes.weight || (group.weight === votes.weight && digest < (votes.digest ?? '~'));
    if (leads) Object.assign(votes, { digest, ...group });
  }
  return votes;
}

function finalState(replica: Replica, digest: Cid): ReplicaState {
  if (replica.state === 'revealed') return replica.digest === digest ? 'agreed' : 'rejected';
  if (replica.state === 'withheld') return 'rejected';
  return replica.state;
}

/** A lease that ended without a commitment. */
function isLost(state: ReplicaState): boolean {
  return state === 'expired' || state === 'released';
}

/** No vote was cast, so the contributor may have another replica of the unit: in a small network there may be nobody else. */
export function mayTryAgain(state: ReplicaState): boolean {
  return isLost(state) || state === 'withheld';
}

const countingStates: ReadonlySet<ReplicaState> = new Set(['leased', 'committed', 'revealed', 'withheld']);

function counting(unit: UnitState): number {
  return unit.replicas.filter((r) => countingStates.has(r.state)).length;
}

function find(unit: UnitState, assignment: Hex): Replica | undefined {
  return unit.replicas.find((r) => r.assignment === assignment);
}

function withReplica(unit: UnitState, assignment: Hex, change: Partial<Replica>): UnitState {
  const replicas = unit.replicas.map((r) => (r.assignment === assignment ? { ...r, ...change } : r));
  return { ...unit, replicas };
}

function accepted(unit: UnitState, transitions: Transition[]): Step {
  return { ok: true, unit, transitions };
}

function refused(code: ErrorCode, reason: string): Step {
  return { ok: false, code, reason };
}

/**
 * Consensus on one unit, as a pure state machine: lease -> commit -> reveal -> verdict.
 *
 * How many replicas there are to be is drawn in secret with the first lease (`Plan`), and no reveal is taken before all of them have committed
 * or their time is over; a replica that is leased once more because another is late may still join until the vote is counted. A digest with
 * `quorum` supporters of different owners and two thirds of the revealed weight is agreed (one more and three quarters in a larger group that is
 * not of one mind); otherwise more replicas are asked for, then a referee. What happens after acceptance is in `checks.ts`. Deadlines are what
 * `tick` ends, nothing else: a message that is late while nobody has looked at the clock yet harms nobody.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import { commitCheck, grantCheck, isChecked, revealCheck, settleChecks, tickChecks } from './checks.ts';
import {
  counting,
  countVotes,
  find,
  granted,
  hasVoted,
  isLost,
  isTaken,
  mayTryAgain,
  type Votes,
  wanted,
  withReplica,
} from './replicas.ts';
import {
  done,
  type Grant,
  type Hints,
  type Plan,
  refused,
  type Replica,
  type ReplicaState,
  type Rules,
  type Step,
  type Transition,
  type UnitState,
} from './types.ts';

export { recheck } from './checks.ts';
export { afterDowntime, dueAt, mayTryAgain, wanted } from './replicas.ts';
export {
  defaultRules,
  type Grant,
  type Hints,
  type Phase,
  type Plan,
  type Purpose,
  type Replica,
  type ReplicaState,
  type Rules,
  type Step,
  type Transition,
  type UnitState,
} from './types.ts';

export function newUnit(rules: Rules): UnitState {
  return {
    phase: 'gathering',
    attempt: 1,
    target: rules.replicasMin,
    quorum: rules.replicasMin,
    splits: 0,
    until: null,
    digest: null,
    rechecks: 0,
    overturned: false,
    reason: 'planned',
    replicas: [],
  };
}

/** The next replica is the first of a vote: `Grant.plan` says how the unit is to be decided. One that is being restored has its plan. */
export function isUndecided(unit: UnitState): boolean {
  const { phase, digest, replicas } = unit;
  return phase === 'gathering' && digest === null && replicas.every((r) => mayTryAgain(r.state));
}

export function grantLease(unit: UnitState, grant: Grant, rules: Rules): Step {
  const free = grant.duplicate ? mayDuplicate(unit, rules) : wanted(unit) > 0;
  if (!free) return refused('conflict', 'The unit wants no further replica.');
  if (isTaken(unit, grant, rules)) {
    return refused('conflict', 'The contributor, or another of its owner, has a replica of this unit.');
  }
  if (isChecked(unit)) return grantCheck(unit, grant);
  const planned = grant.plan && isUndecided(unit) ? withPlan(unit, grant.plan) : unit;
  const reason = grant.duplicate ? 'another lease of the unit is late' : 'a replica was wanted';
  const { assignment } = grant;
  return done(granted(planned, grant, false), [{ type: 'leased', assignment, reason }]);
}

/** Those who withheld stay counted, so a plan is added to them. */
function withPlan(unit: UnitState, { target, quorum }: Plan): UnitState {
  return { ...unit, target: counting(unit) + target, quorum };
}

/** One more lease than is wanted makes sense for every lease that is open, and within the limit. */
export function mayDuplicate(unit: UnitState, rules: Rules): boolean {
  if (unit.phase !== 'gathering' || wanted(unit) > 0) return false;
  const late = unit.replicas.filter((r) => r.state === 'leased').length;
  const extra = counting(unit) - unit.target;
  return late > 2 * extra && counting(unit) < rules.replicasMax;
}

/** Lowers what a unit that waits for replicas needs, because the network has become too small for its plan. */
export function relax(unit: UnitState, plan: Plan, now: number, rules: Rules, hints: Hints = {}): Step {
  if (unit.phase !== 'gathering' || plan.target >= unit.target) {
    return refused('conflict', 'The unit needs no more than that already.');
  }
  const reason = `${plan.target} replicas must do in a small network`;
  const target = Math.max(plan.target, counting(unit));
  return settle(
    { ...unit, target, quorum: Math.min(unit.quorum, plan.quorum), reason },
    [],
    now,
    rules,
    hints,
  );
}

/** The commitment itself is the storage's business; consensus only counts it. */
export function commit(unit: UnitState, assignment: Hex, now: number, rules: Rules, hints: Hints = {}): Step {
  const replica = find(unit, assignment);
  if (replica?.state !== 'leased') {
    return refused(
      'stale_lease',
      'The lease has ended. Ask for another; the work for this one is not counted.',
    );
  }
  if (isChecked(unit)) return commitCheck(unit, replica, now, rules);
  const next = withReplica(unit, assignment, { state: 'committed' });
  const committed: Transition = {
    type: 'committed',
    assignment,
    reason: 'the contributor committed in time',
  };
  if (unit.phase !== 'revealing') return settle(next, [committed], now, rules, hints);
  const reason = 'the others have committed already';
  const opened: Transition = {
    type: 'opened',
    replicas: [{ assignment, contributor: replica.contributor }],
    reason,
  };
  return done({ ...next, until: now + rules.revealMs }, [committed, opened]);
}

/** Records a reveal that opens its commitment; who checks that is the caller. */
export function reveal(
  unit: UnitState,
  assignment: Hex,
  digest: Cid,
  now: number,
  rules: Rules,
  hints: Hints = {},
): Step {
  const closed = revealRefusal(unit, assignment);
  if (closed) return closed;
  if (isChecked(unit)) return revealCheck(unit, find(unit, assignment) as Replica, digest, rules, hints);
  const next = withReplica(unit, assignment, { state: 'revealed', digest });
  const reason = 'the reveal opens the commitment';
  return settle(next, [{ type: 'revealed', assignment, reason }], now, rules, hints);
}

/** Ends a replica whose signed reveal does not open its commitment, or opens it to something unusable. */
export function withhold(
  unit: UnitState,
  assignment: Hex,
  why: string,
  now: number,
  rules: Rules,
  hints: Hints = {},
): Step {
  const closed = revealRefusal(unit, assignment);
  if (closed) return closed;
  const { contributor } = find(unit, assignment) as Replica;
  const next = withReplica(unit, assignment, { state: 'withheld' });
  return settle(next, [{ type: 'withheld', assignment, contributor, reason: why }], now, rules, hints);
}

function revealRefusal(unit: UnitState, assignment: Hex): Step | null {
  const replica = find(unit, assignment);
  if (replica?.state !== 'committed') {
    return refused('stale_lease', 'There is no commitment of yours that waits for a reveal.');
  }
  if (unit.phase !== 'revealing' && !isChecked(unit)) {
    return refused('conflict', 'Not every replica has committed yet. Reveal after the open frame.');
  }
  return null;
}

/** Two signed messages for one assignment contradict each other: the replica is worth nothing, whatever it says later. */
export function equivocate(
  unit: UnitState,
  assignment: Hex,
  why: string,
  now: number,
  rules: Rules,
  hints: Hints = {},
): Step {
  const replica = find(unit, assignment);
  if (replica?.state !== 'committed' && replica?.state !== 'revealed') {
    return refused('stale_lease', 'There is no open commitment of yours.');
  }
  // A vote that has been counted stays on record, though it weighs nothing now: whoever agreed with it is still right.
  const change = unit.phase === 'agreed' ? { weight: 0 } : { state: 'withheld' as const, digest: null };
  const next = withReplica(unit, assignment, change);
  const { contributor } = replica;
  return settle(next, [{ type: 'equivocated', assignment, contributor, reason: why }], now, rules, hints);
}

/** Takes a contributor that has been outlawed out of the unit: its open replicas end, and its digests weigh nothing from now on. */
export function expel(
  unit: UnitState,
  contributor: Hex,
  why: string,
  now: number,
  rules: Rules,
  hints: Hints = {},
): Step {
  const transitions: Transition[] = [];
  let next = unit;
  for (const { assignment, state, contributor: own } of unit.replicas) {
    if (own !== contributor || isLost(state)) continue;
    if (state === 'leased') {
      next = withReplica(next, assignment, { state: 'released' });
      transitions.push({ type: 'released', assignment, reason: why });
    } else if (state === 'committed') {
      next = withReplica(next, assignment, { state: 'withheld' });
      transitions.push({ type: 'withheld', assignment, contributor, reason: why });
    } else {
      next = withReplica(next, assignment, { weight: 0 });
    }
  }
  return settle(next, transitions, now, rules, hints);
}

export function release(
  unit: UnitState,
  assignment: Hex,
  why: string,
  now: number,
  rules: Rules,
  hints: Hints = {},
): Step {
  if (find(unit, assignment)?.state !== 'leased') {
    return refused('stale_lease', 'There is no open lease of yours to give back.');
  }
  const next = withReplica(unit, assignment, { state: 'released' });
  return settle(next, [{ type: 'released', assignment, reason: why }], now, rules, hints);
}

/** Ends leases and reveals whose time is over, and tries a failed unit again when its rest is over. */
export function tick(unit: UnitState, now: number, rules: Rules, hints: Hints = {}): Step {
  if (unit.phase === 'failed' && now >= (unit.until as number)) {
    return reissue(unit, 'its rest after being given up is over', rules);
  }
  if (isChecked(unit)) return tickChecks(unit, now);
  const transitions: Transition[] = [];
  let next = unit;
  for (const { assignment, contributor, state, deadline } of unit.replicas) {
    if (state === 'leased' && now > deadline) {
      next = withReplica(next, assignment, { state: 'expired' });
      const reason = 'no commitment before the deadline';
      transitions.push({ type: 'expired', assignment, contributor, reason });
    } else if (state === 'committed' && unit.phase === 'revealing' && now > (unit.until as number)) {
      next = withReplica(next, assignment, { state: 'withheld' });
      const reason = 'no reveal before the deadline';
      transitions.push({ type: 'withheld', assignment, contributor, reason });
    }
  }
  return settle(next, transitions, now, rules, hints);
}

/** The agreed outputs are stored: the verdict stands, and is looked at again `rechecks` times. */
export function accept(unit: UnitState, rechecks = 0): Step {
  if (unit.phase !== 'agreed') return refused('conflict', 'The unit has no agreed digest to accept.');
  const replicas = unit.replicas.map((r) => ({ ...r, state: finalState(r, unit.digest as Cid) }));
  const reason = 'the agreed outputs are stored';
  return done({ ...unit, phase: 'accepted', reason, rechecks, replicas }, [{ type: 'accepted', reason }]);
}

/** Starts over with new replicas, because the agreed outputs are lost or no agreement came about. */
export function reissue(unit: UnitState, why: string, rules: Rules): Step {
  if (unit.phase !== 'agreed' && unit.phase !== 'failed') {
    return refused('conflict', 'Only an agreed or failed unit can be issued again.');
  }
  const { attempt, splits, overturned } = unit;
  const next = { ...newUnit(rules), attempt: attempt + 1, splits, overturned, reason: why };
  return done(next, [{ type: 'reissued', reason: why }]);
}

/**
 * Issues an accepted unit again whose outputs are gone. Its digest is known, so one replica that finds it again is enough; where one finds
 * another, a vote decides as it would for any unit.
 */
export function restore(unit: UnitState, why: string, rules: Rules): Step {
  if (unit.phase !== 'accepted')
    return refused('conflict', 'Only the outputs of an accepted unit can be restored.');
  const { attempt, splits, overturned, digest } = unit;
  const next = {
    ...newUnit(rules),
    target: 1,
    attempt: attempt + 1,
    splits,
    overturned,
    digest,
    reason: why,
  };
  return done(next, [{ type: 'reissued', reason: why }]);
}

/** Nobody wants the unit any more: what has been leased or committed comes to nothing. What is being revealed is seen through. */
export function withdraw(unit: UnitState, why: string, rules: Rules): Step {
  if (unit.phase !== 'gathering') return refused('conflict', 'The unit is being decided, or has been.');
  if (unit.replicas.every((r) => isLost(r.state))) return done(unit, []);
  const { attempt, splits, overturned, digest } = unit;
  const next = { ...newUnit(rules), attempt: attempt + 1, splits, overturned, digest, reason: why };
  return done(next, [{ type: 'reissued', reason: why }]);
}

/** Moves the phase on as far as the replicas allow. */
function settle(unit: UnitState, transitions: Transition[], now: number, rules: Rules, hints: Hints): Step {
  if (unit.phase === 'gathering') return settleGathering(unit, transitions, now, rules, hints);
  if (unit.phase === 'revealing' && !unit.replicas.some((r) => r.state === 'committed')) {
    return tally(unit, transitions, now, rules, hints);
  }
  if (isChecked(unit)) return settleChecks(unit, transitions, rules, hints);
  return done(unit, transitions);
}

function settleGathering(
  unit: UnitState,
  transitions: Transition[],
  now: number,
  rules: Rules,
  hints: Hints,
): Step {
  const lost = unit.replicas.filter((r) => isLost(r.state)).length;
  if (lost > rules.lostLeasesMax) {
    return fail(unit, `${lost} leases ended without a commitment`, transitions, now, rules);
  }
  const leased = unit.replicas.filter((r) => r.state === 'leased').length;
  if (counting(unit) - leased < unit.target) return done(unit, transitions);
  const replicas = unit.replicas
    .filter((r) => r.state === 'committed')
    .map(({ assignment, contributor }) => ({ assignment, contributor }));
  if (replicas.length === 0) return tally(unit, transitions, now, rules, hints);
  const reason = `${replicas.length} replicas have committed`;
  const next: UnitState = { ...unit, phase: 'revealing', until: now + rules.revealMs, reason };
  return done(next, [...transitions, { type: 'opened', replicas, reason }]);
}

function tally(unit: UnitState, transitions: Transition[], now: number, rules: Rules, hints: Hints): Step {
  const votes = countVotes(unit.replicas, rules);
  if (isFoundAgain(unit) && !votes.final) {
    return agree(unit, unit.digest as Cid, 'the digest on record has been found again', transitions);
  }
  const quorum = quorumOf(unit, votes, rules, hints);
  const { supporters, share } = bar(votes, quorum, rules);
  const needed = votes.proven ? supporters : Math.max(supporters, strangersOf(rules, hints));
  if (votes.final || (votes.contributors >= needed && 12 * votes.weight >= share * votes.total)) {
    const unanimous = !votes.final && votes.digests === 1 && unit.target === unit.quorum;
    if (hints.audit && unanimous && unit.target < rules.replicasMax) {
      return sample(unit, transitions);
    }
    const reason = votes.final
      ? `a referee and ${votes.contributors - 1} others revealed one digest`
      : `${votes.contributors} contributors with ${votes.weight} of the weight ${votes.total} revealed one digest`;
    return agree(unit, votes.digest as Cid, reason, transitions);
  }
  // The fewest further replicas, of weight 1 where weights are equal, that could agree on the leading digest. The next may be a proven one's,
  // so strangers are asked for one by one.
  const short = (share * votes.total - 12 * votes.weight) / (12 - share);
  const more = Math.max(1, supporters - votes.contributors, Math.ceil(short / heaviest(unit, rules)));
  const seen = `${votes.digests} digests in ${votes.revealed} reveals, the leading one by ${votes.contributors}`;
  const tooMany = counting(unit) + more > rules.replicasMax;
  if (tooMany && !hints.referee) {
    return fail(unit, `no agreement within ${rules.replicasMax} replicas: ${seen}`, transitions, now, rules);
  }
  const splits = unit.splits + (votes.digests > 1 ? 1 : 0);
  const target = counting(unit) + (tooMany ? 1 : more);
  const next: UnitState = { ...unit, phase: 'gathering', target, quorum, splits, until: null, reason: seen };
  const type = votes.digests === 1 && votes.revealed === counting(unit) ? 'sampled' : 'split';
  return done(next, [...transitions, { type, wanted: wanted(next), reason: seen }]);
}

function agree(unit: UnitState, digest: Cid, reason: string, transitions: Transition[]): Step {
  const replicas = unit.replicas.map((r) => (r.state === 'leased' ? { ...r, state: 'void' as const } : r));
  const next: UnitState = { ...unit, phase: 'agreed', until: null, digest, reason, replicas };
  return done(next, [...transitions, { type: 'agreed', digest, reason }]);
}

/** Of a unit that is being restored: a replica has the digest that was accepted before. */
function isFoundAgain({ digest, replicas }: UnitState): boolean {
  return digest !== null && replicas.some((r) => hasVoted(r) && r.weight > 0 && r.digest === digest);
}

/** One alone decides only where it is proven: whoever takes the place of a proven one needs a second. */
function quorumOf(unit: UnitState, votes: Votes, rules: Rules, hints: Hints): number {
  if (unit.quorum === 1 && votes.proven) return 1;
  return Math.min(rules.replicasMax, Math.max(rules.replicasMin, unit.quorum, hints.quorum ?? 0));
}

/** Equal digests that decide where no proven contributor's is among them. */
function strangersOf(rules: Rules, { strangers }: Hints): number {
  return Math.min(rules.replicasMax, strangers ?? 0);
}

/** What the leading digest needs: supporters, and a share of the weight in twelfths. */
function bar(votes: Votes, quorum: number, rules: Rules): { supporters: number; share: number } {
  const contested = votes.digests > 1 && quorum >= rules.contestedQuorum;
  if (!contested || quorum >= rules.strongAny) return { supporters: quorum, share: 8 };
  return { supporters: quorum + 1, share: 9 };
}

function heaviest(unit: UnitState, rules: Rules): number {
  if (!rules.defences.weights) return 1;
  return Math.max(1, ...unit.replicas.filter((r) => r.state === 'revealed').map((r) => r.weight));
}

/** A further replica before a unanimous vote counts. */
function sample(unit: UnitState, transitions: Transition[]): Step {
  const reason = 'a unanimous vote is looked at once more';
  const next: UnitState = { ...unit, phase: 'gathering', target: counting(unit) + 1, until: null, reason };
  return done(next, [...transitions, { type: 'sampled', wanted: 1, reason }]);
}

function fail(unit: UnitState, reason: string, transitions: Transition[], now: number, rules: Rules): Step {
  const replicas = unit.replicas.map((r) => ({ ...r, state: voided(r.state) }));
  const until = now + rules.retryMs;
  const next: UnitState = { ...unit, phase: 'failed', until, reason, replicas };
  return done(next, [...transitions, { type: 'failed', reason }]);
}

function voided(state: ReplicaState): ReplicaState {
  return mayTryAgain(state) ? state : 'void';
}

function finalState(replica: Replica, digest: Cid): ReplicaState {
  const { state } = replica;
  if (state === 'revealed' || state === 'agreed' || (state === 'rejected' && replica.digest !== null)) {
    return replica.digest === digest ? 'agreed' : 'rejected';
  }
  if (state === 'withheld') return 'rejected';
  return state === 'leased' || state === 'committed' ? 'void' : state;
}

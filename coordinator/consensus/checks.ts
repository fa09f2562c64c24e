/**
 * What happens to a unit after acceptance: replays that confirm it, and disputes.
 *
 * A check is leased, committed and revealed like any vote, and opens at once, as a unit of one replica does: who computes it cannot tell. One
 * that finds another digest makes the unit disputed: a referee, or more replicas, uphold the digest or overturn it. An overturned unit takes
 * the right digest through `agreed` once more, so that its outputs are pulled and stored like any others.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import { countVotes, granted, isOpen, openChecks, type Votes, wanted, withReplica } from './replicas.ts';
import {
  done,
  type Grant,
  type Hints,
  refused,
  type Replica,
  type ReplicaState,
  type Rules,
  type Step,
  type Transition,
  type UnitState,
} from './types.ts';

export function isChecked(unit: UnitState): boolean {
  return unit.phase === 'accepted' || unit.phase === 'disputed';
}

/**
 * Asks for replays of an accepted unit: at least `count` of them are under way or wanted from then on. What `liar` has said of the unit weighs
 * nothing in a dispute that may follow.
 */
export function recheck(unit: UnitState, count: number, why: string, liar?: Hex): Step {
  if (!isChecked(unit)) return refused('conflict', 'Only an accepted unit can be checked once more.');
  const replicas = liar
    ? unit.replicas.map((r) => (r.contributor === liar ? { ...r, weight: 0 } : r))
    : unit.replicas;
  if (unit.phase === 'disputed' || unit.rechecks >= count) return done({ ...unit, replicas }, []);
  const next = { ...unit, replicas, rechecks: count };
  return done(next, [{ type: 'recheck', wanted: wanted(next), reason: why }]);
}

export function grantCheck(unit: UnitState, grant: Grant): Step {
  const reason = 'a check was wanted';
  return done(granted(unit, grant, true), [{ type: 'leased', assignment: grant.assignment, reason }]);
}

export function commitCheck(unit: UnitState, replica: Replica, now: number, rules: Rules): Step {
  const { assignment, contributor } = replica;
  const next = withReplica(unit, assignment, { state: 'committed', deadline: now + rules.revealMs });
  return done(next, [
    { type: 'committed', assignment, reason: 'the contributor committed in time' },
    { type: 'opened', replicas: [{ assignment, contributor }], reason: '1 replica has committed' },
  ]);
}

export function revealCheck(
  unit: UnitState,
  replica: Replica,
  digest: Cid,
  rules: Rules,
  hints: Hints,
): Step {
  const { assignment, contributor } = replica;
  const rechecks = Math.max(0, unit.rechecks - 1);
  const next = { ...withReplica(unit, assignment, { state: 'revealed', digest }), rechecks };
  const revealed: Transition = { type: 'revealed', assignment, reason: 'the reveal opens the commitment' };
  if (unit.phase === 'accepted' && digest === unit.digest) {
    const reason = 'a check found the accepted digest again';
    const agreed = withReplica(next, assignment, { state: 'agreed' });
    return done(agreed, [revealed, { type: 'confirmed', assignment, contributor, reason }]);
  }
  return settleChecks({ ...next, phase: 'disputed' }, [revealed], rules, hints);
}

export function tickChecks(unit: UnitState, now: number): Step {
  const transitions: Transition[] = [];
  let next = unit;
  for (const { assignment, contributor, state, deadline } of unit.replicas) {
    if (!isOpen(state) || now <= deadline) continue;
    const late = state === 'leased' ? 'expired' : 'withheld';
    const reason = `no ${late === 'expired' ? 'commitment' : 'reveal'} before the deadline`;
    next = withReplica(next, assignment, { state: late });
    transitions.push({ type: late, assignment, contributor, reason });
  }
  return done(next, transitions);
}

/** Settles a dispute as soon as a referee has spoken, or once nothing more is under way. */
export function settleChecks(unit: UnitState, transitions: Transition[], rules: Rules, hints: Hints): Step {
  if (unit.phase !== 'disputed') return done(unit, transitions);
  const votes = countVotes(unit.replicas, rules);
  if (!votes.final && openChecks(unit) > 0) return done(unit, transitions);
  const enough = votes.contributors >= rules.disputeQuorum && 3 * votes.weight >= 2 * votes.total;
  if (votes.final || enough || votes.revealed >= rules.disputeMax) {
    return votes.digest === unit.digest
      ? uphold(unit, votes, transitions)
      : overturn(unit, votes, transitions);
  }
  if (unit.rechecks > 0) return done(unit, transitions);
  const missing = Math.max(1, rules.disputeQuorum - votes.contributors);
  const reason = `${votes.digests} digests in ${votes.revealed} replicas, the leading one by ${votes.contributors}`;
  const next = { ...unit, rechecks: hints.referee ? 1 : missing, reason };
  return done(next, [...transitions, { type: 'disputed', wanted: wanted(next), reason }]);
}

function uphold(unit: UnitState, votes: Votes, transitions: Transition[]): Step {
  const reason = words(votes, 'the accepted digest');
  const replicas = unit.replicas.map((r) => ({
    ...r,
    state: r.state === 'revealed' ? verdictOf(r, unit.digest) : r.state,
  }));
  const next: UnitState = { ...unit, phase: 'accepted', rechecks: 0, reason, replicas };
  return done(next, [...transitions, { type: 'upheld', digest: unit.digest as Cid, reason }]);
}

/** Those who held the false digest are rejected at once; the others are settled when the right outputs are stored. */
function overturn(unit: UnitState, votes: Votes, transitions: Transition[]): Step {
  const digest = votes.digest as Cid;
  const reason = words(votes, 'another digest');
  const replicas = unit.replicas.map((r) => ({ ...r, state: overturnedState(r, digest) }));
  const change = { phase: 'agreed', digest, rechecks: 0, overturned: true, reason, replicas } as const;
  const was = unit.digest as Cid;
  return done({ ...unit, ...change }, [...transitions, { type: 'overturned', digest, was, reason }]);
}

function words({ final, contributors, weight, total }: Votes, what: string): string {
  if (final) return `a referee found ${what}`;
  return `${contributors} contributors with ${weight} of the weight ${total} found ${what}`;
}

function verdictOf(replica: Replica, digest: Cid | null): ReplicaState {
  return replica.digest === digest ? 'agreed' : 'rejected';
}

function overturnedState(replica: Replica, digest: Cid): ReplicaState {
  if (isOpen(replica.state)) return 'void';
  return replica.state === 'agreed' ? verdictOf(replica, digest) : replica.state;
}

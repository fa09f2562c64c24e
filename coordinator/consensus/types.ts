/**
 * Consensus as values: a unit, its replicas, the rules, and every transition with its reason.
 *
 * A step takes a unit and returns another one or a refusal; nothing here reads a clock, draws a random number or touches storage.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { ErrorCode } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { Outcome } from '#protocol/messages/frames.ts';
import type { Hex } from 'viem';

/** `disputed`: accepted, and a later check found another digest. */
export type Phase = 'gathering' | 'revealing' | 'agreed' | 'accepted' | 'disputed' | 'failed';

export type ReplicaState =
  | 'leased'
  | 'committed'
  | 'revealed'
  | 'expired' // no commitment in time
  | 'released' // given back
  | 'withheld' // committed, and did not open the commitment in time or at all
  | Outcome;

/** `vote`: decides the unit. `recheck`: a replay of an accepted one. `referee`: by one whose word is final. */
export type Purpose = 'vote' | 'recheck' | 'referee';

export interface Replica {
  assignment: Hex;
  contributor: Hex;
  /** Who answers for the contributor: one owner has one replica of a unit. */
  owner: Hex;
  purpose: Purpose;
  /** An integer, fixed at the grant; 0 never counts. */
  weight: number;
  state: ReplicaState;
  /** When an uncommitted lease ends; of a committed recheck: when its reveal does. */
  deadline: number;
  digest: Cid | null;
}

export interface UnitState {
  phase: Phase;
  /** Counts from 1; a re-issued unit starts a new one, with replicas of its own. */
  attempt: number;
  /** Replicas that must have committed before the reveals open; nobody outside knows it. */
  target: number;
  /** Equal digests that decide. 1 for a unit that a proven contributor computes alone. */
  quorum: number;
  splits: number;
  /** When the phase ends by itself: reveals close, a failed unit is tried again, an accepted one is seen to. */
  until: number | null;
  /** What is agreed; of a unit that is being restored, what was accepted before. */
  digest: Cid | null;
  /** Checks that an accepted or disputed unit has yet to see through, those under way included. */
  rechecks: number;
  /** A later check found an accepted digest false. */
  overturned: boolean;
  /** Why the unit is where it is. */
  reason: string;
  /** Of this attempt. */
  replicas: readonly Replica[];
}

/**
 * How many must commit before the reveals open, and how many must be equal: drawn in secret when the first replica is leased (trust/decide.ts).
 * With a target of 1 and a quorum of 2 the first reveals at once, as one that works alone does, and is checked all the same.
 */
export interface Plan {
  target: number;
  quorum: number;
}

export interface Rules {
  replicasMin: number;
  replicasMax: number;
  /** Leases that may end without a commitment before the unit is given up. */
  lostLeasesMax: number;
  revealMs: number;
  /** How long a unit that was given up rests before it is tried again. */
  retryMs: number;
  /** From this weight on a contributor counts as proven; weights below never reach it. */
  provenWeight: number;
  /** Equal digests that settle a dispute where no referee has spoken. */
  disputeQuorum: number;
  /** A vote of this many or more that is not of one mind needs one equal digest more, up to `strongAny`, and three quarters of the weight. */
  contestedQuorum: number;
  /** Digests in a dispute after which the leading one stands, whatever its share. */
  disputeMax: number;
  /** Winners of proven weight, and winners of any weight, that make a false result proven beyond doubt. */
  strongProven: number;
  strongAny: number;
  /** The defences of the vote, each to be switched off by the simulation alone. */
  defences: {
    /** Weights count; otherwise every replica counts 1. */
    weights: boolean;
    /** No owner has more than half of the weight of a decision. */
    ownerCap: boolean;
    /** An owner has one replica of a unit; otherwise a contributor has. */
    ownerOnce: boolean;
    /** A referee's digest decides. */
    referee: boolean;
  };
}

export const defaultRules: Rules = {
  replicasMin: 2,
  replicasMax: limits.replicasMax,
  lostLeasesMax: 64,
  revealMs: limits.revealMsMax,
  retryMs: 30_000,
  provenWeight: 4,
  disputeQuorum: 3,
  contestedQuorum: 3,
  disputeMax: 15,
  strongProven: 2,
  strongAny: 5,
  defences: { weights: true, ownerCap: true, ownerOnce: true, referee: true },
};

export type Transition =
  | { type: 'leased' | 'committed' | 'revealed' | 'released'; assignment: Hex; reason: string }
  /** `equivocated`: two signed messages of one assignment contradict each other. */
  | { type: 'expired' | 'withheld' | 'equivocated'; assignment: Hex; contributor: Hex; reason: string }
  | { type: 'opened'; replicas: { assignment: Hex; contributor: Hex }[]; reason: string }
  | { type: 'agreed'; digest: Cid; reason: string }
  /** `sampled`: all so far are of one mind, and one more is asked before it counts. `recheck`: of an accepted unit. */
  | { type: 'split' | 'sampled' | 'recheck' | 'disputed'; wanted: number; reason: string }
  /** A check agrees with the accepted digest. */
  | { type: 'confirmed'; assignment: Hex; contributor: Hex; reason: string }
  | { type: 'upheld'; digest: Cid; reason: string }
  | { type: 'overturned'; digest: Cid; was: Cid; reason: string }
  | { type: 'accepted' | 'failed' | 'reissued'; reason: string };

export type Step =
  { ok: true; unit: UnitState; transitions: Transition[] } | { ok: false; code: ErrorCode; reason: string };

/** What the caller knows when a vote may be decided by its step. */
export interface Hints {
  /** A unanimous vote is to be looked at once more before it counts (trust/decide.ts, `auditUnanimous`). */
  audit?: boolean;
  /** A referee is there: it decides what more replicas could not. */
  referee?: boolean;
  /** Equal digests that the network asks of a vote by now: it may have grown, or lost faith, since the unit was planned. */
  quorum?: number;
  /** Equal digests that it asks where no proven contributor's is among them, however the unit was planned. */
  strangers?: number;
}

export interface Grant {
  assignment: Hex;
  contributor: Hex;
  /** The contributor itself unless given. */
  owner?: Hex;
  weight: number;
  deadline: number;
  /** Its word is final. */
  referee?: boolean;
  /** Of the first replica of a vote: how the unit is to be decided. */
  plan?: Plan;
  /** Beyond what is wanted, because a lease is late; it counts as one more vote. */
  duplicate?: boolean;
}

export function done(unit: UnitState, transitions: Transition[]): Step {
  return { ok: true, unit, transitions };
}

export function refused(code: ErrorCode, reason: string): Step {
  return { ok: false, code, reason };
}

/**
 * Units and replicas as rows <-> the state that the pure consensus works on, and what every operation does with a step of it.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { Outcome } from '#protocol/messages/frames.ts';
import type { Hex } from 'viem';
import {
  dueAt,
  newUnit,
  type Replica,
  type ReplicaState,
  type Rules,
  type Step,
  type UnitState,
  wanted,
} from '../consensus/consensus.ts';
import type { Attempted, NewUnit, Verdict } from '../storage/port.ts';
import type { ReplicaRow, UnitRow } from './rows.ts';
import type { View } from './view.ts';

export interface LoadedUnit {
  row: UnitRow;
  /** Of the present attempt. */
  rows: readonly ReplicaRow[];
  state: UnitState;
}

/** What a step leaves to its caller: the columns of one replica that consensus knows nothing of. */
export interface ReplicaFields {
  assignment: Hex;
  fields: Partial<ReplicaRow>;
}

/** Throws `not_found`. */
export function loadUnit(view: View, cid: Cid): LoadedUnit {
  const row = view.unit(cid);
  if (!row) throw new AtollError('not_found', 'There is no such unit.', { details: { unit: cid } });
  const rows = view.replicas(cid).filter((replica) => replica.attempt === row.attempt);
  const { phase, attempt, target, quorum, splits, until, digest, rechecks, overturned, reason } = row;
  const replicas = rows.map(replicaState);
  const counts = { phase, attempt, target, quorum, splits, until, digest, rechecks, overturned };
  return { row, rows, state: { ...counts, reason, replicas } };
}

function replicaState(row: ReplicaRow): Replica {
  const { assignment, contributor, owner, purpose, weight, state, deadline, digest } = row;
  return { assignment, contributor, owner, purpose, weight, state, deadline, digest };
}

/** Writes a step's outcome; what it settled comes back as verdicts. A refused step writes nothing. */
export function applyStep(
  view: View,
  loaded: LoadedUnit,
  step: Step,
  now: number,
  extra?: ReplicaFields,
): Attempted {
  if (!step.ok) return step;
  const verdicts = saveUnit(view, loaded, step.unit, now, extra);
  return { ok: true, unit: loaded.row.cid, transitions: step.transitions, verdicts };
}

export function saveUnit(
  view: View,
  { row, rows, state: before }: LoadedUnit,
  after: UnitState,
  now: number,
  extra?: ReplicaFields,
): Verdict[] {
  const verdicts = after.attempt > before.attempt ? voidAttempt(view, row, rows, after.reason, now) : [];
  for (const replica of after.replicas) {
    const fields = extra?.assignment === replica.assignment ? extra.fields : null;
    const old = rows.find((each) => each.assignment === replica.assignment);
    if (!old) {
      view.put('replicas', { ...blankReplica, ...replica, unit: row.cid, attempt: after.attempt, ...fields });
    } else if (fields || changed(old, replica)) {
      const verdict = settleReplica(view, row, old, { ...replica, ...fields }, after.reason, now);
      if (verdict) verdicts.push(verdict);
    }
  }
  const { phase, attempt, target, quorum, splits, until, digest, rechecks, overturned, reason } = after;
  const kept = { phase, attempt, target, quorum, splits, until, digest, rechecks, overturned, reason };
  view.put('units', { ...row, ...kept, wanted: wanted(after), dueAt: dueAt(after) });
  return verdicts;
}

const blankReplica = {
  prefix: '',
  device: '',
  vendor: '',
  leasedAt: 0,
  commitment: null,
  commitSignature: null,
  salt: null,
  result: null,
  revealSignature: null,
  credit: 0n,
  settledAt: null,
} as const satisfies Partial<ReplicaRow>;

function changed(a: Replica, b: Replica): boolean {
  return a.state !== b.state || a.deadline !== b.deadline || a.digest !== b.digest;
}

function settleReplica(
  view: View,
  unit: UnitRow,
  old: ReplicaRow,
  changes: Partial<ReplicaRow> & { state: ReplicaState },
  reason: string,
  now: number,
): Verdict | null {
  const outcome = outcomeOf(changes.state);
  const settledNow = outcome !== null && outcome !== old.state;
  const next = { ...old, ...changes, settledAt: old.settledAt ?? (settledNow ? now : null) };
  view.put('replicas', next);
  if (!settledNow) return null;
  const { assignment, contributor, digest } = next;
  const credit = outcome === 'agreed' ? unit.operations : 0;
  return {
    ...{ assignment, contributor, unit: unit.cid, outcome, credit },
    reason: verdictReason(outcome, digest, reason),
  };
}

/** Replicas of an attempt that came to nothing earn nothing, and lose nothing. */
function voidAttempt(
  view: View,
  unit: UnitRow,
  rows: readonly ReplicaRow[],
  reason: string,
  now: number,
): Verdict[] {
  return rows
    .filter((replica) => isOpen(replica.state))
    .map((replica) => settleReplica(view, unit, replica, { state: 'void' }, reason, now) as Verdict);
}

/** Leased, committed or revealed: something is still to come of it. */
export function isOpen(state: ReplicaState): boolean {
  return state === 'leased' || state === 'committed' || state === 'revealed';
}

function outcomeOf(state: ReplicaState): Outcome | null {
  return state === 'agreed' || state === 'rejected' || state === 'void' ? state : null;
}

export function verdictReason(outcome: Outcome, digest: Cid | null, unitReason: string): string {
  if (outcome === 'agreed') return 'your digest is the accepted one';
  if (outcome === 'void') return `the unit was given up: ${unitReason}`.slice(0, 300);
  return digest === null
    ? 'the commitment was not opened in time, or by something that does not match it'
    : 'another digest was accepted';
}

/** A planned unit as a row. */
export function plannedRow(job: Cid, unit: NewUnit, queue: number, now: number, rules: Rules): UnitRow {
  const { phase, attempt, target, splits, until, digest, reason, ...rest } = newUnit(rules);
  const { cid, bytes, program, operations } = unit;
  return {
    ...{ cid, job, bytes, program, operations },
    quality: unit.quality ?? 1_000,
    memoryBytes: unit.memoryBytes ?? 0,
    checkpoint: unit.checkpoint ?? null,
    ...{ phase, attempt, target, splits, until, digest, reason },
    quorum: rules.replicasMin,
    result: null,
    wanted: wanted({ phase, attempt, target, splits, until, digest, reason, ...rest }),
    dueAt: null,
    queue,
    paused: false,
    sealed: true,
    rechecks: 0,
    overturned: false,
    plannedAt: now,
    acceptedAt: null,
  };
}

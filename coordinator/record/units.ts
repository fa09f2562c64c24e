/**
 * Units and replicas as rows <-> the state that the pure consensus works on.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { Outcome } from '#protocol/messages/frames.ts';
import type { Hex } from 'viem';
import {
  dueAt,
  mayDuplicate,
  newUnit,
  type Replica,
  type ReplicaState,
  type Rules,
  type Step,
  type UnitState,
  wanted,
} from '../consensus/consensus.ts';
import { straggleAt } from '../scheduler/deadlines.ts';
import type { NewUnit, Verdict } from '../storage/port.ts';
import type { RecordRules } from './rules.ts';
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
  return { row, rows, state: stateOf(row, rows) };
}

/** The state of a unit's present attempt. */
export function stateOf(row: UnitRow, rows: readonly ReplicaRow[]): UnitState {
  const { phase, attempt, target, quorum, splits, until, digest, rechecks, overturned, reason } = row;
  const replicas: Replica[] = [];
  for (const replica of rows) replicas.push(replicaState(replica));
  return { phase, attempt, target, quorum, splits, until, digest, rechecks, overturned, reason, replicas };
}

function replicaState(row: ReplicaRow): Replica {
  const { assignment, contributor, owner, purpose, weight, state, deadline, digest } = row;
  return { assignment, contributor, owner, purpose, weight, state, deadline, digest };
}

export interface Saving {
  now: number;
  rules: RecordRules;
  extra?: ReplicaFields;
  /** Columns of the unit that consensus knows nothing of. */
  unit?: Partial<UnitRow>;
  /** The unit is not looked at before this time. */
  notBefore?: number;
}

/** Writes what a step has made of a unit; what it settled comes back as verdicts, without their credit. */
export function saveUnit(view: View, loaded: LoadedUnit, after: UnitState, saving: Saving): Verdict[] {
  const { row, rows, state: before } = loaded;
  const { now, rules, extra } = saving;
  const verdicts = after.attempt > before.attempt ? voidAttempt(view, row, rows, after.reason, now) : [];
  const standing: ReplicaRow[] = [];
  for (const [i, replica] of after.replicas.entries()) {
    const fields = extra?.assignment === replica.assignment ? extra.fields : null;
    // Steps keep the order of the replicas; a new attempt has none of the old ones.
    const old = rows[i]?.assignment === replica.assignment ? rows[i] : undefined;
    if (!old) {
      const added = newReplica(replica, row.cid, after.attempt, fields);
      view.put('replicas', added);
      standing.push(added);
    } else if (fields || changed(old, replica)) {
      const { state, deadline, digest, weight } = replica;
      const moved = { ...old, state, deadline, digest, weight };
      const next = settled(old, fields ? Object.assign(moved, fields) : moved, now);
      view.put('replicas', next);
      standing.push(next);
      const verdict = verdictOf(row.cid, old, next, after.reason);
      if (verdict) verdicts.push(verdict);
    } else standing.push(old);
  }
  const next = unitRow(saving.unit ? { ...row, ...saving.unit } : row, after, standing, rules);
  const { notBefore } = saving;
  const rests = notBefore !== undefined && next.dueAt !== null;
  view.put('units', rests ? { ...next, dueAt: Math.max(next.dueAt as number, notBefore) } : next);
  return verdicts;
}

function unitRow(
  row: UnitRow,
  after: UnitState,
  replicas: readonly ReplicaRow[],
  rules: RecordRules,
): UnitRow {
  const { phase, attempt, target, quorum, splits, until, digest, rechecks, overturned, reason } = after;
  const mayHelp = mayDuplicate(after, rules.consensus);
  const spare = row.spare && mayHelp;
  const late = mayHelp && !spare ? straggleAt(replicas, rules.scheduling) : null;
  // Written out: this runs for every step of every unit, and a second spread costs more than the rest of it.
  return {
    ...row,
    phase,
    attempt,
    target,
    quorum,
    splits,
    until,
    digest,
    rechecks,
    overturned,
    reason,
    spare,
    wanted: wanted(after) + (spare ? 1 : 0),
    dueAt: earliest(dueAt(after), earliest(late, checksDue(after))),
  };
}

/** Checks that nobody takes, and late looks (`looks.ts`), are seen to when `until` has come. */
function checksDue({ phase, until }: UnitState): number | null {
  return phase === 'accepted' ? until : null;
}

/** When an accepted unit is seen to, if nobody takes its checks; without any, after `lateMs`, or never. */
export function untilChecked(
  step: Step,
  now: number,
  { scheduling }: RecordRules,
  lateMs: number | null = null,
): Step {
  if (!step.ok || step.unit.phase !== 'accepted') return step;
  const waitMs = step.unit.rechecks > 0 ? scheduling.checkMs : lateMs;
  return { ...step, unit: { ...step.unit, until: waitMs === null ? null : now + waitMs } };
}

function earliest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}

/** Written out, so that all rows are of one shape: they are read far more often than made. */
function newReplica(
  { assignment, contributor, owner, purpose, weight, state, deadline, digest }: Replica,
  unit: Cid,
  attempt: number,
  fields: Partial<ReplicaRow> | null,
): ReplicaRow {
  const row: ReplicaRow = {
    assignment,
    unit,
    attempt,
    purpose,
    contributor,
    owner,
    prefix: '',
    device: '',
    vendor: '',
    weight,
    state,
    leasedAt: 0,
    deadline,
    commitment: null,
    commitSignature: null,
    salt: null,
    digest,
    result: null,
    revealSignature: null,
    credit: 0n,
    settledAt: null,
  };
  return fields ? Object.assign(row, fields) : row;
}

function changed(a: Replica, b: Replica): boolean {
  return a.state !== b.state || a.deadline !== b.deadline || a.digest !== b.digest || a.weight !== b.weight;
}

function settled(old: ReplicaRow, next: ReplicaRow, now: number): ReplicaRow {
  const settledNow = outcomeOf(next.state) !== null && next.state !== old.state;
  return settledNow ? { ...next, settledAt: old.settledAt ?? now } : next;
}

function verdictOf(unit: Cid, old: ReplicaRow, next: ReplicaRow, reason: string): Verdict | null {
  const outcome = outcomeOf(next.state);
  if (outcome === null || outcome === old.state) return null;
  const { assignment, contributor, digest } = next;
  return {
    assignment,
    contributor,
    unit,
    outcome,
    credit: 0,
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
    .map((replica) => {
      const next: ReplicaRow = { ...replica, state: 'void', settledAt: now };
      view.put('replicas', next);
      return verdictOf(unit.cid, replica, next, reason) as Verdict;
    });
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
  if (outcome === 'void') return `this replica does not count: ${unitReason}`.slice(0, 300);
  return digest === null
    ? 'the commitment was not opened in time, or by something that does not match it'
    : 'another digest was accepted';
}

/** A planned unit as a row. */
export function plannedRow(job: Cid, unit: NewUnit, queue: number, now: number, rules: Rules): UnitRow {
  const { replicas: _none, ...state } = newUnit(rules);
  const { cid, bytes, program, operations } = unit;
  return {
    ...{ cid, job, bytes, program, operations },
    quality: unit.quality ?? 1_000,
    memoryBytes: unit.memoryBytes ?? 0,
    checkpoint: unit.checkpoint ?? null,
    ...state,
    ...{ result: null, wanted: state.target, dueAt: null, queue },
    ...{ paused: false, sealed: true, spare: false },
    ...{ plannedAt: now, acceptedAt: null },
  };
}

/**
 * Units and replicas as rows <-> the state that the pure consensus works on. Everything here runs inside a transaction of the caller.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { Outcome } from '#protocol/messages/frames.ts';
import type { Hex } from 'viem';
import {
  dueAt,
  type Phase,
  type Replica,
  type ReplicaState,
  type Step,
  type UnitState,
  wanted,
} from '../../consensus/consensus.ts';
import type { Attempted, Verdict } from '../port.ts';
import { bytesOf, type Statements } from './statements.ts';

export interface UnitRow {
  cid: Cid;
  bytes: Uint8Array;
  program: string;
  operations: number;
  phase: Phase;
  attempt: number;
  target: number;
  splits: number;
  until: number | null;
  digest: Cid | null;
  reason: string;
  result: Uint8Array | null;
  planned_at: number;
  accepted_at: number | null;
}

export interface ReplicaRow {
  assignment: Hex;
  unit: Cid;
  attempt: number;
  contributor: Hex;
  weight: number;
  state: ReplicaState;
  leased_at: number;
  deadline: number;
  commitment: Hex | null;
  commit_signature: Hex | null;
  salt: Hex | null;
  digest: Cid | null;
  result: Uint8Array | null;
}

export interface LoadedUnit {
  row: UnitRow;
  state: UnitState;
}

const unitColumns =
  'cid, bytes, program, operations, phase, attempt, target, splits, until, digest, reason, result, planned_at, accepted_at';
const replicaColumns =
  'assignment, unit, attempt, contributor, weight, state, leased_at, deadline, commitment, commit_signature, salt, digest, result';

export class UnitTable {
  readonly #sql: Statements;

  constructor(sql: Statements) {
    this.#sql = sql;
  }

  row(cid: Cid): UnitRow | undefined {
    const row = this.#sql.get<UnitRow>(`SELECT ${unitColumns} FROM units WHERE cid = ?`, cid);
    return row && { ...row, bytes: bytesOf(row.bytes), result: row.result && bytesOf(row.result) };
  }

  program(cid: Cid): string | undefined {
    return this.#sql.get<{ program: string }>('SELECT program FROM units WHERE cid = ?', cid)?.program;
  }

  replica(assignment: Hex): ReplicaRow | undefined {
    return this.#sql.get<ReplicaRow>(
      `SELECT ${replicaColumns} FROM replicas WHERE assignment = ?`,
      assignment,
    );
  }

  replicasOf(cid: Cid): ReplicaRow[] {
    const query = `SELECT ${replicaColumns} FROM replicas WHERE unit = ? ORDER BY attempt, rowid`;
    return this.#sql.all<ReplicaRow>(query, cid);
  }

  /** Throws `not_found`. */
  load(cid: Cid): LoadedUnit {
    const row = this.row(cid);
    if (!row) throw new AtollError('not_found', 'There is no such unit.', { details: { unit: cid } });
    const replicas = this.#sql.all<Replica>(
      "SELECT assignment, contributor, contributor AS owner, 'vote' AS purpose, weight, state, deadline, digest FROM replicas WHERE unit = ? AND attempt = ? ORDER BY rowid",
      cid,
      row.attempt,
    );
    const { phase, attempt, target, splits, until, digest, reason } = row;
    const state = {
      phase,
      attempt,
      target,
      quorum: 2,
      splits,
      until,
      digest,
      rechecks: 0,
      overturned: false,
    };
    return { row, state: { ...state, reason, replicas } };
  }

  /** Writes a step's outcome; what it settled comes back as verdicts. */
  apply(loaded: LoadedUnit, step: Step, now: number): Attempted {
    if (!step.ok) return step;
    const verdicts = this.save(loaded, step.unit, now);
    return { ok: true, unit: loaded.row.cid, transitions: step.transitions, verdicts };
  }

  save({ row, state: before }: LoadedUnit, after: UnitState, now: number): Verdict[] {
    const verdicts = after.attempt > before.attempt ? this.#voidAttempt(row, before, after.reason, now) : [];
    const known = new Map(before.replicas.map((replica) => [replica.assignment, replica]));
    for (const replica of after.replicas) {
      const old = known.get(replica.assignment);
      if (!old) this.#insert(row.cid, after.attempt, replica, now);
      else if (changed(old, replica)) {
        const verdict = this.#update(row, after, replica, old.state, now);
        if (verdict) verdicts.push(verdict);
      }
    }
    this.#sql.run(
      'UPDATE units SET phase = ?, attempt = ?, target = ?, splits = ?, until = ?, digest = ?, reason = ?, wanted = ?, due_at = ? WHERE cid = ?',
      after.phase,
      after.attempt,
      after.target,
      after.splits,
      after.until,
      after.digest,
      after.reason,
      wanted(after),
      dueAt(after),
      row.cid,
    );
    return verdicts;
  }

  #insert(unit: Cid, attempt: number, replica: Replica, now: number): void {
    this.#sql.run(
      'INSERT INTO replicas (assignment, unit, attempt, contributor, weight, state, leased_at, deadline) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      replica.assignment,
      unit,
      attempt,
      replica.contributor,
      replica.weight,
      replica.state,
      now,
      replica.deadline,
    );
  }

  #update(row: UnitRow, after: UnitState, replica: Replica, old: ReplicaState, now: number): Verdict | null {
    const outcome = outcomeOf(replica.state);
    const settledNow = outcome !== null && outcome !== old;
    this.#sql.run(
      'UPDATE replicas SET state = ?, deadline = ?, digest = ?, settled_at = coalesce(settled_at, ?) WHERE assignment = ?',
      replica.state,
      replica.deadline,
      replica.digest,
      settledNow ? now : null,
      replica.assignment,
    );
    if (!settledNow) return null;
    const { assignment, contributor } = replica;
    const credit = outcome === 'agreed' ? row.operations : 0;
    const reason = verdictReason(outcome, replica.digest, after.reason);
    return { assignment, contributor, unit: row.cid, outcome, credit, reason };
  }

  /** Replicas of an attempt that came to nothing earn nothing, and lose nothing. */
  #voidAttempt(row: UnitRow, before: UnitState, reason: string, now: number): Verdict[] {
    const open = before.replicas.filter((r) => ['leased', 'committed', 'revealed'].includes(r.state));
    return open.map((replica) => {
      const verdict = this.#update(
        row,
        { ...before, reason },
        { ...replica, state: 'void' },
        replica.state,
        now,
      );
      return verdict as Verdict;
    });
  }
}

function changed(a: Replica, b: Replica): boolean {
  return a.state !== b.state || a.deadline !== b.deadline || a.digest !== b.digest;
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

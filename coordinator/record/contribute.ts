/** What a contributor does with a lease of its own: commit, reveal, withhold, give back. */
import type { Hex } from 'viem';
import { commit, release, reveal, type Step, withhold } from '../consensus/consensus.ts';
import { speedAfter } from '../scheduler/scheduler.ts';
import type { Attempted, Change, Storage } from '../storage/port.ts';
import { deviceOf, strike } from './accounts.ts';
import type { RecordRules } from './rules.ts';
import type { ReplicaRow, UnitRow } from './rows.ts';
import { applyStep, type LoadedUnit, loadUnit, type ReplicaFields } from './units.ts';
import type { Operation, View } from './view.ts';

type Message<K extends 'commit' | 'reveal'> = Parameters<Storage[K]>[0];

interface Own {
  assignment: Hex;
  contributor: Hex;
}

export function commitOperation(message: Message<'commit'>, rules: RecordRules): Operation<Attempted> {
  const { assignment, commitment, signature, now } = message;
  return onOwn(message, (view, replica) => {
    if (replica.commitment !== null) return repeated(replica, replica.commitment === commitment);
    const loaded = loadUnit(view, replica.unit);
    const step = inAttempt(loaded, replica) ?? commit(loaded.state, assignment, now, rules.consensus);
    const fields = { commitment, commitSignature: signature };
    const applied = settle(view, loaded, step, now, { assignment, fields });
    if (applied.ok) noteSpeed(view, loaded.row, replica, now);
    return applied;
  });
}

function noteSpeed(view: View, { operations }: UnitRow, replica: ReplicaRow, now: number): void {
  const row = deviceOf(view, replica.contributor, replica.device);
  view.put('devices', { ...row, speed: speedAfter(row.speed, operations, now - replica.leasedAt) });
}

export function revealOperation(message: Message<'reveal'>, rules: RecordRules): Operation<Attempted> {
  const { assignment, salt, digest, result, signature, now } = message;
  return onOwn(message, (view, replica) => {
    if (replica.digest !== null) return repeated(replica, replica.digest === digest);
    const loaded = loadUnit(view, replica.unit);
    const step = inAttempt(loaded, replica) ?? reveal(loaded.state, assignment, digest, now, rules.consensus);
    return settle(view, loaded, step, now, {
      assignment,
      fields: { salt, digest, result, revealSignature: signature },
    });
  });
}

export function withholdOperation(
  own: Own,
  why: string,
  now: number,
  rules: RecordRules,
): Operation<Attempted> {
  return onOwn(own, (view, replica) => {
    const loaded = loadUnit(view, replica.unit);
    const step =
      inAttempt(loaded, replica) ?? withhold(loaded.state, own.assignment, why, now, rules.consensus);
    return settle(view, loaded, step, now);
  });
}

export function releaseOperation(
  own: Own,
  why: string,
  now: number,
  rules: RecordRules,
): Operation<Attempted> {
  return onOwn(own, (view, replica) => releaseOne(view, replica, why, now, rules));
}

function releaseOne(
  view: View,
  replica: ReplicaRow,
  why: string,
  now: number,
  rules: RecordRules,
): Attempted {
  const loaded = loadUnit(view, replica.unit);
  const step =
    inAttempt(loaded, replica) ?? release(loaded.state, replica.assignment, why, now, rules.consensus);
  return settle(view, loaded, step, now);
}

/** Gives back all uncommitted leases of a contributor that went away. */
export function releaseAllOperation(
  contributor: Hex,
  why: string,
  now: number,
  rules: RecordRules,
): Operation<Change[]> {
  return {
    hints: { contributors: [contributor], open: [contributor] },
    run: (view) =>
      view
        .openReplicas(contributor)
        .filter((replica) => replica.state === 'leased')
        .map((replica) => releaseOne(view, replica, why, now, rules))
        .filter((attempted) => attempted.ok),
  };
}

function onOwn(
  { assignment, contributor }: Own,
  act: (view: View, replica: ReplicaRow) => Attempted,
): Operation<Attempted> {
  return {
    hints: { assignments: [assignment], contributors: [contributor] },
    run(view) {
      const replica = view.replica(assignment);
      return replica?.contributor === contributor ? act(view, replica) : staleLease;
    },
  };
}

/** Writes a step and strikes those who withheld: their next offer comes later, whatever becomes of the unit. */
export function settle(
  view: View,
  loaded: LoadedUnit,
  step: Step,
  now: number,
  extra?: ReplicaFields,
): Attempted {
  const applied = applyStep(view, loaded, step, now, extra);
  for (const transition of applied.ok ? applied.transitions : []) {
    if (transition.type === 'withheld') strike(view, transition.contributor, now);
  }
  return applied;
}

const staleLease = {
  ok: false,
  code: 'stale_lease',
  reason: 'This lease is not yours, or the coordinator never gave it. Ask for another.',
} as const;

function inAttempt({ state }: LoadedUnit, replica: ReplicaRow): Step | null {
  if (state.attempt === replica.attempt) return null;
  return { ok: false, code: 'stale_lease', reason: 'The unit has been issued again; this lease is over.' };
}

/** The same message once more is answered as before; another one conflicts with what is recorded. */
function repeated(replica: ReplicaRow, same: boolean): Attempted {
  if (same) return { ok: true, unit: replica.unit, transitions: [], verdicts: [] };
  return { ok: false, code: 'conflict', reason: 'Something else is recorded for this assignment already.' };
}

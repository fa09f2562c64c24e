/** What a contributor does with a lease of its own: commit, reveal, withhold, give back. */
import type { Hex } from 'viem';
import {
  commit,
  equivocate,
  type Hints as ConsensusHints,
  release,
  reveal,
  type Rules,
  type Step,
  type UnitState,
  withhold,
} from '../consensus/consensus.ts';
import { speedAfter } from '../scheduler/deadlines.ts';
import type { Attempted, Change, Storage } from '../storage/port.ts';
import { auditUnanimous, quorumAsked, strangersAsked } from '../trust/decide.ts';
import { deviceOf } from './accounts.ts';
import { applyStep } from './apply.ts';
import type { RecordRules } from './rules.ts';
import type { ReplicaRow, UnitRow } from './rows.ts';
import { type LoadedUnit, loadUnit, type ReplicaFields } from './units.ts';
import type { Operation, View } from './view.ts';

type Message<K extends 'commit' | 'reveal'> = Parameters<Storage[K]>[0];

/** What an operation needs besides its message. `random`: 32 bits of the coordinator's own. */
export interface Setting {
  now: number;
  rules: RecordRules;
  random: number;
}

interface Own {
  assignment: Hex;
  contributor: Hex;
}

export function commitOperation(message: Message<'commit'>, setting: Setting): Operation<Attempted> {
  const { assignment, commitment, signature } = message;
  return onOwn(message, (view, replica) => {
    if (replica.commitment === commitment) return repeated(replica);
    if (replica.commitment !== null) return contradicted(view, replica, setting);
    const fields = { commitment, commitSignature: signature };
    const extra = { assignment, fields };
    const attempted = act(view, replica, setting, extra, (unit, rules, hints) =>
      commit(unit, assignment, setting.now, rules, hints),
    );
    if (attempted.ok) noteSpeed(view, view.unit(replica.unit) as UnitRow, replica, setting.now);
    return attempted;
  });
}

function noteSpeed(view: View, { operations }: UnitRow, replica: ReplicaRow, now: number): void {
  const row = deviceOf(view, replica.contributor, replica.device);
  view.put('devices', { ...row, speed: speedAfter(row.speed, operations, now - replica.leasedAt) });
}

export function revealOperation(message: Message<'reveal'>, setting: Setting): Operation<Attempted> {
  const { assignment, salt, digest, result, signature } = message;
  return onOwn(message, (view, replica) => {
    if (replica.digest === digest) return repeated(replica);
    if (replica.digest !== null) return contradicted(view, replica, setting);
    const extra = { assignment, fields: { salt, digest, result, revealSignature: signature } };
    return act(view, replica, setting, extra, (unit, rules, hints) =>
      reveal(unit, assignment, digest, setting.now, rules, hints),
    );
  });
}

export function withholdOperation(own: Own, why: string, setting: Setting): Operation<Attempted> {
  return onOwn(own, (view, replica) =>
    act(view, replica, setting, undefined, (unit, rules, hints) =>
      withhold(unit, own.assignment, why, setting.now, rules, hints),
    ),
  );
}

export function releaseOperation(own: Own, why: string, setting: Setting): Operation<Attempted> {
  return onOwn(own, (view, replica) => releaseOne(view, replica, why, setting));
}

function releaseOne(view: View, replica: ReplicaRow, why: string, setting: Setting): Attempted {
  return act(view, replica, setting, undefined, (unit, rules, hints) =>
    release(unit, replica.assignment, why, setting.now, rules, hints),
  );
}

/** Gives back all uncommitted leases of a contributor that went away. */
export function releaseAllOperation(contributor: Hex, why: string, setting: Setting): Operation<Change[]> {
  return {
    hints: { contributors: [contributor], open: [contributor] },
    run: (view) =>
      view
        .openReplicas(contributor)
        .filter((replica) => replica.state === 'leased')
        .map((replica) => releaseOne(view, replica, why, setting))
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

type Act = (unit: UnitState, rules: Rules, hints: ConsensusHints) => Step;

/** One step of the unit of a replica that belongs to the present attempt. */
function act(
  view: View,
  replica: ReplicaRow,
  setting: Setting,
  extra: ReplicaFields | undefined,
  step: Act,
): Attempted {
  const loaded = loadUnit(view, replica.unit);
  if (loaded.state.attempt !== replica.attempt) return issuedAgain;
  const { now, rules } = setting;
  const taken = step(loaded.state, rules.consensus, hintsFor(view, loaded, setting));
  return applyStep(view, loaded, taken, extra ? { now, rules, extra } : { now, rules });
}

/** What consensus may need to know should this step decide the vote. */
export function hintsFor(
  view: View,
  { state }: LoadedUnit,
  { random, rules }: Omit<Setting, 'now'>,
): ConsensusHints {
  const { trust, consensus } = rules;
  return {
    audit: auditUnanimous(state, view.climate, random, trust, consensus),
    referee: view.climate.refereesOnline > 0,
    quorum: quorumAsked(view.climate, trust),
    strangers: strangersAsked(view.climate, trust),
  };
}

/** Two signed messages for one assignment contradict each other: the sender has proven itself false. */
function contradicted(view: View, replica: ReplicaRow, setting: Setting): Attempted {
  const why = 'two signed messages for one assignment contradict each other';
  const attempted = act(view, replica, setting, undefined, (unit, rules, hints) =>
    equivocate(unit, replica.assignment, why, setting.now, rules, hints),
  );
  const reason = 'Something else is recorded for this assignment already.';
  const refusal = { ok: false, code: 'conflict', reason } as const;
  return attempted.ok ? { ...refusal, change: attempted } : refusal;
}

const staleLease = {
  ok: false,
  code: 'stale_lease',
  reason: 'This lease is not yours, or the coordinator never gave it. Ask for another.',
} as const;

const issuedAgain = {
  ok: false,
  code: 'stale_lease',
  reason: 'The unit has been issued again; this lease is over.',
} as const;

/** The same message once more is answered as before. */
function repeated({ unit }: ReplicaRow): Attempted {
  return { ok: true, unit, transitions: [], verdicts: [] };
}

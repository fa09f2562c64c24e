/** The end of a unit: accepted with verdicts and credit, issued again, and in the end shown. */
import type { Cid } from '#protocol/codec/cid.ts';
import { accept, reissue, restore, type Step, type UnitState, withdraw } from '../consensus/consensus.ts';
import type { Attempted } from '../storage/port.ts';
import { mix } from '../planner/random.ts';
import { lateLookMs, rechecksAfter } from '../trust/decide.ts';
import { applyStep, disprove } from './apply.ts';
import type { Setting } from './contribute.ts';
import type { RecordRules } from './rules.ts';
import type { ReplicaRow } from './rows.ts';
import { loadUnit, untilChecked } from './units.ts';
import type { Operation, View } from './view.ts';

/** A second random number out of the operation's, which canaries are drawn with. */
const lateDraw = 1;

/** The agreed outputs are stored: the verdict stands. Nothing of it is shown before `unseal`. */
export function acceptOperation(
  cid: Cid,
  attempt: number,
  blocks: readonly Cid[],
  setting: Setting,
): Operation<Attempted> {
  const { now, rules, random } = setting;
  return {
    hints: { units: [cid] },
    run(view) {
      const loaded = loadUnit(view, cid);
      const { row, state } = loaded;
      if (state.attempt !== attempt) return otherAttempt;
      const byOutlaw = loaded.rows.some((replica) => isOutlawed(view, replica, state));
      const step = accept(state, rechecksAfter(state, byOutlaw, view.climate, random, rules.trust));
      const lateMs = lateLookMs(state, view.climate, mix(random, lateDraw), rules.trust, rules.consensus);
      const winner = loaded.rows.find((replica) => replica.digest === state.digest && replica.result);
      const found = winner?.result ?? null;
      // What has been shown stays what it was, and is flagged as overturned: nothing is rewound.
      const result = row.sealed ? found : row.result;
      // A check of it is work like any other, whether its job rests or not.
      const unit = { acceptedAt: now, result, paused: false };
      const saving = { now, rules, unit };
      const liars = view.replicas(cid).filter((replica) => isDisproven(replica, attempt, state));
      const applied = applyStep(
        view,
        loaded,
        overturning(untilChecked(step, now, rules, lateMs), liars),
        saving,
      );
      if (!applied.ok) return applied;
      const restored = !row.sealed && isSame(row.result, found);
      if (row.sealed || restored) view.attach(cid, blocks);
      if (restored) view.publish(cid);
      return { ...applied, verdicts: [...applied.verdicts, ...disprove(view, state, liars, saving)] };
    },
  };
}

/** What these had found in an earlier attempt was accepted, and is false. */
function overturning(step: Step, liars: readonly ReplicaRow[]): Step {
  const was = liars[0]?.digest ?? null;
  if (!step.ok || was === null) return step;
  const digest = step.unit.digest as Cid;
  const reason = 'its outputs were gone, and another digest was agreed on';
  return { ...step, transitions: [...step.transitions, { type: 'overturned', digest, was, reason }] };
}

function isSame(a: Uint8Array | null, b: Uint8Array | null): boolean {
  if (a === null || b === null || a.length !== b.length) return false;
  return a.every((byte, i) => byte === b[i]);
}

/** Agreed in an earlier attempt, and on something else. */
function isDisproven(replica: ReplicaRow, attempt: number, { digest }: UnitState): boolean {
  return replica.attempt < attempt && replica.state === 'agreed' && replica.digest !== digest;
}

/** One of those who agreed has been proven a liar since. */
function isOutlawed(view: View, { digest, contributor }: ReplicaRow, unit: UnitState): boolean {
  return digest === unit.digest && (view.contributor(contributor)?.outlawedAt ?? null) !== null;
}

export function reissueOperation(
  cid: Cid,
  attempt: number,
  why: string,
  now: number,
  rules: RecordRules,
): Operation<Attempted> {
  return {
    hints: { units: [cid] },
    run(view) {
      const loaded = loadUnit(view, cid);
      if (loaded.state.attempt !== attempt) return otherAttempt;
      return applyStep(view, loaded, reissue(loaded.state, why, rules.consensus), { now, rules });
    },
  };
}

/** The outputs of an accepted unit have been collected, and it is wanted again. What was never shown, or is false, is never collected. */
export function restoreOperation(
  cid: Cid,
  why: string,
  now: number,
  rules: RecordRules,
): Operation<Attempted> {
  return {
    hints: { units: [cid] },
    run(view) {
      const loaded = loadUnit(view, cid);
      const { sealed, overturned } = loaded.row;
      if (sealed || overturned) return kept;
      return applyStep(view, loaded, restore(loaded.state, why, rules.consensus), { now, rules });
    },
  };
}

/** Its job has been cancelled. A unit that another job goes on with is left alone. */
export function withdrawOperation(
  cid: Cid,
  why: string,
  now: number,
  rules: RecordRules,
): Operation<Attempted> {
  return {
    hints: { units: [cid] },
    run(view) {
      const loaded = loadUnit(view, cid);
      if (!loaded.row.paused) return goesOn;
      return applyStep(view, loaded, withdraw(loaded.state, why, rules.consensus), { now, rules });
    },
  };
}

const goesOn = { ok: false, code: 'conflict', reason: 'Another job goes on with this unit.' } as const;
const kept = { ok: false, code: 'conflict', reason: 'The outputs of this unit are kept.' } as const;

/** The results of these units are shown, all or none: the plan goes on from them, or their round is closed. Not while one is being checked. */
export function unsealOperation(cids: readonly Cid[]): Operation<boolean> {
  return {
    hints: { units: cids },
    run(view) {
      const sealed = cids.map((cid) => loadUnit(view, cid).row).filter((row) => row.sealed);
      if (sealed.some((row) => row.phase !== 'accepted' || row.rechecks > 0)) return false;
      for (const row of sealed) {
        view.put('units', { ...row, sealed: false });
        view.publish(row.cid);
      }
      return true;
    },
  };
}

const otherAttempt = {
  ok: false,
  code: 'conflict',
  reason: 'The unit has been issued again meanwhile.',
} as const;

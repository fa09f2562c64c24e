/** The end of a unit: accepted with verdicts and credit, issued again, and in the end shown. */
import type { Cid } from '#protocol/codec/cid.ts';
import { accept, reissue, type UnitState } from '../consensus/consensus.ts';
import type { Attempted } from '../storage/port.ts';
import { rechecksAfter } from '../trust/decide.ts';
import { applyStep } from './apply.ts';
import type { Setting } from './contribute.ts';
import type { RecordRules } from './rules.ts';
import type { ReplicaRow } from './rows.ts';
import { loadUnit, untilChecked } from './units.ts';
import type { Operation, View } from './view.ts';

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
      const winner = loaded.rows.find((replica) => replica.digest === state.digest && replica.result);
      // What has been shown stays what it was, and is flagged as overturned: nothing is rewound.
      const result = row.sealed ? (winner?.result ?? null) : row.result;
      const unit = { acceptedAt: now, result };
      const applied = applyStep(view, loaded, untilChecked(step, now, rules), { now, rules, unit });
      if (applied.ok && row.sealed) view.attach(cid, blocks);
      return applied;
    },
  };
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

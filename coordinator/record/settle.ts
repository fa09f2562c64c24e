/** The end of a unit: accepted with verdicts and credit, or issued again. */
import type { Cid } from '#protocol/codec/cid.ts';
import { accept, reissue } from '../consensus/consensus.ts';
import type { Attempted, Verdict } from '../storage/port.ts';
import { contributorOf, strike } from './accounts.ts';
import type { RecordRules } from './rules.ts';
import type { UnitRow } from './rows.ts';
import { applyStep, loadUnit } from './units.ts';
import type { Operation, View } from './view.ts';

/** The agreed outputs are stored: the verdict stands. Nothing of it is shown before `unseal`. */
export function acceptOperation(
  cid: Cid,
  attempt: number,
  blocks: readonly Cid[],
  now: number,
): Operation<Attempted> {
  return {
    hints: { units: [cid] },
    run(view) {
      const loaded = loadUnit(view, cid);
      const step = loaded.state.attempt === attempt ? accept(loaded.state) : otherAttempt;
      const applied = applyStep(view, loaded, step, now);
      if (!applied.ok) return applied;
      const result = loaded.rows.find((r) => r.digest === loaded.state.digest && r.result)?.result ?? null;
      view.put('units', { ...(view.unit(cid) as UnitRow), acceptedAt: now, result });
      view.attach(cid, blocks);
      for (const verdict of applied.verdicts) count(view, loaded.row, verdict, now);
      return applied;
    },
  };
}

function count(view: View, unit: UnitRow, verdict: Verdict, now: number): void {
  const { assignment, contributor, outcome } = verdict;
  if (outcome === 'agreed') {
    const row = contributorOf(view, contributor, now);
    view.put('contributors', { ...row, agreed: row.agreed + 1, strikes: Math.max(0, row.strikes - 1) });
    view.post({
      ...{ kind: 'earned', debit: 'issued', credit: `credit:${contributor}` },
      ...{ amount: BigInt(verdict.credit), job: unit.job, unit: unit.cid, assignment },
      reason: verdict.reason,
    });
  } else if (outcome === 'rejected') {
    const row = contributorOf(view, contributor, now);
    view.put('contributors', { ...row, rejected: row.rejected + 1 });
    // One that withheld its reveal has had its strike then.
    if (view.replica(assignment)?.digest !== null) strike(view, contributor, now);
  }
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
      const step =
        loaded.state.attempt === attempt ? reissue(loaded.state, why, rules.consensus) : otherAttempt;
      return applyStep(view, loaded, step, now);
    },
  };
}

/** The results of these units may be shown: the plan goes on from them, or their round is closed. */
export function unsealOperation(cids: readonly Cid[]): Operation<void> {
  return {
    hints: { units: cids },
    run(view) {
      for (const cid of cids) {
        const row = view.unit(cid);
        if (!row?.sealed || row.phase !== 'accepted') continue;
        view.put('units', { ...row, sealed: false });
        view.publish(cid);
      }
    },
  };
}

const otherAttempt = {
  ok: false,
  code: 'conflict',
  reason: 'The unit has been issued again meanwhile.',
} as const;

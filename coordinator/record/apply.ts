/**
 * What follows from a step of consensus: its rows, the standing of those it judges, and what they earn or lose.
 */
import type { Hex } from 'viem';
import type { Step, UnitState } from '../consensus/consensus.ts';
import { clawBack, earn, release } from '../ledger/postings.ts';
import { judge, proofOf } from '../trust/judge.ts';
import { standingAfter } from '../trust/standing.ts';
import type { Judgement } from '../trust/types.ts';
import type { Attempted, Verdict } from '../storage/port.ts';
import { contributorOf, deviceOf } from './accounts.ts';
import type { ReplicaRow, UnitRow } from './rows.ts';
import { type LoadedUnit, type Saving, saveUnit, verdictReason } from './units.ts';
import type { View } from './view.ts';

/** Writes a step's outcome; a refused step writes nothing. */
export function applyStep(view: View, loaded: LoadedUnit, step: Step, saving: Saving): Attempted {
  if (!step.ok) return step;
  const { transitions } = step;
  const overturned = transitions.some((transition) => transition.type === 'overturned');
  // Caught while nobody had seen it, a false result never was one of this network's.
  const unit = { ...step.unit, overturned: loaded.row.overturned || (overturned && !loaded.row.sealed) };
  const verdicts = saveUnit(view, loaded, unit, saving);
  const { trust, consensus } = saving.rules;
  const judgements = judge(loaded.state, step, view.climate, trust, consensus);
  for (const judgement of judgements) applyJudgement(view, judgement, saving);
  if (verdicts.length > 0) settleCredit(view, loaded.row, verdicts, saving);
  return { ok: true, unit: loaded.row.cid, transitions, verdicts };
}

/** Results of earlier attempts, accepted and paid for, that the unit's digest proves false: their standing and their credit follow. */
export function disprove(
  view: View,
  unit: UnitState,
  rows: readonly ReplicaRow[],
  saving: Saving,
): Verdict[] {
  const { now, rules } = saving;
  const proof = proofOf(unit, rules.consensus);
  return rows.map((row) => {
    const { assignment, contributor, unit: cid, digest } = row;
    clawBack(view, row, (view.unit(cid) as UnitRow).job, provenFalse, rules.ledger);
    view.put('replicas', { ...row, state: 'rejected', credit: 0n, settledAt: now });
    applyJudgement(view, { assignment, contributor, event: { type: 'overturned', proof } }, saving);
    const reason = verdictReason('rejected', digest, '');
    return { assignment, contributor, unit: cid, outcome: 'rejected', credit: 0, reason };
  });
}

const provenFalse = 'the result was proven false';

function applyJudgement(view: View, { assignment, contributor: address, event }: Judgement, saving: Saving) {
  const { now, rules } = saving;
  const replica = view.replica(assignment) as ReplicaRow;
  const contributor = contributorOf(view, address, now);
  const device = deviceOf(view, address, replica.device);
  const next = standingAfter({ contributor, device }, event, now, rules.trust);
  if (next.device !== device) view.put('devices', next.device);
  if (next.contributor === contributor) return;
  const caught = contributor.outlawedAt === null && next.contributor.outlawedAt !== null;
  view.put('contributors', caught ? { ...next.contributor, reviewFrom: '' } : next.contributor);
  if (contributor.trustedAt === null && next.contributor.trustedAt !== null) {
    release(view, address, 'trust is earned');
  }
}

/** Pays those who agreed, takes back what was paid for a false result, and puts the amounts into the verdicts. */
function settleCredit(view: View, { cid }: UnitRow, verdicts: readonly Verdict[], saving: Saving): void {
  const { ledger } = saving.rules;
  const unit = view.unit(cid) as UnitRow;
  const rows = view.replicas(cid).filter((replica) => replica.attempt === unit.attempt);
  for (const row of rows) {
    if (row.state !== 'rejected' || row.credit === 0n) continue;
    clawBack(view, row, unit.job, provenFalse, ledger);
    view.put('replicas', { ...row, credit: 0n });
  }
  if (unit.phase !== 'accepted' && unit.phase !== 'disputed') return;
  const amounts = new Map<Hex, bigint>();
  for (const { assignment, amount } of earn(view, unit, rows, ledger)) {
    const row = rows.find((each) => each.assignment === assignment) as ReplicaRow;
    if (amount > 0n) view.put('replicas', { ...row, credit: amount });
    amounts.set(assignment, amount);
  }
  for (const verdict of verdicts) {
    const amount = amounts.get(verdict.assignment) ?? 0n;
    verdict.credit = Number(amount < maxShown ? amount : maxShown);
  }
}

const maxShown = BigInt(Number.MAX_SAFE_INTEGER);

/** Jobs, their slots and rounds as rows. Everything here runs inside a transaction of the caller. */
import type { Cid } from '#protocol/codec/cid.ts';
import type { RoundSummary } from '#protocol/http/api.ts';
import type { Hex } from 'viem';
import { newUnit, type Phase, type Rules, wanted } from '../../consensus/consensus.ts';
import { type SlotKind, slotKinds } from '../../planner/plan.ts';
import type { Counts, JobRecord, NewUnit, RoundRecord, SlotRecord } from '../port.ts';
import { bytesOf, type Statements } from './statements.ts';

interface SlotRow {
  job: Cid;
  round: number;
  kind: SlotKind;
  lane: number;
  unit: Cid;
  program: string;
  phase: Phase;
  splits: number;
  replicas: number;
  leased: number;
  planned_at: number;
  accepted_at: number | null;
  result: Uint8Array | null;
}

interface RoundRow {
  job: Cid;
  round: number;
  root: Hex;
  checkpoint: Cid;
  summary: string;
  tx: Hex | null;
  block_number: number | null;
}

const countReplicas = (states: string) =>
  `(SELECT count(*) FROM replicas r WHERE r.unit = u.cid AND r.attempt = u.attempt AND r.state ${states})`;
const selectSlots = `
  SELECT s.job, s.round, s.kind, s.lane, s.unit, u.program, u.phase, u.splits, u.result, u.planned_at, u.accepted_at,
    ${countReplicas("NOT IN ('expired', 'released')")} AS replicas, ${countReplicas("= 'leased'")} AS leased
  FROM slots s JOIN units u ON u.cid = s.unit`;

export class Jobs {
  readonly #sql: Statements;
  readonly #rules: Rules;

  constructor(sql: Statements, rules: Rules) {
    this.#sql = sql;
    this.#rules = rules;
  }

  add(job: Omit<JobRecord, 'active'>, blocks: readonly Cid[]): void {
    this.#sql.run(
      'INSERT OR IGNORE INTO jobs (id, bytes, initial, active, unigram_entropy, source_entropy, created_at) VALUES (?, ?, ?, 1, ?, ?, ?)',
      job.id,
      job.bytes,
      job.initial,
      job.unigramEntropy,
      job.sourceEntropy,
      job.createdAt,
    );
    this.publish(blocks);
  }

  publish(blocks: readonly Cid[]): void {
    for (const cid of blocks) this.#sql.run('INSERT OR IGNORE INTO blocks (cid) VALUES (?)', cid);
  }

  setActive(ids: readonly Cid[]): void {
    this.#sql.run('UPDATE jobs SET active = 0');
    this.#sql.run("UPDATE units SET paused = 1 WHERE phase <> 'accepted'");
    for (const id of ids) {
      this.#sql.run('UPDATE jobs SET active = 1 WHERE id = ?', id);
      this.#sql.run(
        "UPDATE units SET paused = 0 WHERE phase <> 'accepted' AND cid IN (SELECT unit FROM slots WHERE job = ?)",
        id,
      );
    }
  }

  list(): JobRecord[] {
    type Row = { id: Cid; bytes: Uint8Array; initial: Cid; active: number } & {
      unigram_entropy: number;
      source_entropy: number | null;
      created_at: number;
    };
    const rows = this.#sql.all<Row>('SELECT * FROM jobs ORDER BY created_at DESC, rowid DESC');
    return rows.map((row) => ({
      id: row.id,
      bytes: bytesOf(row.bytes),
      initial: row.initial,
      active: row.active === 1,
      unigramEntropy: row.unigram_entropy,
      sourceEntropy: row.source_entropy,
      createdAt: row.created_at,
    }));
  }

  addUnits(job: Cid, units: readonly NewUnit[], now: number): void {
    const state = newUnit(this.#rules);
    for (const { slot, cid, bytes, program, operations, blocks } of units) {
      this.publish(blocks);
      this.#sql.run(
        'INSERT OR IGNORE INTO slots (job, round, kind, lane, unit) VALUES (?, ?, ?, ?, ?)',
        job,
        slot.round,
        slot.kind,
        slot.lane,
        cid,
      );
      this.#sql.run(
        `INSERT INTO units (cid, bytes, program, operations, phase, attempt, target, splits, reason, wanted, planned_at, queue)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT coalesce(max(rowid), 0) + 1 FROM units))
         ON CONFLICT (cid) DO UPDATE SET paused = 0`,
        cid,
        bytes,
        program,
        operations,
        state.phase,
        state.attempt,
        state.target,
        state.splits,
        state.reason,
        wanted(state),
        now,
      );
    }
  }

  slotsAfter(job: Cid, round: number): SlotRecord[] {
    return this.#slots('round > ?', job, round);
  }

  slotsOfRound(job: Cid, round: number): SlotRecord[] {
    return this.#slots('round = ?', job, round);
  }

  #slots(where: string, job: Cid, round: number): SlotRecord[] {
    const rows = this.#sql.all<SlotRow>(`${selectSlots} WHERE s.job = ? AND s.${where}`, job, round);
    return rows.map(slotRecord).sort(planOrder);
  }

  slotsOfUnit(unit: Cid): { job: Cid; record: SlotRecord }[] {
    const rows = this.#sql.all<SlotRow>(`${selectSlots} WHERE s.unit = ?`, unit);
    return rows.map((row) => ({ job: row.job, record: slotRecord(row) }));
  }

  counts(job: Cid, round: number): Counts {
    const units = this.#sql.get<{ accepted: number; split: number }>(
      `SELECT count(*) FILTER (WHERE u.phase = 'accepted') AS accepted, count(*) FILTER (WHERE u.splits > 0) AS split
       FROM slots s JOIN units u ON u.cid = s.unit WHERE s.job = ? AND s.round = ?`,
      job,
      round,
    ) as { accepted: number; split: number };
    const replicas = this.#sql.get<{ used: number }>(
      `SELECT count(*) AS used FROM slots s JOIN replicas r ON r.unit = s.unit
       WHERE s.job = ? AND s.round = ? AND r.commitment IS NOT NULL`,
      job,
      round,
    ) as { used: number };
    return { unitsAccepted: units.accepted, unitsSplit: units.split, replicasUsed: replicas.used };
  }

  contributorsOfRound(job: Cid, round: number): number {
    const row = this.#sql.get<{ contributors: number }>(
      `SELECT count(DISTINCT r.contributor) AS contributors FROM slots s JOIN replicas r ON r.unit = s.unit
       WHERE s.job = ? AND s.round = ? AND r.state = 'agreed'`,
      job,
      round,
    );
    return row?.contributors ?? 0;
  }

  closeRound({ job, round, root, checkpoint, summary }: RoundRecord, now: number): void {
    this.#sql.run(
      'INSERT OR IGNORE INTO rounds (job, round, root, checkpoint, summary, closed_at) VALUES (?, ?, ?, ?, ?, ?)',
      job,
      round,
      root,
      checkpoint,
      JSON.stringify({ ...summary, anchor: null }),
      now,
    );
  }

  anchorRound(job: Cid, round: number, tx: Hex, blockNumber: number): void {
    this.#sql.run(
      'UPDATE rounds SET tx = ?, block_number = ? WHERE job = ? AND round = ?',
      tx,
      blockNumber,
      job,
      round,
    );
  }

  /** The last `last` rounds, oldest first. */
  rounds(job: Cid, last: number): RoundRecord[] {
    const rows = this.#sql.all<RoundRow>(
      'SELECT * FROM rounds WHERE job = ? ORDER BY round DESC LIMIT ?',
      job,
      last,
    );
    return rows.map(roundRecord).reverse();
  }

  round(job: Cid, round: number): RoundRecord | null {
    const row = this.#sql.get<RoundRow>('SELECT * FROM rounds WHERE job = ? AND round = ?', job, round);
    return row ? roundRecord(row) : null;
  }
}

function slotRecord(row: SlotRow): SlotRecord {
  return {
    slot: { round: row.round, kind: row.kind, lane: row.lane },
    unit: row.unit,
    program: row.program,
    phase: row.phase,
    splits: row.splits,
    sealed: false,
    rechecks: 0,
    replicas: row.replicas,
    leased: row.leased,
    plannedAt: row.planned_at,
    acceptedAt: row.accepted_at,
    result: row.phase === 'accepted' && row.result ? bytesOf(row.result) : null,
  };
}

function planOrder(a: SlotRecord, b: SlotRecord): number {
  const kind = (record: SlotRecord) => slotKinds.indexOf(record.slot.kind);
  return a.slot.round - b.slot.round || kind(a) - kind(b) || a.slot.lane - b.slot.lane;
}

function roundRecord(row: RoundRow): RoundRecord {
  const { job, round, root, checkpoint, tx, block_number } = row;
  const anchor = tx === null ? null : { root, tx, blockNumber: block_number ?? 0 };
  return { job, round, root, checkpoint, summary: { ...(JSON.parse(row.summary) as RoundSummary), anchor } };
}

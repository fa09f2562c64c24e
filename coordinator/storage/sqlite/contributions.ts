/**
 * Lease, commit, reveal, settle: the hot operations, each one transaction around a pure step. Everything here runs inside a transaction of
 * the caller.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import {
  accept,
  afterDowntime,
  commit,
  grantLease,
  reissue,
  release,
  reveal,
  type Rules,
  type Step,
  tick,
  type UnitState,
  withhold,
} from '../../consensus/consensus.ts';
import { creditsFor } from '../../ledger/ledger.ts';
import { scale } from '../../planner/random.ts';
import { leaseMs, speedAfter } from '../../scheduler/deadlines.ts';
import {
  admit,
  type Candidate,
  choose,
  idleRetryMs,
  type SchedulerRules,
  windowSize,
} from '../../scheduler/scheduler.ts';
import type { Attempted, Change, LeaseOutcome, LeaseRequest, Storage, Verdict } from '../port.ts';
import type { Statements } from './statements.ts';
import type { LoadedUnit, ReplicaRow, UnitRow, UnitTable } from './units.ts';

interface ContributorRow {
  strikes: number;
  last_rejected_at: number | null;
  speed: number | null;
}

/** Candidates looked at for one lease; they start at a random place of the window. */
const candidatesMax = 16;
/** A window of more units than this is looked up only every `windowMs`. */
const windowCached = 64;
const windowMs = 100;

interface QueueWindow {
  first: number;
  last: number;
  at: number;
}

type CandidateRow = Pick<Candidate, 'unit' | 'program' | 'operations'> & { lostBefore: number };
const unknown = { memoryBytes: 0, alike: false, atHand: false, spare: false } as const;
const ticksMax = 256;

type Message<K extends 'commit' | 'reveal'> = Parameters<Storage[K]>[0];

export class Contributions {
  readonly #sql: Statements;
  readonly #units: UnitTable;
  readonly #rules: Rules;
  readonly #scheduling: SchedulerRules;
  #cachedWindow: QueueWindow | null = null;

  constructor(sql: Statements, units: UnitTable, rules: Rules, scheduling: SchedulerRules) {
    this.#sql = sql;
    this.#units = units;
    this.#rules = rules;
    this.#scheduling = scheduling;
  }

  lease(request: LeaseRequest): LeaseOutcome {
    const { contributor, now } = request;
    const resumed = this.#resumeLease(request);
    if (resumed) return resumed;
    const row = this.#contributor(contributor);
    const admission = admit(
      { ...row, ...this.#openCounts(contributor), programs: request.programs, memoryBytes: null },
      now,
      this.#scheduling,
    );
    if (admission.type === 'refused')
      return { type: 'none', reason: admission.reason, retryMs: admission.retryMs };
    const candidates = this.#candidates(request);
    const pick = choose(
      candidates,
      { programs: request.programs, speed: row.speed, memoryBytes: null },
      this.#pickRandom(request.random),
      this.#scheduling,
    );
    if (!pick)
      return {
        type: 'none',
        reason: 'no unit wants another replica just now',
        retryMs: idleRetryMs(request.online),
      };
    const loaded = this.#units.load(pick.unit);
    const lasts = leaseMs(pick.operations, row.speed, this.#scheduling);
    const grant = { assignment: request.assignment, contributor, weight: 1, deadline: now + lasts };
    const applied = this.#units.apply(loaded, grantLease(loaded.state, grant, this.#rules), now);
    if (!applied.ok) return { type: 'none', reason: applied.reason, retryMs: idleRetryMs(request.online) };
    return {
      type: 'lease',
      assignment: request.assignment,
      unit: pick.unit,
      program: loaded.row.program,
      bytes: loaded.row.bytes,
      leaseMs: lasts,
      transitions: applied.transitions,
    };
  }

  /** A lease that the contributor's only connection does not know of is given to it again: its page was reloaded. */
  #resumeLease({ contributor, held, programs, now }: LeaseRequest): LeaseOutcome | null {
    if (!held) return null;
    const leased = this.#sql.all<{ assignment: Hex; unit: Cid; deadline: number }>(
      "SELECT assignment, unit, deadline FROM replicas WHERE contributor = ? AND state = 'leased'",
      contributor,
    );
    const lost = leased.find((lease) => !held.has(lease.assignment) && lease.deadline > now);
    const row = lost && this.#units.row(lost.unit);
    if (!lost || !row || !programs.has(row.program)) return null;
    const { assignment, unit, deadline } = lost;
    const { bytes, program } = row;
    return { type: 'lease', assignment, unit, program, bytes, leaseMs: deadline - now, transitions: [] };
  }

  /** Units of the window that the contributor may take, from a random place on. */
  #candidates({ contributor, random, online, now }: LeaseRequest): Candidate[] {
    const window = this.#window(windowSize(online), now);
    if (!window) return [];
    const from = window.first + scale(random, window.last - window.first + 1);
    const rows = this.#candidatesBetween(contributor, from, window.last);
    if (rows.length < candidatesMax)
      rows.push(...this.#candidatesBetween(contributor, window.first, from - 1));
    return rows.map((row) => ({ ...unknown, ...row, lostBefore: row.lostBefore === 1 }));
  }

  #candidatesBetween(contributor: Hex, first: number, last: number): CandidateRow[] {
    return this.#sql.all<CandidateRow>(
      `SELECT cid AS unit, program, operations, EXISTS (
         SELECT 1 FROM replicas r WHERE r.unit = u.cid AND r.attempt = u.attempt AND r.contributor = ?
       ) AS lostBefore
       FROM units u
       WHERE wanted > 0 AND paused = 0 AND queue BETWEEN ? AND ? AND NOT EXISTS (
         SELECT 1 FROM replicas r WHERE r.unit = u.cid AND r.attempt = u.attempt AND r.contributor = ?
           AND r.state NOT IN ('expired', 'released', 'withheld')
       )
       ORDER BY queue LIMIT ${candidatesMax}`,
      ...[contributor, first, last, contributor],
    );
  }

  /** Where the window of the oldest wanting units begins and ends. A large one is looked up only now and then, since that walks it. */
  #window(size: number, now: number): QueueWindow | null {
    if (this.#cachedWindow && size > windowCached && now - this.#cachedWindow.at < windowMs)
      return this.#cachedWindow;
    const found = this.#sql.get<{ first: number | null; last: number | null }>(
      `SELECT min(queue) AS first, max(queue) AS last FROM
         (SELECT queue FROM units WHERE wanted > 0 AND paused = 0 ORDER BY queue LIMIT ?)`,
      size,
    );
    this.#cachedWindow = null;
    if (typeof found?.first !== 'number' || typeof found.last !== 'number') return null;
    this.#cachedWindow = { first: found.first, last: found.last, at: now };
    return this.#cachedWindow;
  }

  /** The place in the queue took the high bits; the pick takes others. */
  #pickRandom(random: number): number {
    return Math.imul(random, 0x9e3779b1) >>> 0;
  }

  #contributor(address: Hex): ContributorRow & { lastRejectedAt: number | null } {
    const row = this.#sql.get<ContributorRow>(
      'SELECT strikes, last_rejected_at, speed FROM contributors WHERE address = ?',
      address,
    ) ?? { strikes: 0, last_rejected_at: null, speed: null };
    return { ...row, lastRejectedAt: row.last_rejected_at };
  }

  #openCounts(contributor: Hex): { leased: number; unsettled: number } {
    return this.#sql.get<{ leased: number; unsettled: number }>(
      "SELECT count(*) AS unsettled, count(*) FILTER (WHERE state = 'leased') AS leased FROM replicas WHERE contributor = ? AND state IN ('leased', 'committed', 'revealed')",
      contributor,
    ) as { leased: number; unsettled: number };
  }

  commit(message: Message<'commit'>): Attempted {
    const { assignment, commitment, signature, now } = message;
    const replica = this.#own(message);
    if (!replica) return staleLease;
    if (replica.commitment !== null) return repeated(replica, replica.commitment === commitment);
    const loaded = this.#units.load(replica.unit);
    const step = inAttempt(loaded, replica) ?? commit(loaded.state, assignment, now, this.#rules);
    const applied = this.#units.apply(loaded, step, now);
    if (!applied.ok) return applied;
    this.#sql.run(
      'UPDATE replicas SET commitment = ?, commit_signature = ? WHERE assignment = ?',
      commitment,
      signature,
      assignment,
    );
    this.#noteSpeed(loaded.row, replica, now);
    return applied;
  }

  #noteSpeed({ operations }: UnitRow, { contributor, leased_at }: ReplicaRow, now: number): void {
    const { speed } = this.#contributor(contributor);
    const next = speedAfter(speed, operations, now - leased_at);
    this.#sql.run('UPDATE contributors SET speed = ? WHERE address = ?', next, contributor);
  }

  reveal(message: Message<'reveal'>): Attempted {
    const { assignment, salt, digest, result, signature, now } = message;
    const replica = this.#own(message);
    if (!replica) return staleLease;
    if (replica.digest !== null) return repeated(replica, replica.digest === digest);
    const loaded = this.#units.load(replica.unit);
    const step = inAttempt(loaded, replica) ?? reveal(loaded.state, assignment, digest, now, this.#rules);
    const applied = this.#units.apply(loaded, step, now);
    if (!applied.ok) return applied;
    this.#sql.run(
      'UPDATE replicas SET salt = ?, result = ?, reveal_signature = ? WHERE assignment = ?',
      salt,
      result,
      signature,
      assignment,
    );
    return applied;
  }

  withhold(assignment: Hex, contributor: Hex, why: string, now: number): Attempted {
    return this.#onOwn({ assignment, contributor }, now, (loaded) =>
      withhold(loaded.state, assignment, why, now, this.#rules),
    );
  }

  release(assignment: Hex, contributor: Hex, why: string, now: number): Attempted {
    return this.#onOwn({ assignment, contributor }, now, (loaded) =>
      release(loaded.state, assignment, why, now, this.#rules),
    );
  }

  #onOwn(
    message: { assignment: Hex; contributor: Hex },
    now: number,
    act: (loaded: LoadedUnit) => Step,
  ): Attempted {
    const replica = this.#own(message);
    if (!replica) return staleLease;
    const loaded = this.#units.load(replica.unit);
    return this.#apply(loaded, inAttempt(loaded, replica) ?? act(loaded), now);
  }

  releaseAll(contributor: Hex, why: string, now: number): Change[] {
    const leased = this.#sql.all<{ assignment: Hex }>(
      "SELECT assignment FROM replicas WHERE contributor = ? AND state = 'leased'",
      contributor,
    );
    return leased
      .map(({ assignment }) => this.release(assignment, contributor, why, now))
      .filter((attempted) => attempted.ok);
  }

  tick(now: number): Change[] {
    const due = this.#sql.all<{ cid: Cid }>(
      `SELECT cid FROM units WHERE due_at IS NOT NULL AND due_at < ? ORDER BY due_at LIMIT ${ticksMax}`,
      now,
    );
    return due
      .map(({ cid }) => {
        const loaded = this.#units.load(cid);
        return this.#apply(loaded, tick(loaded.state, now, this.#rules), now);
      })
      .filter((attempted) => attempted.ok);
  }

  accept(cid: Cid, attempt: number, blocks: readonly Cid[], now: number): Attempted {
    const loaded = this.#units.load(cid);
    const step = loaded.state.attempt === attempt ? accept(loaded.state) : otherAttempt;
    const applied = this.#units.apply(loaded, step, now);
    if (!applied.ok || !step.ok) return applied;
    this.#sql.run(
      `UPDATE units SET accepted_at = ?, result = (
         SELECT result FROM replicas WHERE unit = ? AND attempt = ? AND state = 'agreed' AND result IS NOT NULL LIMIT 1
       ) WHERE cid = ?`,
      now,
      cid,
      attempt,
      cid,
    );
    for (const block of blocks) this.#sql.run('INSERT OR IGNORE INTO blocks (cid) VALUES (?)', block);
    for (const verdict of applied.verdicts) this.#count(verdict, step.unit, now);
    for (const credit of creditsFor(cid, loaded.row.operations, step.unit.replicas)) {
      this.#sql.run(
        'INSERT INTO entries (unit, assignment, contributor, amount, posted_at) VALUES (?, ?, ?, ?, ?)',
        credit.unit,
        credit.assignment,
        credit.contributor,
        credit.amount,
        now,
      );
    }
    return applied;
  }

  #count({ assignment, contributor, outcome, credit }: Verdict, unit: UnitState, now: number): void {
    if (outcome === 'agreed') {
      this.#sql.run(
        'UPDATE contributors SET agreed = agreed + 1, strikes = max(0, strikes - 1), credit = credit + ? WHERE address = ?',
        BigInt(credit),
        contributor,
      );
    } else if (outcome === 'rejected') {
      this.#sql.run('UPDATE contributors SET rejected = rejected + 1 WHERE address = ?', contributor);
      // One that withheld its reveal has had its strike then.
      const replica = unit.replicas.find((each) => each.assignment === assignment);
      if (replica?.digest !== null) this.#strike(contributor, now);
    }
  }

  #strike(contributor: Hex, now: number): void {
    this.#sql.run(
      'UPDATE contributors SET strikes = strikes + 1, last_rejected_at = ? WHERE address = ?',
      now,
      contributor,
    );
  }

  /** Writes a step and strikes those who withheld: their next offer comes later, whatever becomes of the unit. */
  #apply(loaded: LoadedUnit, step: Step, now: number): Attempted {
    const applied = this.#units.apply(loaded, step, now);
    for (const transition of applied.ok ? applied.transitions : []) {
      if (transition.type === 'withheld') this.#strike(transition.contributor, now);
    }
    return applied;
  }

  reissue(cid: Cid, attempt: number, why: string, now: number): Attempted {
    const loaded = this.#units.load(cid);
    const step = loaded.state.attempt === attempt ? reissue(loaded.state, why, this.#rules) : otherAttempt;
    return this.#units.apply(loaded, step, now);
  }

  resume(now: number, graceMs: number): void {
    const open = this.#sql.all<{ cid: Cid }>(
      "SELECT cid FROM units WHERE due_at IS NOT NULL AND phase IN ('gathering', 'revealing')",
    );
    for (const { cid } of open) {
      const loaded = this.#units.load(cid);
      this.#units.save(loaded, afterDowntime(loaded.state, now, graceMs), now);
    }
  }

  #own({ assignment, contributor }: { assignment: Hex; contributor: Hex }): ReplicaRow | null {
    const replica = this.#units.replica(assignment);
    return replica?.contributor === contributor ? replica : null;
  }
}

const staleLease = {
  ok: false,
  code: 'stale_lease',
  reason: 'This lease is not yours, or the coordinator never gave it. Ask for another.',
} as const;

const otherAttempt = {
  ok: false,
  code: 'conflict',
  reason: 'The unit has been issued again meanwhile.',
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

/**
 * The storage port on SQLite: WAL, synchronous FULL, group commit. One process, one file; nothing acknowledged is lost on kill -9 or power cut.
 *
 * Reads see what is committed, since a batch begins and ends within one turn of the event loop.
 */
import { randomBytes } from 'node:crypto';
import BetterSqlite3 from 'better-sqlite3';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { toHex } from '#protocol/messages/contribution.ts';
import type { Hex } from 'viem';
import { defaultRules, type Rules } from '../../consensus/consensus.ts';
import { type Entry, genesis, sealEntries } from '../../ledger/ledger.ts';
import { defaultSchedulerRules, type SchedulerRules } from '../../scheduler/scheduler.ts';
import type { ContributorRecord, ReplicaRecord, Storage, UnitRecord, Verdict } from '../port.ts';
import { calm } from '../../record/view.ts';
import { Contributions } from './contributions.ts';
import { GroupCommit } from './group-commit.ts';
import { Jobs } from './jobs.ts';
import { migrate } from './schema.ts';
import { bytesOf, Statements } from './statements.ts';
import { type ReplicaRow, UnitTable, verdictReason } from './units.ts';

export interface SqliteOptions {
  /** Path of the database file, or `:memory:`. */
  path: string;
  /** The id a new database gets: 32 random bytes. An old one keeps its own. */
  network: Hex;
  rules?: Rules;
  scheduling?: SchedulerRules;
  flushMs?: number;
  batchMax?: number;
  onBatch?: (size: number, ms: number) => void;
}

const roundsMax = 10_000;

/** Throws `bad_config` when the file cannot be opened or written. */
export function openSqliteStorage(options: SqliteOptions): Storage {
  const db = openDatabase(options.path);
  const sql = new Statements(db);
  const rules = options.rules ?? defaultRules;
  const units = new UnitTable(sql);
  const contributions = new Contributions(sql, units, rules, options.scheduling ?? defaultSchedulerRules);
  const jobs = new Jobs(sql, rules);
  const group = new GroupCommit(db, {
    flushMs: options.flushMs ?? 5,
    batchMax: options.batchMax ?? 256,
    ...(options.onBatch ? { onBatch: options.onBatch } : {}),
  });
  sql.run("INSERT OR IGNORE INTO meta (key, value) VALUES ('network', ?)", options.network);
  const network = sql.get<{ value: Hex }>("SELECT value FROM meta WHERE key = 'network'")?.value as Hex;
  return {
    network,
    secret: secretOf(sql),
    ...writes(group, sql, jobs, contributions),
    ...reads(sql, units, jobs),
    close: async () => {
      group.close();
      db.close();
    },
  };
}

type Reads =
  | 'jobs'
  | 'slotsAfter'
  | 'slotsOfRound'
  | 'slotsOfUnit'
  | 'counts'
  | 'contributorsOfRound'
  | 'rounds'
  | 'round'
  | 'agreedUnits'
  | 'unit'
  | 'replica'
  | 'contributor'
  | 'lessees'
  | 'openReveals'
  | 'recentVerdicts'
  | 'isPublic'
  | 'document';

function writes(
  group: GroupCommit,
  sql: Statements,
  jobs: Jobs,
  contributions: Contributions,
): Omit<Storage, Reads | 'network' | 'secret' | 'close'> {
  return {
    addJob: (job, blocks) => group.run(() => jobs.add(job, blocks)),
    setActiveJobs: (ids) => group.run(() => jobs.setActive(ids)),
    addUnits: (job, added, now) => group.run(() => jobs.addUnits(job, added, now)),
    closeRound: (record, now) => group.run(() => jobs.closeRound(record, now)),
    anchorRound: (job, round, tx, block) => group.run(() => jobs.anchorRound(job, round, tx, block)),
    resume: (now, graceMs) => group.run(() => contributions.resume(now, graceMs)),
    greet: (contributor, now) => group.run(() => greet(sql, contributor, now)),
    lease: (request) => group.run(() => contributions.lease(request)),
    commit: (message) => group.run(() => contributions.commit(message)),
    reveal: (message) => group.run(() => contributions.reveal(message)),
    withhold: (assignment, contributor, why, now) =>
      group.run(() => contributions.withhold(assignment, contributor, why, now)),
    release: (assignment, contributor, why, now) =>
      group.run(() => contributions.release(assignment, contributor, why, now)),
    releaseAll: (contributor, why, now) => group.run(() => contributions.releaseAll(contributor, why, now)),
    tick: (now) => group.run(() => contributions.tick(now)),
    accept: (unit, attempt, blocks, now) => group.run(() => contributions.accept(unit, attempt, blocks, now)),
    reissue: (unit, attempt, why, now) => group.run(() => contributions.reissue(unit, attempt, why, now)),
    review: () => Promise.resolve({ changes: [], more: false }),
    suspects: () => Promise.resolve([]),
    survey: (online) => Promise.resolve({ ...calm, online: online.length }),
    // Here nothing is sealed: what is accepted is served.
    unseal: () => Promise.resolve(true),
    seal: (most) => group.run(() => seal(sql, most)),
    check: (now) => group.run(() => noteCheck(sql, now)),
  };
}

function reads(sql: Statements, units: UnitTable, jobs: Jobs): Pick<Storage, Reads> {
  return {
    jobs: async () => jobs.list(),
    slotsAfter: async (job, round) => jobs.slotsAfter(job, round),
    slotsOfRound: async (job, round) => jobs.slotsOfRound(job, round),
    slotsOfUnit: async (unit) => jobs.slotsOfUnit(unit),
    counts: async (job, round) => jobs.counts(job, round),
    contributorsOfRound: async (job, round) => jobs.contributorsOfRound(job, round),
    rounds: async (job, last = roundsMax) => jobs.rounds(job, Math.min(last, roundsMax)),
    round: async (job, round) => jobs.round(job, round),
    agreedUnits: async () =>
      sql.all<{ cid: Cid }>("SELECT cid FROM units WHERE phase = 'agreed'").map((row) => row.cid),
    unit: async (cid) => unitRecord(units, jobs, cid),
    replica: async (assignment) => {
      const row = units.replica(assignment);
      const program = row && units.program(row.unit);
      return row && program !== undefined ? { ...replicaRecord(row), program } : null;
    },
    contributor: async (address) => contributorRecord(sql, address),
    lessees: async () =>
      sql
        .all<{ contributor: Hex }>("SELECT DISTINCT contributor FROM replicas WHERE state = 'leased'")
        .map((row) => row.contributor),
    openReveals: async (contributor) => openReveals(sql, contributor),
    recentVerdicts: async (contributor, most) => recentVerdicts(sql, contributor, most),
    isPublic: async (cid) => sql.get('SELECT 1 FROM blocks WHERE cid = ?', cid) !== undefined,
    document: async (cid) => document(sql, cid),
  };
}

function secretOf(sql: Statements): Hex {
  const fresh = toHex(randomBytes(32));
  sql.run("INSERT OR IGNORE INTO meta (key, value) VALUES ('secret', ?)", fresh);
  return sql.get<{ value: Hex }>("SELECT value FROM meta WHERE key = 'secret'")?.value as Hex;
}

function noteCheck(sql: Statements, now: number): void {
  sql.run(
    "INSERT INTO meta (key, value) VALUES ('checked', ?) ON CONFLICT DO UPDATE SET value = excluded.value",
    String(now),
  );
}

function openDatabase(path: string): BetterSqlite3.Database {
  try {
    const db = new BetterSqlite3(path);
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    db.pragma('foreign_keys = ON');
    migrate(db);
    return db;
  } catch (cause) {
    if (cause instanceof AtollError) throw cause;
    throw new AtollError(
      'bad_config',
      `The database ${path} cannot be opened: ${(cause as Error).message}. Check that the data directory is writable and has space.`,
      { cause },
    );
  }
}

function greet(sql: Statements, contributor: Hex, now: number): ContributorRecord {
  sql.run('INSERT OR IGNORE INTO contributors (address, first_seen_at) VALUES (?, ?)', contributor, now);
  return contributorRecord(sql, contributor) as ContributorRecord;
}

function contributorRecord(sql: Statements, contributor: Hex): ContributorRecord | null {
  // The sum outgrows 2^53, so it travels as text.
  const row = sql.get<{ agreed: number; rejected: number; credit: string }>(
    'SELECT agreed, rejected, CAST(credit AS TEXT) AS credit FROM contributors WHERE address = ?',
    contributor,
  );
  return row ? { contributor, agreed: row.agreed, rejected: row.rejected, credit: BigInt(row.credit) } : null;
}

function unitRecord(units: UnitTable, jobs: Jobs, cid: Cid): UnitRecord | null {
  const row = units.row(cid);
  const place = jobs.slotsOfUnit(cid)[0];
  if (!row || !place) return null;
  const { bytes, program, operations, phase, attempt, splits, digest, reason, result } = row;
  return {
    ...{ cid, bytes, program, operations, phase, attempt, splits, digest, reason, result },
    ...{ sealed: false, overturned: false },
    job: place.job,
    round: place.record.slot.round,
    replicas: units.replicasOf(cid).map(replicaRecord),
  };
}

function replicaRecord(row: ReplicaRow): ReplicaRecord {
  const { assignment, unit, attempt, contributor, state, deadline, commitment, digest } = row;
  const result = row.result && bytesOf(row.result);
  return { assignment, unit, attempt, contributor, state, deadline, commitment, digest, result };
}

function openReveals(sql: Statements, contributor: Hex): Hex[] {
  return sql
    .all<{ assignment: Hex }>(
      `SELECT r.assignment FROM replicas r JOIN units u ON u.cid = r.unit AND u.attempt = r.attempt
       WHERE r.contributor = ? AND r.state = 'committed' AND u.phase = 'revealing'`,
      contributor,
    )
    .map((row) => row.assignment);
}

function recentVerdicts(sql: Statements, contributor: Hex, most: number): Verdict[] {
  type Row = {
    assignment: Hex;
    unit: Cid;
    state: Verdict['outcome'];
    digest: Cid | null;
    operations: number;
  };
  const rows = sql.all<Row & { reason: string }>(
    `SELECT r.assignment, r.unit, r.state, r.digest, u.operations, u.reason FROM replicas r JOIN units u ON u.cid = r.unit
     WHERE r.contributor = ? AND r.settled_at IS NOT NULL ORDER BY r.settled_at DESC LIMIT ?`,
    contributor,
    most,
  );
  return rows.reverse().map(({ assignment, unit, state, digest, operations, reason }) => ({
    ...{ assignment, contributor, unit, outcome: state },
    credit: state === 'agreed' ? operations : 0,
    reason: verdictReason(state, digest, reason),
  }));
}

function document(sql: Statements, cid: Cid): Uint8Array | null {
  const row =
    sql.get<{ bytes: Uint8Array }>('SELECT bytes FROM units WHERE cid = ?', cid) ??
    sql.get<{ bytes: Uint8Array }>(
      "SELECT result AS bytes FROM units WHERE digest = ? AND phase = 'accepted' AND result IS NOT NULL",
      cid,
    ) ??
    sql.get<{ bytes: Uint8Array }>('SELECT bytes FROM jobs WHERE id = ?', cid);
  return row ? bytesOf(row.bytes) : null;
}

function seal(sql: Statements, most: number): number {
  const last = sql.get<{ seq: number; hash: Hex }>(
    'SELECT seq, hash FROM entries WHERE hash IS NOT NULL ORDER BY seq DESC LIMIT 1',
  );
  const open = sql.all<Omit<Entry, 'postedAt'> & { posted_at: number }>(
    'SELECT seq, unit, assignment, contributor, amount, posted_at FROM entries WHERE hash IS NULL ORDER BY seq LIMIT ?',
    most,
  );
  const entries = open.map(({ posted_at, ...entry }): Entry => ({ ...entry, postedAt: posted_at }));
  for (const { seq, hash } of sealEntries(last ?? { seq: 0, hash: genesis }, entries)) {
    sql.run('UPDATE entries SET hash = ? WHERE seq = ?', hash, seq);
  }
  return entries.length;
}

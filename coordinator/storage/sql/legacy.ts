/**
 * A SQLite network of the first version (`PRAGMA user_version = 1`) moves into the tables of today: its jobs, units, replicas, rounds and blocks
 * as they are, its credit as transfers out of the account `issued`.
 *
 * What the first version did not know starts fresh: every contributor is its own owner, and proves itself anew. Its sealed ledger stays, unread,
 * as `entries_v1`.
 */
import { type Kysely, sql } from 'kysely';

/** Creates the tables of today by `create`, and fills them where there is something to move. */
export async function moveVersion1(db: Kysely<unknown>, create: () => Promise<void>): Promise<void> {
  const version = await sql<{ user_version: number }>`PRAGMA user_version`.execute(db);
  if (version.rows[0]?.user_version !== 1) return create();
  for (const statement of setAside) await sql.raw(statement).execute(db);
  await create();
  for (const statement of move) await sql.raw(statement).execute(db);
  await moveBalances(db);
  for (const table of moved) await sql.raw(`DROP TABLE ${table}_v1`).execute(db);
}

const moved = ['meta', 'jobs', 'units', 'slots', 'replicas', 'contributors', 'rounds', 'blocks'];

/** Indexes keep their names when their table gets another. */
const setAside = [
  ...[
    ...['units_wanted', 'units_due', 'units_agreed', 'units_digest', 'slots_unit'],
    ...['replicas_unit', 'replicas_open', 'replicas_settled'],
  ].map((name) => `DROP INDEX ${name}`),
  ...[...moved, 'entries'].map((name) => `ALTER TABLE ${name} RENAME TO ${name}_v1`),
];

const move = [
  'INSERT INTO meta SELECT key, value FROM meta_v1',
  `INSERT INTO jobs (id, bytes, initial, active, unigram_entropy, source_entropy, created_at, weight, finish)
    SELECT id, bytes, initial, active, unigram_entropy, source_entropy, created_at, 1, (SELECT coalesce(max(queue), 0) FROM units_v1)
    FROM jobs_v1 ORDER BY rowid`,
  'INSERT INTO slots (job, round, kind, lane, unit) SELECT job, round, kind, lane, unit FROM slots_v1',
  `INSERT INTO rounds (job, round, root, checkpoint, summary, closed_at, tx, block_number)
    SELECT job, round, root, checkpoint, summary, closed_at, tx, block_number FROM rounds_v1`,
  'INSERT INTO blocks SELECT cid FROM blocks_v1',
  `INSERT INTO units (cid, job, bytes, program, operations, quality, memory_bytes, checkpoint, phase, attempt, target, quorum, splits, until, digest, result,
      reason, wanted, due_at, queue, paused, spare, sealed, rechecks, overturned, planned_at, accepted_at)
    SELECT cid, coalesce((SELECT min(s.job) FROM slots_v1 s WHERE s.unit = units_v1.cid), ''), bytes, program, operations, 1000, 0, NULL, phase, attempt, target, 2, splits, until, digest, result,
      reason, wanted, due_at, queue, paused, 0, 0, 0, 0, planned_at, accepted_at FROM units_v1 ORDER BY rowid`,
  `INSERT INTO replicas (assignment, unit, attempt, purpose, contributor, owner, prefix, device, vendor, weight, state, leased_at, deadline,
      commitment, commit_signature, salt, digest, result, reveal_signature, credit, settled_at)
    SELECT assignment, unit, attempt, 'vote', contributor, contributor, '', '', '', CAST(weight AS INTEGER), state, leased_at, deadline,
      commitment, commit_signature, salt, digest, result, reveal_signature,
      coalesce((SELECT CAST(amount AS TEXT) FROM entries_v1 e WHERE e.assignment = r.assignment), '0'), settled_at FROM replicas_v1 r ORDER BY rowid`,
  `INSERT INTO contributors (address, owner, prefix, device, vendor, tier, stake, agreed, rejected, faults, strikes, last_rejected_at,
      outlawed_at, trusted_at, review_from, first_seen_at, last_seen_at)
    SELECT address, address, '', '', '', 'participant', '0', agreed, rejected, 0, strikes, last_rejected_at,
      NULL, NULL, NULL, first_seen_at, first_seen_at FROM contributors_v1`,
  `INSERT INTO devices (contributor, device, verified, streak, alone, faults, speed)
    SELECT address, '', 0, 0, 0, 0, speed FROM contributors_v1`,
  `INSERT INTO transfers (kind, debit, credit, amount, job, unit, assignment, reason, at)
    SELECT 'earned', 'issued', 'credit:' || contributor, CAST(amount AS TEXT),
      (SELECT job FROM slots s WHERE s.unit = e.unit ORDER BY job LIMIT 1), unit, assignment, 'earned under version 1', posted_at
    FROM entries_v1 e ORDER BY seq`,
];

/** Their sum outgrows 64 bits. */
async function moveBalances(db: Kysely<unknown>): Promise<void> {
  const earned = await sql<{ address: string; credit: string }>`
    SELECT address, CAST(credit AS TEXT) AS credit FROM contributors_v1 WHERE credit <> 0`.execute(db);
  let issued = 0n;
  for (const { address, credit } of earned.rows) {
    issued += BigInt(credit);
    await sql`INSERT INTO accounts (id, balance) VALUES (${`credit:${address}`}, ${credit})`.execute(db);
  }
  if (issued !== 0n)
    await sql`INSERT INTO accounts (id, balance) VALUES ('issued', ${String(-issued)})`.execute(db);
}

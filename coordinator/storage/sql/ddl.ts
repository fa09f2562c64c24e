/**
 * The first tables, in the words of either database. Amounts of credit outgrow 64 bits: numeric in PostgreSQL, decimal text in SQLite.
 *
 * No foreign keys: rows refer to each other by content id, and a row is written by the operation that also writes what it refers to.
 */
import type { DialectName } from './schema.ts';

interface Types {
  int: string;
  real: string;
  big: string;
  bytes: string;
  /** A key that the database counts up. */
  serial: string;
  /** After a table with a rowid, and after one that is its own index. */
  end: string;
  endKeyed: string;
}

const types: Record<DialectName, Types> = {
  sqlite: {
    int: 'INTEGER',
    real: 'REAL',
    big: 'TEXT',
    bytes: 'BLOB',
    serial: 'INTEGER PRIMARY KEY AUTOINCREMENT',
    end: 'STRICT',
    endKeyed: 'STRICT, WITHOUT ROWID',
  },
  postgres: {
    int: 'BIGINT',
    real: 'DOUBLE PRECISION',
    big: 'NUMERIC(60, 0)',
    bytes: 'BYTEA',
    serial: 'BIGSERIAL PRIMARY KEY',
    end: '',
    endKeyed: '',
  },
};

export function tablesOfRecord(dialect: DialectName): string[] {
  const t = types[dialect];
  return [
    ...jobTables(t),
    ...unitTables(t),
    ...replicaTables(t),
    ...contributorTables(t),
    ...ledgerTables(t),
    ...(dialect === 'sqlite' ? appendOnlySqlite : appendOnlyPostgres),
    ...shelfTable(t),
  ];
}

const jobTables = ({ int, real, bytes, end, endKeyed }: Types) => [
  `CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) ${endKeyed}`,
  `CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    bytes ${bytes} NOT NULL,
    initial TEXT NOT NULL,
    active ${int} NOT NULL,
    unigram_entropy ${real} NOT NULL,
    source_entropy ${real},
    created_at ${int} NOT NULL,
    weight ${real} NOT NULL,
    finish ${real} NOT NULL
  ) ${end}`,
  `CREATE TABLE slots (
    job TEXT NOT NULL,
    round ${int} NOT NULL,
    kind TEXT NOT NULL,
    lane ${int} NOT NULL,
    unit TEXT NOT NULL,
    PRIMARY KEY (job, round, kind, lane)
  ) ${endKeyed}`,
  'CREATE INDEX slots_unit ON slots (unit)',
  `CREATE TABLE rounds (
    job TEXT NOT NULL,
    round ${int} NOT NULL,
    root TEXT NOT NULL,
    checkpoint TEXT NOT NULL,
    summary TEXT NOT NULL,
    closed_at ${int} NOT NULL,
    tx TEXT,
    block_number ${int},
    PRIMARY KEY (job, round)
  ) ${endKeyed}`,
  'CREATE INDEX rounds_checkpoint ON rounds (checkpoint)',
  // Blocks that may be served.
  `CREATE TABLE blocks (cid TEXT PRIMARY KEY) ${endKeyed}`,
];

/** A unit may serve several slots, and several jobs: its id is what it computes. */
const unitTables = ({ int, real, bytes, end, endKeyed }: Types) => [
  `CREATE TABLE units (
    cid TEXT PRIMARY KEY,
    job TEXT NOT NULL,
    bytes ${bytes} NOT NULL,
    program TEXT NOT NULL,
    operations ${int} NOT NULL,
    quality ${int} NOT NULL,
    memory_bytes ${int} NOT NULL,
    checkpoint TEXT,
    phase TEXT NOT NULL,
    attempt ${int} NOT NULL,
    target ${int} NOT NULL,
    quorum ${int} NOT NULL,
    splits ${int} NOT NULL,
    until ${int},
    digest TEXT,
    result ${bytes},
    reason TEXT NOT NULL,
    wanted ${int} NOT NULL,
    due_at ${int},
    queue ${real} NOT NULL,
    paused ${int} NOT NULL,
    sealed ${int} NOT NULL,
    spare ${int} NOT NULL,
    rechecks ${int} NOT NULL,
    overturned ${int} NOT NULL,
    planned_at ${int} NOT NULL,
    accepted_at ${int}
  ) ${end}`,
  'CREATE INDEX units_wanted ON units (queue) WHERE wanted > 0 AND paused = 0',
  'CREATE INDEX units_due ON units (due_at) WHERE due_at IS NOT NULL',
  "CREATE INDEX units_agreed ON units (cid) WHERE phase = 'agreed'",
  "CREATE INDEX units_digest ON units (digest) WHERE phase = 'accepted'",
  // What is not published yet: little at any time, and asked for by whatever is shown.
  'CREATE INDEX units_overturned ON units (cid) WHERE overturned = 1',
  'CREATE INDEX units_sealed ON units (cid) WHERE sealed = 1',
  // Blocks of accepted outputs: served, in `blocks`, once their unit is no longer sealed.
  `CREATE TABLE outputs (unit TEXT NOT NULL, cid TEXT NOT NULL, PRIMARY KEY (unit, cid)) ${endKeyed}`,
];

const replicaTables = ({ int, big, bytes, end }: Types) => [
  `CREATE TABLE replicas (
    assignment TEXT PRIMARY KEY,
    unit TEXT NOT NULL,
    attempt ${int} NOT NULL,
    purpose TEXT NOT NULL,
    contributor TEXT NOT NULL,
    owner TEXT NOT NULL,
    prefix TEXT NOT NULL,
    device TEXT NOT NULL,
    vendor TEXT NOT NULL,
    weight ${int} NOT NULL,
    state TEXT NOT NULL,
    leased_at ${int} NOT NULL,
    deadline ${int} NOT NULL,
    commitment TEXT,
    commit_signature TEXT,
    salt TEXT,
    digest TEXT,
    result ${bytes},
    reveal_signature TEXT,
    credit ${big} NOT NULL,
    settled_at ${int}
  ) ${end}`,
  'CREATE INDEX replicas_unit ON replicas (unit)',
  "CREATE INDEX replicas_open ON replicas (contributor) WHERE state IN ('leased', 'committed', 'revealed')",
  'CREATE INDEX replicas_settled ON replicas (contributor, settled_at) WHERE settled_at IS NOT NULL',
];

/**
 * PostgreSQL writes a row anew for every change, and every index with it when a column that one of them mentions has changed. So open replicas are
 * found by `settled_at`, which a commit and a reveal leave alone; nothing reads `units_sealed`; and pages keep room for the next versions of
 * their rows.
 */
export const narrowIndexes = [
  'CREATE INDEX replicas_pending ON replicas (contributor) WHERE settled_at IS NULL',
  'DROP INDEX replicas_open',
  'DROP INDEX units_sealed',
  'ALTER TABLE replicas SET (fillfactor = 35)',
  'ALTER TABLE units SET (fillfactor = 60)',
  ...['contributors', 'devices', 'accounts', 'rewards', 'shares'].map(
    (table) => `ALTER TABLE ${table} SET (fillfactor = 50)`,
  ),
];

const contributorTables = ({ int, real, big, endKeyed }: Types) => [
  `CREATE TABLE contributors (
    address TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    prefix TEXT NOT NULL,
    device TEXT NOT NULL,
    vendor TEXT NOT NULL,
    tier TEXT NOT NULL,
    stake ${big} NOT NULL,
    agreed ${int} NOT NULL,
    rejected ${int} NOT NULL,
    faults ${int} NOT NULL,
    strikes ${real} NOT NULL,
    last_rejected_at ${int},
    outlawed_at ${int},
    trusted_at ${int},
    review_from TEXT,
    first_seen_at ${int} NOT NULL,
    last_seen_at ${int} NOT NULL
  ) ${endKeyed}`,
  'CREATE INDEX contributors_owner ON contributors (owner)',
  'CREATE INDEX contributors_review ON contributors (address) WHERE review_from IS NOT NULL',
  `CREATE TABLE devices (
    contributor TEXT NOT NULL,
    device TEXT NOT NULL,
    verified ${int} NOT NULL,
    streak ${int} NOT NULL,
    alone ${int} NOT NULL,
    faults ${int} NOT NULL,
    speed ${real},
    PRIMARY KEY (contributor, device)
  ) ${endKeyed}`,
];

const ledgerTables = ({ int, big, serial, end, endKeyed }: Types) => [
  `CREATE TABLE accounts (id TEXT PRIMARY KEY, balance ${big} NOT NULL) ${endKeyed}`,
  // `seq` counts without gaps and is given with the hash: numbers that a database counts up by itself are lost with a transaction that fails.
  `CREATE TABLE transfers (
    id ${serial},
    seq ${int} UNIQUE,
    kind TEXT NOT NULL,
    debit TEXT NOT NULL,
    credit TEXT NOT NULL,
    amount ${big} NOT NULL,
    job TEXT,
    unit TEXT,
    assignment TEXT,
    reason TEXT NOT NULL,
    at ${int} NOT NULL,
    hash TEXT
  ) ${end}`,
  'CREATE INDEX transfers_unsealed ON transfers (id) WHERE seq IS NULL',
  'CREATE INDEX transfers_debit ON transfers (debit, id)',
  'CREATE INDEX transfers_credit ON transfers (credit, id)',
  // Sums over the sealed transfers, kept by the sealer: what each contributor has, and what of each job is its own.
  `CREATE TABLE rewards (contributor TEXT PRIMARY KEY, amount ${big} NOT NULL) ${endKeyed}`,
  `CREATE TABLE shares (
    job TEXT NOT NULL,
    contributor TEXT NOT NULL,
    amount ${big} NOT NULL,
    PRIMARY KEY (job, contributor)
  ) ${endKeyed}`,
];

const transferColumns = 'id kind debit credit amount job unit assignment reason at'.split(' ');

const appendOnlySqlite = [
  "CREATE TRIGGER transfers_keep BEFORE DELETE ON transfers BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
  `CREATE TRIGGER transfers_fixed BEFORE UPDATE ON transfers
    WHEN OLD.hash IS NOT NULL OR ${transferColumns.map((name) => `OLD.${name} IS NOT NEW.${name}`).join(' OR ')}
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END`,
];

const appendOnlyPostgres = [
  `CREATE FUNCTION transfers_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$`,
  'CREATE TRIGGER transfers_keep BEFORE DELETE OR TRUNCATE ON transfers EXECUTE FUNCTION transfers_append_only()',
  `CREATE TRIGGER transfers_fixed BEFORE UPDATE ON transfers FOR EACH ROW
    WHEN (OLD.hash IS NOT NULL OR ${transferColumns.map((name) => `OLD.${name} IS DISTINCT FROM NEW.${name}`).join(' OR ')})
    EXECUTE FUNCTION transfers_append_only()`,
];

/** One batch of changes a row, as JSON. */
export const journalTable = 'CREATE TABLE journal (id INTEGER PRIMARY KEY, changes TEXT NOT NULL) STRICT';

const shelfTable = ({ int, endKeyed }: Types) => [
  `CREATE TABLE shelf (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    owner TEXT NOT NULL,
    value TEXT NOT NULL,
    created_at ${int} NOT NULL,
    expires_at ${int},
    PRIMARY KEY (kind, key)
  ) ${endKeyed}`,
  'CREATE INDEX shelf_owner ON shelf (kind, owner, key)',
  'CREATE INDEX shelf_expiry ON shelf (expires_at) WHERE expires_at IS NOT NULL',
];

/** What a data directory of the first version holds: its schema, word for word, and a few rows. */
export const version1 = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
  id TEXT PRIMARY KEY,
  bytes BLOB NOT NULL,
  initial TEXT NOT NULL,
  active INTEGER NOT NULL,
  unigram_entropy REAL NOT NULL,
  source_entropy REAL,
  created_at INTEGER NOT NULL
) STRICT;

-- A unit may serve several slots, and several jobs: its id is what it computes.
CREATE TABLE units (
  cid TEXT PRIMARY KEY,
  bytes BLOB NOT NULL,
  program TEXT NOT NULL,
  operations INTEGER NOT NULL,
  phase TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  target INTEGER NOT NULL,
  splits INTEGER NOT NULL,
  until INTEGER,
  digest TEXT,
  reason TEXT NOT NULL,
  -- What consensus says of the unit, kept for the indexes below.
  wanted INTEGER NOT NULL,
  due_at INTEGER,
  -- The order in which units were planned.
  queue INTEGER NOT NULL,
  paused INTEGER NOT NULL DEFAULT 0,
  result BLOB,
  planned_at INTEGER NOT NULL,
  accepted_at INTEGER
) STRICT;
CREATE INDEX units_wanted ON units (queue) WHERE wanted > 0 AND paused = 0;
CREATE INDEX units_due ON units (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX units_agreed ON units (cid) WHERE phase = 'agreed';
CREATE INDEX units_digest ON units (digest) WHERE phase = 'accepted';

CREATE TABLE slots (
  job TEXT NOT NULL,
  round INTEGER NOT NULL,
  kind TEXT NOT NULL,
  lane INTEGER NOT NULL,
  unit TEXT NOT NULL,
  PRIMARY KEY (job, round, kind, lane)
) STRICT, WITHOUT ROWID;
CREATE INDEX slots_unit ON slots (unit);

CREATE TABLE replicas (
  assignment TEXT PRIMARY KEY,
  unit TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  contributor TEXT NOT NULL,
  weight REAL NOT NULL,
  state TEXT NOT NULL,
  leased_at INTEGER NOT NULL,
  deadline INTEGER NOT NULL,
  commitment TEXT,
  commit_signature TEXT,
  salt TEXT,
  digest TEXT,
  result BLOB,
  reveal_signature TEXT,
  settled_at INTEGER
) STRICT;
CREATE INDEX replicas_unit ON replicas (unit, attempt);
CREATE INDEX replicas_open ON replicas (contributor, state) WHERE state IN ('leased', 'committed', 'revealed');
CREATE INDEX replicas_settled ON replicas (contributor, settled_at) WHERE settled_at IS NOT NULL;

CREATE TABLE contributors (
  address TEXT PRIMARY KEY,
  agreed INTEGER NOT NULL DEFAULT 0,
  rejected INTEGER NOT NULL DEFAULT 0,
  credit INTEGER NOT NULL DEFAULT 0,
  strikes INTEGER NOT NULL DEFAULT 0,
  last_rejected_at INTEGER,
  speed REAL,
  first_seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE rounds (
  job TEXT NOT NULL,
  round INTEGER NOT NULL,
  root TEXT NOT NULL,
  checkpoint TEXT NOT NULL,
  summary TEXT NOT NULL,
  closed_at INTEGER NOT NULL,
  tx TEXT,
  block_number INTEGER,
  PRIMARY KEY (job, round)
) STRICT, WITHOUT ROWID;

-- Append-only; the sealer alone fills in the hash, once.
CREATE TABLE entries (
  seq INTEGER PRIMARY KEY,
  unit TEXT NOT NULL,
  assignment TEXT NOT NULL UNIQUE,
  contributor TEXT NOT NULL,
  amount INTEGER NOT NULL,
  posted_at INTEGER NOT NULL,
  hash TEXT
) STRICT;
CREATE INDEX entries_unsealed ON entries (seq) WHERE hash IS NULL;
CREATE TRIGGER entries_keep BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER entries_fixed BEFORE UPDATE ON entries WHEN OLD.hash IS NOT NULL
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- Blocks that may be served.
CREATE TABLE blocks (cid TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

INSERT INTO meta VALUES ('network', '0x01');
INSERT INTO jobs VALUES ('job', x'00', 'initial', 1, 4.5, NULL, 10);
INSERT INTO units VALUES ('unit1', x'01', 'p@1', 9000000000000000000, 'accepted', 1, 2, 0, NULL, 'digest', 'stored', 0, NULL, 1, 0, x'0102', 11, 12);
INSERT INTO units VALUES ('unit2', x'02', 'p@1', 5, 'gathering', 1, 2, 0, NULL, NULL, 'planned', 1, 99, 2, 0, NULL, 11, NULL);
INSERT INTO slots VALUES ('job', 1, 'train', 0, 'unit1'), ('job', 1, 'train', 1, 'unit2');
INSERT INTO replicas VALUES ('0xa1', 'unit1', 1, '0xc1', 1.0, 'agreed', 1, 2, '0xd1', '0xe1', '0xf1', 'digest', x'0102', '0x0b', 3);
INSERT INTO replicas VALUES ('0xa2', 'unit1', 1, '0xc2', 1.0, 'agreed', 1, 2, '0xd2', '0xe2', '0xf2', 'digest', x'0102', '0x0b', 3);
INSERT INTO replicas VALUES ('0xa3', 'unit2', 1, '0xc1', 1.0, 'leased', 1, 99, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO contributors VALUES ('0xc1', 1, 0, 9000000000000000000, 0, NULL, 1.5, 1), ('0xc2', 1, 0, 9000000000000000000, 2, 7, NULL, 2);
INSERT INTO rounds VALUES ('job', 1, '0xroot', 'checkpoint', '{}', 20, NULL, NULL);
INSERT INTO entries VALUES (1, 'unit1', '0xa1', '0xc1', 9000000000000000000, 12, '0x11'), (2, 'unit1', '0xa2', '0xc2', 9000000000000000000, 12, NULL);
INSERT INTO blocks VALUES ('initial');
PRAGMA user_version = 1;
`;

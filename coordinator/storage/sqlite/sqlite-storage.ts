/**
 * The storage port on SQLite: WAL, group commit, a sync of the log before anything is acknowledged. One process, one file; nothing acknowledged is
 * lost on kill -9 or power cut.
 *
 * What is hot runs as operations of the record on rows kept in memory, and lies in a journal before it is in its tables; everything else as the
 * queries that both databases share. Reads see what is committed, and resolve once that is durable: a batch begins and ends within one turn of the
 * event loop, and whoever takes several has the connection for itself.
 */
import { randomBytes } from 'node:crypto';
import BetterSqlite3 from 'better-sqlite3';
import { AtollError } from '#protocol/errors.ts';
import { toHex } from '#protocol/messages/hex.ts';
import { createRecord } from '../../record/record.ts';
import { defaultRecordRules } from '../../record/rules.ts';
import { calm } from '../../record/view.ts';
import type { Presence, Storage, StorageOptions } from '../port.ts';
import { garbageMethods } from '../sql/garbage.ts';
import { jobMethods } from '../sql/jobs.ts';
import { ledgerReads } from '../sql/ledger-reads.ts';
import { seal } from '../sql/ledger.ts';
import { lineageSource } from '../sql/lineage.ts';
import { fixed, noteCheck } from '../sql/meta.ts';
import { migrateToLatest, newerVersion } from '../sql/migrations.ts';
import { guarded, type SqlPorts, type Trx } from '../sql/ports.ts';
import { recordReads } from '../sql/records.ts';
import { sqlShelf } from '../sql/shelf.ts';
import { judgedAndLiars, presenceOf, suspects } from '../sql/survey.ts';
import { type Place, replicaRecord, unitMethods, unitRecord } from '../sql/units.ts';
import { SqliteEngine } from './engine.ts';
import { kyselyOn } from './kysely.ts';
import { Log } from './log.ts';
import { Statements } from './statements.ts';
import { SqliteStore } from './store.ts';

export interface SqliteOptions extends StorageOptions {
  /** Path of the database file, or `:memory:`. */
  path: string;
  /** Units kept in memory, see `SqliteStore`. */
  keptMax?: number;
  /** How far the tables may lag behind the journal. */
  settleMs?: number;
}

/** Pages kept in memory; and how many the log may have before they move into the file: what is written often moves once. */
const cacheKiB = 65_536;
const checkpointPages = 16_384;

/** Throws `bad_config` when the file cannot be opened or written. */
export async function openSqliteStorage(options: SqliteOptions): Promise<Storage> {
  const { connection, log } = await openDatabase(options.path);
  // Whatever is read by other ways than the record's finds what it reads up to date.
  const db = kyselyOn(connection, (text) => engine.settleFor(text));
  const now = options.now ?? Date.now;
  const rules = { ...defaultRecordRules, ...options.rules };
  const store = new SqliteStore(new Statements(connection), calm, options.keptMax);
  const engine = new SqliteEngine(connection, store, {
    flushMs: options.flushMs ?? 5,
    batchMax: options.batchMax ?? 256,
    now,
    ...(log ? { sync: () => log.sync() } : {}),
    ...(options.settleMs === undefined ? {} : { settleMs: options.settleMs }),
    ...(options.onBatch ? { onBatch: options.onBatch } : {}),
  });
  const ports: SqlPorts = {
    db,
    write: (work: (trx: Trx) => Promise<never>) =>
      engine.alone(async () => {
        try {
          return await db.transaction().execute(work);
        } catch (error) {
          // Somebody may have read, and kept, what has now not happened.
          store.reset();
          throw error;
        }
      }),
    onUnits: (cids) => (cids === 'all' ? store.reset() : store.refresh(cids)),
  };
  const network = await fixed(ports, 'network', options.network);
  const secret = await fixed(ports, 'secret', toHex(randomBytes(32)));
  const durable = <T extends object>(methods: T): T => guarded(methods, () => engine.durable());
  return {
    network,
    secret,
    shelf: durable(sqlShelf(ports)),
    ledger: durable(ledgerReads(ports)),
    records: durable(recordReads(ports)),
    lineage: durable(lineageSource(db)),
    ...createRecord(engine, rules, options.random ?? randomBits),
    ...durable({
      ...jobMethods(ports, rules.consensus),
      ...unitMethods(ports),
      ...garbageMethods(ports),
      ...keptReads(store, engine, new Statements(connection)),
      seal: async (most: number) =>
        (await engine.transaction(() => store.seal(most))) ?? ports.write((trx) => seal(trx, most)),
      check: (at: number) => noteCheck(ports, at),
      suspects: (most: number) => suspects(db, most),
      survey: async (online: readonly Presence[], at: number) => {
        const judged = await judgedAndLiars(db, at);
        store.climate = { ...judged, ...presenceOf(online, store, rules) };
        return store.climate;
      },
    }),
    close: async () => {
      await engine.close();
      connection.close();
      await log?.close();
    },
  };
}

/** What the service asks for each unit, from the rows kept in memory: between batches they are what is committed. */
function keptReads(
  store: SqliteStore,
  engine: SqliteEngine,
  sql: Statements,
): Pick<Storage, 'agreed' | 'unit' | 'replica'> {
  const catchUp = () => {
    if (store.isBehind) engine.settle();
  };
  return {
    async agreed(cid) {
      catchUp();
      const row = store.unit(cid);
      if (row?.phase !== 'agreed') return null;
      const { attempt, digest } = row;
      return { cid, attempt, digest, replicas: store.replicas(cid).map(replicaRecord) };
    },
    async unit(cid) {
      catchUp();
      const row = store.unit(cid);
      const place = row && sql.get<Place>(selectPlace, cid);
      return place ? unitRecord(row, place, store.replicas(cid)) : null;
    },
    async replica(assignment) {
      catchUp();
      const row = store.replica(assignment);
      const unit = row && store.unit(row.unit);
      return unit ? { ...replicaRecord(row), program: unit.program } : null;
    },
  };
}

const selectPlace = 'SELECT job, round FROM slots WHERE unit = ? ORDER BY job, round LIMIT 1';

const randomBits = (): number => randomBytes(4).readUInt32LE();

interface Opened {
  connection: BetterSqlite3.Database;
  /** Null in memory: nothing is durable there. */
  log: Log | null;
}

async function openDatabase(path: string): Promise<Opened> {
  let db: BetterSqlite3.Database | null = null;
  try {
    db = new BetterSqlite3(path);
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    db.pragma(`cache_size = -${cacheKiB}`);
    db.pragma(`wal_autocheckpoint = ${checkpointPages}`);
    await migrate(db);
    return { connection: db, log: path === ':memory:' ? null : await Log.open(db, path) };
  } catch (cause) {
    db?.close();
    if (cause instanceof AtollError && cause.code === 'bad_config') throw cause;
    throw new AtollError(
      'bad_config',
      `The database ${path} cannot be opened: ${(cause as Error).message}. Check that the data directory is writable and has space.`,
      { cause },
    );
  }
}

/** From then on `user_version` only tells a program of the first version that this is not its own. */
const userVersion = 2;

async function migrate(db: BetterSqlite3.Database): Promise<void> {
  const version = db.pragma('user_version', { simple: true }) as number;
  if (version > userVersion) throw newerVersion(String(version));
  await migrateToLatest(kyselyOn(db), 'sqlite');
  if (version !== userVersion) db.pragma(`user_version = ${userVersion}`);
}

/**
 * The storage port on PostgreSQL, for any number of coordinator processes. What is hot runs as operations of the record on the engine's own
 * connections; everything else as the queries that both databases share, on a small pool.
 *
 * A database that goes away fails its callers with `storage_failed` until it is back; connections are made again by themselves.
 */
import { randomBytes } from 'node:crypto';
import type { Cid } from '#protocol/codec/cid.ts';
import { toHex } from '#protocol/messages/hex.ts';
import { createRecord } from '../../record/record.ts';
import { defaultRecordRules } from '../../record/rules.ts';
import { calm, type Climate } from '../../record/view.ts';
import type { Presence, Storage, StorageOptions } from '../port.ts';
import { garbageMethods } from '../sql/garbage.ts';
import { jobMethods } from '../sql/jobs.ts';
import { ledgerReads } from '../sql/ledger-reads.ts';
import { lineageSource } from '../sql/lineage.ts';
import { recordReads } from '../sql/records.ts';
import { fixed, noteCheck } from '../sql/meta.ts';
import { migrateToLatest } from '../sql/migrations.ts';
import { guarded, type SqlPorts, type Trx } from '../sql/ports.ts';
import type { Db } from '../sql/schema.ts';
import { sqlShelf } from '../sql/shelf.ts';
import { judgedAndLiars, suspects } from '../sql/survey.ts';
import { onlyAgreed, unitMethods } from '../sql/units.ts';
import { cannotConnect, isCollision } from './connection.ts';
import { PostgresEngine } from './engine.ts';
import { kyselyOn } from './kysely.ts';
import { tryLock } from './locks.ts';
import { Presences } from './presences.ts';
import { sealAll } from './sealing.ts';
import { UnitReader } from './unit-reader.ts';

export interface PostgresOptions extends StorageOptions {
  /** `postgres://...`; may hold a password, so it is never shown. */
  url: string;
  connections?: number;

  onState?: (connected: boolean) => void;
}

/** Throws `bad_config` when the database cannot be used. */
export async function openPostgresStorage(options: PostgresOptions): Promise<Storage> {
  const db = kyselyOn(options.url);
  try {
    await migrateToLatest(db, 'postgres');
    return await assemble(db, options);
  } catch (cause) {
    await db.destroy();
    throw cannotConnect(cause);
  }
}

async function assemble(db: Db, options: PostgresOptions): Promise<Storage> {
  const { url, flushMs, batchMax, connections, onBatch, onState } = options;
  const now = options.now ?? Date.now;
  const rules = { ...defaultRecordRules, ...options.rules };
  let climate: Climate = calm;
  const ports: SqlPorts = { db, write: (work) => writing(db, work), onUnits: () => undefined };
  const network = await fixed(ports, 'network', options.network);
  const secret = await fixed(ports, 'secret', toHex(randomBytes(32)));
  const presences = await Presences.open(db, rules);
  const engine = await PostgresEngine.open({
    ...{ url, now, climate: () => climate, slice: () => presences.slice },
    ...(flushMs === undefined ? {} : { flushMs }),
    ...(batchMax === undefined ? {} : { batchMax }),
    ...(connections === undefined ? {} : { connections }),
    ...(onBatch ? { onBatch } : {}),
    ...(onState ? { onState } : {}),
  });
  const units = new UnitReader(db);
  return {
    network,
    secret,
    shelf: guarded(sqlShelf(ports)),
    ledger: guarded(ledgerReads(ports)),
    records: recordReads(ports),
    lineage: guarded(lineageSource(db)),
    ...createRecord(engine, rules, options.random ?? randomBits),
    ...guarded({
      ...jobMethods(ports, rules.consensus),
      ...unitMethods(ports),
      ...garbageMethods(ports),
      unit: (cid: Cid) => units.read(cid),
      agreed: async (cid: Cid) => engine.agreed(cid) ?? onlyAgreed(await units.read(cid)),
      seal: (most: number) =>
        // Another process is at it: what there is gets sealed.
        ports.write(async (trx) => ((await tryLock(trx, 'sealer')) ? sealAll(trx, most) : 0)),
      check: (at: number) => noteCheck(ports, at),
      suspects: (most: number) => suspects(db, most),
      survey: async (online: readonly Presence[], at: number) => {
        climate = { ...(await judgedAndLiars(db, at)), ...(await presences.note(online)) };
        return climate;
      },
    }),
    close: async () => {
      await engine.close();
      await presences.close();
      await db.destroy();
    },
  };
}

const randomBits = (): number => randomBytes(4).readUInt32LE();

const collisionsMax = 8;

/** One transaction, run again when it meets another one. */
async function writing<T>(db: Db, work: (trx: Trx) => Promise<T>): Promise<T> {
  for (let collisions = 0; ; collisions++) {
    try {
      return await db.transaction().execute(work);
    } catch (error) {
      if (!isCollision(error) || collisions === collisionsMax) throw error;
      await new Promise((resolve) => setTimeout(resolve, (1 + Math.random()) * 5 * 2 ** collisions));
    }
  }
}

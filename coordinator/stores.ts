/**
 * What a coordinator keeps its state in, opened by its options: a data directory of its own, or PostgreSQL shared with other processes, with
 * blocks in a folder or on S3 and a bus between the processes.
 */
import { join } from 'node:path';
import type { Hex } from 'viem';
import { noBus } from './bus/local.ts';
import { openNatsBus } from './bus/nats.ts';
import type { EventBus } from './bus/port.ts';
import { openPostgresBus } from './bus/postgres.ts';
import type { Rules } from './consensus/consensus.ts';
import type { RecordRules } from './record/rules.ts';
import type { SchedulerRules } from './scheduler/scheduler.ts';
import {
  type Clock,
  type Logger,
  type Random,
  silentLogger,
  systemClock,
  systemRandom,
} from './service/ports.ts';
import { type BlobStore, openBlobs } from './storage/blobs.ts';
import { openS3Blobs, type S3Options } from './storage/blobs-s3.ts';
import { lockDataDir } from './storage/lock.ts';
import type { Storage } from './storage/port.ts';
import { Leadership } from './storage/postgres/locks.ts';
import { openPostgresStorage } from './storage/postgres/postgres-storage.ts';
import { openSqliteStorage } from './storage/sqlite/sqlite-storage.ts';

export interface StoreOptions {
  /** Keeps the database and the blocks where neither is elsewhere. */
  dataDir: string;
  /** PostgreSQL, in place of the data directory's own database; several coordinators may share it. */
  databaseUrl?: string;
  /** NATS for the bus between coordinators; PostgreSQL carries it without. */
  natsUrl?: string;
  /** Blocks on S3 in place of the data directory. */
  blockStore?: S3Options | null;
  /** Id of a new network; random unless given. A database that has one keeps it. */
  networkId?: Hex;
  rules?: Rules;
  scheduling?: SchedulerRules;
  /** The operator's own contributors, whose word is final. */
  referees?: readonly Hex[];
  clock?: Clock;
  random?: Random;
  logger?: Logger;
}

export interface Stores {
  storage: Storage;
  blobs: BlobStore;
  bus: EventBus;
  /** Whether this process is the one that anchors. */
  leads: () => Promise<boolean>;
}

type Undo = (step: () => void | Promise<void>) => void;

/** Opens everything, and notes how each is closed. Throws `bad_config`, naming the setting. */
export async function openStores(
  options: StoreOptions,
  onBatch: (size: number, ms: number) => void,
  undo: Undo,
): Promise<Stores> {
  const { databaseUrl, dataDir, blockStore } = options;
  if (!databaseUrl) {
    const lock = lockDataDir(dataDir);
    undo(() => lock.release());
  }
  const blobs = blockStore
    ? await openS3Blobs(blockStore)
    : await openBlobs(join(dataDir, 'blobs'), { shared: Boolean(databaseUrl) });
  const storage = await openStorage(options, onBatch);
  undo(() => storage.close());
  if (!databaseUrl) return { storage, blobs, bus: noBus, leads: async () => true };
  const bus = await openBus(options, databaseUrl, storage.network);
  undo(() => bus.close());
  const leadership = new Leadership(databaseUrl, 'anchoring');
  undo(() => leadership.close());
  return { storage, blobs, bus, leads: () => leadership.isLeader() };
}

function openStorage(options: StoreOptions, onBatch: (size: number, ms: number) => void): Promise<Storage> {
  const { databaseUrl, dataDir, clock = systemClock, random = systemRandom } = options;
  const common = {
    network: options.networkId ?? random.bytes32(),
    random: () => random.u32(),
    now: () => clock.now(),
    onBatch,
    rules: rulesOf(options),
  };
  if (!databaseUrl) return openSqliteStorage({ ...common, path: join(dataDir, 'atoll.sqlite') });
  const log = options.logger ?? silentLogger;
  const onState = (connected: boolean) =>
    connected
      ? log.info({}, 'The database is connected.')
      : log.error({}, 'The database is gone; trying again.');
  return openPostgresStorage({ ...common, url: databaseUrl, onState });
}

function rulesOf({ rules, scheduling, referees }: StoreOptions): Partial<RecordRules> {
  return {
    ...(rules ? { consensus: rules } : {}),
    ...(scheduling ? { scheduling } : {}),
    ...(referees ? { referees: new Set(referees) } : {}),
  };
}

function openBus({ natsUrl }: StoreOptions, databaseUrl: string, network: Hex): Promise<EventBus> {
  return natsUrl ? openNatsBus({ url: natsUrl, network }) : openPostgresBus({ url: databaseUrl });
}

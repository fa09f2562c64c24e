/**
 * What a coordinator keeps its state in, opened by its options: a data directory of its own, or PostgreSQL shared with other processes, with
 * blocks in a folder or on S3 and a bus between the processes.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AtollError } from '#protocol/errors.ts';
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
  await checkBlocks(storage, await placeOf(options), (options.clock ?? systemClock).now());
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

/** What tells one place for blocks from another: the bucket, or a random id that a folder is given once. */
async function placeOf({ blockStore, dataDir }: StoreOptions): Promise<string> {
  if (blockStore) return `${blockStore.endpoint}/${blockStore.bucket}`;
  const path = join(dataDir, 'blocks-id');
  const fresh = (systemRandom.bytes32() as string).slice(2);
  // Of two processes that begin at once, the second finds the file of the first.
  await writeFile(path, fresh, { flag: 'wx' }).catch(() => undefined);
  for (;;) {
    const id = await readFile(path, 'utf8');
    if (id.length === fresh.length) return id;
    // The other one is in the middle of writing it.
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A block that one process stores must be there for all: they need one place. Throws `bad_config` for another than the first one's. */
async function checkBlocks({ shelf }: Storage, place: string, now: number): Promise<void> {
  const record = { kind: 'blocks', key: 'place', owner: '', value: JSON.stringify(place) };
  await shelf.add({ ...record, createdAt: now, expiresAt: null }, now);
  const known = await shelf.get('blocks', 'place', now);
  if (known?.value === record.value) return;
  throw new AtollError(
    'bad_config',
    'Another coordinator of this database keeps its blocks elsewhere. Give all of them one S3 bucket (S3_*), or one data directory on a shared disk.',
  );
}

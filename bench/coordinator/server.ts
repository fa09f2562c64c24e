/**
 * The coordinator under load, in a process of its own: the real one, with every port of production. Before it starts, its data can be seeded with
 * work and compared with what an earlier life of it had acknowledged.
 */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { join } from 'node:path';
import BetterSqlite3 from 'better-sqlite3';
import pg from 'pg';
import { cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import { type Coordinator, createCoordinator } from '#coordinator/main.ts';
import { type Blobs, openBlobs } from '#coordinator/storage/blobs.ts';
import type { Storage } from '#coordinator/storage/port.ts';
import { openPostgresStorage } from '#coordinator/storage/postgres/postgres-storage.ts';
import { openSqliteStorage } from '#coordinator/storage/sqlite/sqlite-storage.ts';
import { fakeInitialCheckpoint } from '#coordinator/testing/fake-programs.ts';
import { serveCalls } from './child.ts';
import { seedWork } from './work.ts';

export interface ServerStart {
  dataDir: string;
  /** PostgreSQL in place of SQLite. */
  databaseUrl: string | null;
  port: number;
}

/** What the coordinator has said it will not forget. */
export interface Acknowledged {
  commits: [assignment: Hex, commitment: Hex][];
  reveals: [assignment: Hex, result: Uint8Array][];
}

/** What the process has used since it began; memory after a collection where one can be had (`--expose-gc`). */
export interface Usage {
  cpuSeconds: number;
  residentBytes: number;
  heapBytes: number;
}

let coordinator: Coordinator | null = null;
let profiler: Session | null = null;
const network: Hex = `0x${'42'.repeat(32)}`;

const databaseFile = (dataDir: string) => join(dataDir, 'atoll.sqlite');

function openStorage({ dataDir, databaseUrl }: ServerStart): Promise<Storage> {
  if (databaseUrl === null) return openSqliteStorage({ path: databaseFile(dataDir), network });
  return openPostgresStorage({ url: databaseUrl, network });
}

async function withStorage<T>(
  start: ServerStart,
  use: (storage: Storage, blobs: Blobs) => Promise<T>,
): Promise<T> {
  const storage = await openStorage(start);
  try {
    return await use(storage, await openBlobs(join(start.dataDir, 'blobs')));
  } finally {
    await storage.close();
  }
}

const wakeUp = 'UPDATE units SET paused = 0';

/** The job rests, so that nobody plans it any further and looks at all its units for that; its units do not. */
async function wakeUnits({ dataDir, databaseUrl }: ServerStart): Promise<void> {
  if (databaseUrl === null) {
    const db = new BetterSqlite3(databaseFile(dataDir));
    db.exec(wakeUp);
    db.close();
    return;
  }
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(wakeUp);
  await client.end();
}

/** Assignments whose acknowledged commit or reveal the database does not have. */
async function lostOf({ commits, reveals }: Acknowledged, storage: Storage): Promise<Hex[]> {
  const lost: Hex[] = [];
  for (const [assignment, commitment] of commits) {
    if ((await storage.replica(assignment))?.commitment !== commitment) lost.push(assignment);
  }
  for (const [assignment, result] of reveals) {
    const digest = (await storage.replica(assignment))?.digest;
    if (digest !== cidOfSync(result, cborCode)) lost.push(assignment);
  }
  return lost;
}

serveCalls({
  async seed({ units, ...start }: ServerStart & { units: number }): Promise<void> {
    await withStorage(start, (storage, blobs) => seedWork(storage, blobs, units));
    await wakeUnits(start);
  },
  lost: ({ acknowledged, ...start }: ServerStart & { acknowledged: Acknowledged }): Promise<Hex[]> =>
    withStorage(start, (storage) => lostOf(acknowledged, storage)),
  async start({ dataDir, databaseUrl, port }: ServerStart): Promise<number> {
    coordinator = await createCoordinator({
      dataDir,
      port,
      initialCheckpoint: fakeInitialCheckpoint,
      ...(databaseUrl === null ? {} : { databaseUrl }),
    });
    return coordinator.port;
  },
  usage(): Usage {
    globalThis.gc?.();
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed } = process.memoryUsage();
    return { cpuSeconds: (user + system) / 1e6, residentBytes: rss, heapBytes: heapUsed };
  },
  async profile(): Promise<void> {
    profiler = new Session();
    profiler.connect();
    await profiler.post('Profiler.enable');
    await profiler.post('Profiler.setSamplingInterval', { interval: 500 });
    await profiler.post('Profiler.start');
  },
  /** For Chrome's DevTools. */
  async saveProfile(file: string): Promise<void> {
    const stopped = await profiler?.post('Profiler.stop');
    if (stopped) writeFileSync(file, JSON.stringify(stopped.profile));
  },
  async close(): Promise<void> {
    await coordinator?.close();
  },
});

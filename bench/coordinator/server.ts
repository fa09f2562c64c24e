/** The coordinator under load, in a process of its own: the real one, with every port of production, on a data directory that is seeded first. */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { join } from 'node:path';
import type { Hex } from 'viem';
import { type Coordinator, createCoordinator } from '#coordinator/main.ts';
import { openBlobs } from '#coordinator/storage/blobs.ts';
import { openSqliteStorage } from '#coordinator/storage/sqlite/sqlite-storage.ts';
import { fakeInitialCheckpoint } from '#coordinator/testing/fake-programs.ts';
import { serveCalls } from './child.ts';
import { seedWork } from './work.ts';

export interface ServerStart {
  dataDir: string;
  port: number;
  /** Units added before the start. */
  units: number;
}

/** What the process has used since it began; memory after a collection where one can be had (`--expose-gc`). */
export interface Usage {
  cpuSeconds: number;
  residentBytes: number;
  heapBytes: number;
}

let coordinator: Coordinator | null = null;
let profiler: Session | null = null;

async function seed({ dataDir, units }: ServerStart): Promise<void> {
  const network: Hex = `0x${'42'.repeat(32)}`;
  const storage = openSqliteStorage({ path: join(dataDir, 'atoll.sqlite'), network });
  await seedWork(storage, await openBlobs(join(dataDir, 'blobs')), units);
  await storage.close();
}

serveCalls({
  async start(options: ServerStart): Promise<number> {
    if (options.units > 0) await seed(options);
    coordinator = await createCoordinator({
      dataDir: options.dataDir,
      port: options.port,
      initialCheckpoint: fakeInitialCheckpoint,
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

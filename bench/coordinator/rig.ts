/** One or more coordinators on one database and a load generator, each in its own process. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { routes } from '#protocol/http/api.ts';
import { type Child, startChild } from './child.ts';
import type { LoadReport, LoadStart } from './load/main.ts';
import type { Acknowledged, ServerStart, Usage } from './server.ts';

export interface RigOptions {
  /** Blocks, and the database unless it is PostgreSQL. */
  dataDir: string;
  databaseUrl?: string | null;
  /** Coordinators. */
  servers?: number;
  /** Units to be computed. */
  units: number;
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** A folder for as long as `use` runs, on the file system that data would be on. */
export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-bench-'));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const startServer = () => startChild('server.ts', ['--expose-gc']);

export class Rig {
  readonly #where: Omit<ServerStart, 'port'>;
  readonly #load: Child = startChild('load/main.ts');
  readonly #servers: Child[] = [];
  readonly #ports: number[] = [];

  private constructor(where: Omit<ServerStart, 'port'>) {
    this.#where = where;
  }

  static async open({ dataDir, databaseUrl = null, servers = 1, units }: RigOptions): Promise<Rig> {
    mkdirSync(dataDir, { recursive: true });
    const where = { dataDir, databaseUrl };
    // By a process of its own, so that what it took is not counted as the coordinator's.
    const seeder = startServer();
    await seeder.call('seed', { ...where, port: 0, units }).finally(() => seeder.kill());
    const rig = new Rig(where);
    try {
      for (let i = 0; i < servers; i++) await rig.#start(i, startServer());
    } catch (error) {
      await rig.close();
      throw error;
    }
    return rig;
  }

  /** On the port that it had before, if it had one. */
  async #start(index: number, server: Child): Promise<void> {
    this.#servers[index] = server;
    const port = this.#ports[index] ?? 0;
    this.#ports[index] = await server.call<number>('start', { ...this.#where, port });
  }

  /** Resolves once that many contributors have been greeted. */
  async load(options: Omit<LoadStart, 'urls'>): Promise<void> {
    const urls = this.#ports.map((port) => `ws://127.0.0.1:${port}${routes.contribute}`);
    await this.#load.call('start', { ...options, urls } satisfies LoadStart);
  }

  pace(perSecond: number): Promise<void> {
    return this.#load.call('pace', perSecond);
  }

  report(): Promise<LoadReport> {
    return this.#load.call('report');
  }

  /** Of all coordinators together. */
  async usage(): Promise<Usage> {
    const each = await Promise.all(this.#servers.map((server) => server.call<Usage>('usage')));
    const sum = (key: keyof Usage) => each.reduce((total, usage) => total + usage[key], 0);
    return {
      cpuSeconds: sum('cpuSeconds'),
      residentBytes: sum('residentBytes'),
      heapBytes: sum('heapBytes'),
    };
  }

  /** What the first coordinator's main thread does for so long, as a file for Chrome's DevTools. */
  async profile(ms: number, file: string): Promise<void> {
    await this.#servers[0]?.call('profile');
    await sleep(ms);
    await this.#servers[0]?.call('saveProfile', file);
  }

  /** kill -9 of one coordinator, picked by `random` (0 to 1), and up again; resolves with what had been acknowledged since the last time and is gone. */
  async crash(random: number): Promise<string[]> {
    const index = Math.floor(random * this.#servers.length);
    await this.#servers[index]?.kill();
    const server = startServer();
    const lost = await this.#lost(server, false);
    await this.#start(index, server);
    return lost;
  }

  /** Ends every coordinator; resolves with what had ever been acknowledged and is gone. */
  async end(): Promise<string[]> {
    await Promise.all(this.#servers.map((server) => server.kill()));
    const reader = startServer();
    return this.#lost(reader, true).finally(() => reader.kill());
  }

  async #lost(reader: Child, all: boolean): Promise<string[]> {
    const acknowledged = await this.#load.call<Acknowledged>('acknowledged', all);
    return reader.call('lost', { ...this.#where, port: 0, acknowledged });
  }

  async close(): Promise<void> {
    await Promise.all([this.#load, ...this.#servers].map((child) => child.kill()));
  }
}

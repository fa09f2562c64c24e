/** One coordinator and one load generator, each in its own process, on a data directory of their own. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { routes } from '#protocol/http/api.ts';
import { type Child, startChild } from './child.ts';
import type { LoadReport, LoadStart } from './load/main.ts';
import type { Acknowledged, Usage } from './server.ts';

export interface RigOptions {
  dataDir: string;
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

export class Rig {
  readonly #dataDir: string;
  readonly #load: Child = startChild('load/main.ts');
  #server: Child = startChild('server.ts', ['--expose-gc']);
  #port = 0;

  private constructor(dataDir: string) {
    this.#dataDir = dataDir;
  }

  static async open({ dataDir, units }: RigOptions): Promise<Rig> {
    mkdirSync(dataDir, { recursive: true });
    // By a process of its own, so that what it took is not counted as the coordinator's.
    const seeder = startChild('server.ts');
    await seeder.call('seed', { dataDir, port: 0, units }).finally(() => seeder.kill());
    const rig = new Rig(dataDir);
    await rig.#start().catch(async (error: unknown) => {
      await rig.close();
      throw error;
    });
    return rig;
  }

  async #start(): Promise<void> {
    this.#port = await this.#server.call<number>('start', { dataDir: this.#dataDir, port: this.#port });
  }

  /** Resolves once that many contributors have been greeted. */
  async load(options: Omit<LoadStart, 'url'>): Promise<void> {
    const url = `ws://127.0.0.1:${this.#port}${routes.contribute}`;
    await this.#load.call('start', { ...options, url } satisfies LoadStart);
  }

  pace(perSecond: number): Promise<void> {
    return this.#load.call('pace', perSecond);
  }

  report(): Promise<LoadReport> {
    return this.#load.call('report');
  }

  usage(): Promise<Usage> {
    return this.#server.call('usage');
  }

  /** kill -9, and up again on the same port; resolves with what had been acknowledged and is gone. */
  async crash(): Promise<string[]> {
    await this.#server.kill();
    const acknowledged = await this.#load.call<Acknowledged>('acknowledged');
    this.#server = startChild('server.ts', ['--expose-gc']);
    const data = { dataDir: this.#dataDir, port: this.#port };
    const lost = await this.#server.call<string[]>('lost', { ...data, acknowledged });
    await this.#start();
    return lost;
  }

  async close(): Promise<void> {
    await this.#load.kill();
    await this.#server.kill();
  }
}

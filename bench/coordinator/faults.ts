/** What the coordinator must survive while contributors are at work: kill -9 at random moments, and a disk without space. */
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PostgresServer } from '#scripts/services/postgres.ts';
import { mix } from '#coordinator/planner/random.ts';
import { Rig, sleep, withFolder } from './rig.ts';

export interface Survived {
  /** Acknowledged commits and reveals that were not in the database afterwards. */
  lost: number;
  /** Acknowledged in all. */
  acknowledged: number;
  /** Times it was brought down, or out of space. */
  faults: number;
}

/** The moments of a run; ATOLL_SEED plays them again, as far as a machine's own timing can be. */
function momentsOf(say: (line: string) => void): (n: number) => number {
  const seed = Number(process.env['ATOLL_SEED'] ?? randomInt(2 ** 31));
  say(`  moments: ATOLL_SEED=${seed}`);
  return (n) => mix(seed, n) / 2 ** 32;
}

export interface KillOptions {
  databaseUrl?: string;
  servers?: number;
  kills: number;
  contributors: number;
  units: number;
  /** Between a start and the next kill; the moment is random. */
  aliveMsMax: number;
  say: (line: string) => void;
}

export function killAtRandom({
  kills,
  contributors,
  units,
  aliveMsMax,
  say,
}: KillOptions): Promise<Survived> {
  return withFolder(async (dataDir) => {
    const moment = momentsOf(say);
    const rig = await Rig.open({ dataDir, units });
    try {
      await rig.load({ contributors, eager: true, remember: true });
      let lost = 0;
      for (let kill = 0; kill < kills; kill++) {
        await sleep(moment(2 * kill) * aliveMsMax);
        lost += (await rig.crash(moment(2 * kill + 1))).length;
        if (kill % 10 === 9) say(`  ${kill + 1} kills, ${lost} lost`);
      }
      lost += (await rig.end()).length;
      const { commits, reveals } = await rig.report();
      return { lost, acknowledged: commits + reveals, faults: kills };
    } finally {
      await rig.close();
    }
  });
}

const fullMs = 3_000;
const diskBytes = 128 << 20;
const workMsMax = 60_000;

/** Why a small disk cannot be had here; null when it can. */
export function noSmallDisk(): string | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return 'mounting a small disk takes root on Linux';
  return null;
}

/** A file system of a few megabytes that is full for a while, under load; then it has space again, and work goes on. */
export function runOutOfSpace(contributors: number): Promise<Survived> {
  return withFolder(async (folder) => {
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${diskBytes}`, 'tmpfs', disk]);
    try {
      return await onSmallDisk(disk, contributors);
    } finally {
      execFileSync('umount', ['-l', disk]);
    }
  });
}

async function onSmallDisk(disk: string, contributors: number): Promise<Survived> {
  const rig = await Rig.open({ dataDir: join(disk, 'data'), units: 20_000 });
  try {
    await rig.load({ contributors, eager: true, remember: true });
    await sleep(1_000);
    fill(join(disk, 'filler'));
    await sleep(fullMs);
    const full = await rig.report();
    rmSync(join(disk, 'filler'));
    await revealsBeyond(rig, full.reveals + contributors);
    const lost = (await rig.end()).length;
    const { commits, reveals, problems } = await rig.report();
    if (!problems['storage_failed']) throw new Error('The disk was never full.');
    return { lost, acknowledged: commits + reveals, faults: 1 };
  } finally {
    await rig.close();
  }
}

/** Takes what space there is, to the last bytes. */
function fill(file: string): void {
  for (const chunk of [1 << 20, 4096]) {
    try {
      for (;;) writeFileSync(file, Buffer.alloc(chunk), { flag: 'a' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }
}

/** Fails when work does not go on. */
async function revealsBeyond(rig: Rig, reveals: number): Promise<void> {
  for (const until = performance.now() + workMsMax; performance.now() < until; await sleep(100)) {
    if ((await rig.report()).reveals > reveals) return;
  }
  throw new Error('Work did not go on.');
}

const downMs = 1_500;

/** PostgreSQL is killed under load, stays away for a moment and comes back, several times. */
export function restartPostgres(
  postgres: Pick<PostgresServer, 'halt' | 'resume'>,
  databaseUrl: string,
  restarts: number,
  say: (line: string) => void,
): Promise<Survived> {
  return withFolder(async (dataDir) => {
    const moment = momentsOf(say);
    const rig = await Rig.open({ dataDir, databaseUrl, servers: 2, units: 20_000 });
    try {
      await rig.load({ contributors: 32, eager: true, remember: true });
      for (let i = 0; i < restarts; i++) {
        await sleep(1_000 + moment(i) * 1_000);
        await postgres.halt(i % 2 === 0 ? 'crash' : 'fast');
        await sleep(downMs);
        const { reveals } = await rig.report();
        await postgres.resume();
        await revealsBeyond(rig, reveals + 64);
      }
      const lost = (await rig.end()).length;
      const { commits, reveals } = await rig.report();
      return { lost, acknowledged: commits + reveals, faults: restarts };
    } finally {
      await rig.close();
    }
  });
}

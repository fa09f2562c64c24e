/**
 * The headless contributor as its operator has it, in a process of its own: the memory it holds while there is no work, and how long it takes from its start
 * to its first lease when it has run before.
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type Coordinator, createCoordinator } from '#coordinator/main.ts';
import { probeDigest } from '#kernels/index.ts';
import { initialCheckpoint } from '#kernels/model/init.ts';
import type { BenchRow } from '#scripts/bench.ts';
import { startNode } from '#test/e2e/node-process.ts';
import { job, text } from '#test/e2e/rig.ts';
import { bounded, information, median } from '../rig/duel.ts';

/** From the welcome on: what was only needed to start is collected meanwhile. */
const idleSeconds = 30;

export async function footprintRows(say: (line: string) => void, quick: boolean): Promise<BenchRow[]> {
  const dir = await mkdtemp(path.join(tmpdir(), 'atoll-bench-node-'));
  const coordinator = await createCoordinator({
    dataDir: path.join(dir, 'coordinator'),
    port: 0,
    initialCheckpoint,
    probe: probeDigest,
    p2p: {},
  });
  try {
    const idle = await idleMemory(coordinator, dir, quick ? 5 : idleSeconds);
    say(`  idle: ${(idle / 2 ** 20).toFixed(0)} MB`);
    await coordinator.ensureJob(job, text);
    const starts: number[] = [];
    for (let i = 0; i < (quick ? 2 : 7); i++) starts.push(await secondsToLease(coordinator, dir));
    say(`  start to first lease: ${starts.map((s) => s.toFixed(2)).join(', ')} s`);
    return [
      bounded('node, idle memory', idle / 2 ** 20, 'MB', { atMost: 150, aim: 80 }),
      bounded('node, start to first lease', median(starts.slice(1)), 's', { atMost: 5, aim: 2 }),
      information('node, first start to first lease', starts[0] as number, 's'),
    ];
  } finally {
    await coordinator.close();
    await rm(dir, { recursive: true, force: true });
  }
}

const start = ({ url }: Coordinator, dir: string) =>
  startNode([
    '--url',
    url,
    '--backend',
    'wasm',
    '--data-dir',
    path.join(dir, 'node'),
    '--drain-seconds',
    '0',
  ]);

/** Resident bytes of a contributor that is connected, with peers on as they are by default, and has nothing to do. */
async function idleMemory(coordinator: Coordinator, dir: string, seconds: number): Promise<number> {
  const node = await start(coordinator, dir);
  try {
    await node.says(/"phase":"waiting"/);
    await wait(seconds * 1000);
    const status = readFileSync(`/proc/${node.child.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
  } finally {
    await node.end();
  }
}

async function secondsToLease(coordinator: Coordinator, dir: string): Promise<number> {
  const from = performance.now();
  const node = await start(coordinator, dir);
  try {
    await node.says(/"phase":"(fetching|computing)"/);
    return (performance.now() - from) / 1e3;
  } finally {
    await node.end();
  }
}

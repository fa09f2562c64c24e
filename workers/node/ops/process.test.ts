/** A node in earnest, as a process: what it serves while it works for a real coordinator, and how it rests by its schedule. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Coordinator, createCoordinator } from '#coordinator/main.ts';
import { testJob, testText } from '#coordinator/testing/fake-programs.ts';
import { probeDigest } from '#kernels/index.ts';
import { initialCheckpoint } from '#kernels/model/init.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
let dir: string;
let coordinator: Coordinator;
let children: ChildProcess[] = [];

beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'atoll-node-ops-'));
  const dataDir = path.join(dir, 'coordinator');
  coordinator = await createCoordinator({ dataDir, port: 0, initialCheckpoint, probe: probeDigest });
  await coordinator.ensureJob(testJob(), testText());
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children = [];
  await coordinator.close();
  await rm(dir, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function node(...args: string[]): ChildProcess {
  const program = ['--import', './scripts/raw-hooks.ts', 'workers/node/main.ts', 'run'];
  const common = [
    '--url',
    coordinator.url,
    '--data-dir',
    dir,
    '--backend',
    'reference',
    '--peers',
    'off',
    '--drain-seconds',
    '2',
  ];
  const child = spawn(process.execPath, [...program, ...common, ...args], { cwd: root, stdio: 'ignore' });
  children.push(child);
  return child;
}

/** Asks until it says so. */
async function until(url: string, isSo: (status: number, text: string) => boolean): Promise<string> {
  for (;;) {
    const answer = await fetch(url).catch(() => null);
    const text = (await answer?.text()) ?? '';
    if (answer && isSo(answer.status, text)) return text;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

it('is ready, computes, and says so', async () => {
  const port = await freePort();
  const child = node('--health-port', String(port), '--name', 'box');
  await until(`http://127.0.0.1:${port}/readyz`, (status) => status === 200);
  const computed = /atoll_node_computing_seconds_total\{worker="box"\} (?!0$)\d/m;
  const text = await until(`http://127.0.0.1:${port}/metrics`, (_, text) => computed.test(text));
  expect(text).toMatch(/direction="up",with="coordinator"\} [1-9]/);
  const exited = new Promise((resolve) => child.once('exit', (code) => resolve(code)));
  child.kill('SIGTERM');
  // With one contributor nothing is agreed on, so results may be left to the next start.
  expect([0, 7]).toContain(await exited);
});

it('is ready and takes nothing outside its hours', async () => {
  const port = await freePort();
  const later = String(new Date(Date.now() + 12 * 60 * 60_000).getHours()).padStart(2, '0');
  node('--health-port', String(port), '--schedule', `${later}:00-${later}:01`);
  const text = await until(`http://127.0.0.1:${port}/readyz`, (status) => status === 200);
  expect(JSON.parse(text)).toMatchObject({ workers: [{ phase: 'paused', held: ['schedule'] }] });
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(metrics).toContain('atoll_node_computing_seconds_total{worker="contributor"} 0\n');
});

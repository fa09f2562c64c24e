/** The headless contributor as a process: settings, signals, exit codes, and a few real units for a real coordinator. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile as writeText } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCoordinator } from '#coordinator/main.ts';
import { runJob } from '#coordinator/planner/run-job.ts';
import { testJob, testText } from '#coordinator/testing/fake-programs.ts';
import { createDevice, executeWorkunit, probeDigest } from '#kernels/index.ts';
import { initialCheckpoint } from '#kernels/model/init.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import { writeFile } from '#protocol/messages/file.ts';
import type { Workunit } from '#protocol/messages/workunit.ts';
import { findChromium, swiftshaderEnv } from '#scripts/find-chromium.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const nobody = 'http://127.0.0.1:1';
let dir: string;
let children: Contributor[] = [];

class Contributor {
  readonly process: ChildProcess;
  stdout = '';
  stderr = '';
  readonly exited: Promise<number | null>;

  constructor(args: string[], env: NodeJS.ProcessEnv = {}) {
    const command = ['--import', './scripts/raw-hooks.ts', 'workers/node/main.ts', ...args];
    this.process = spawn(process.execPath, command, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: 'pipe',
    });
    this.process.stdout?.on('data', (text: Buffer) => (this.stdout += text.toString()));
    this.process.stderr?.on('data', (text: Buffer) => (this.stderr += text.toString()));
    this.exited = new Promise((resolve) => this.process.once('exit', (code) => resolve(code)));
    children.push(this);
  }

  async says(words: RegExp): Promise<void> {
    while (!words.test(this.stdout)) {
      if (this.process.exitCode !== null) throw new Error(`It ended: ${this.stdout}${this.stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

beforeEach(async () => (dir = await mkdtemp(path.join(tmpdir(), 'atoll-node-'))));
afterEach(async () => {
  for (const child of children) child.process.kill('SIGKILL');
  await Promise.all(children.map(({ exited }) => exited));
  children = [];
  await rm(dir, { recursive: true, force: true });
});

/** The environment of a machine without a Vulkan driver. */
const noDriver = { VK_DRIVER_FILES: '/nonexistent', VK_ICD_FILENAMES: '/nonexistent' };
const contribute = (...args: string[]) => new Contributor(['--url', nobody, '--data-dir', dir, ...args]);

describe('the headless contributor', () => {
  it('explains itself', async () => {
    const child = new Contributor(['--help']);
    expect(await child.exited).toBe(0);
    expect(child.stdout).toMatch(/Usage: [^]*Exit codes/);
  });

  it('exits with 2 and a remedy when a setting is not usable', async () => {
    const child = contribute('--backend', 'abacus');
    expect(await child.exited).toBe(2);
    expect(child.stderr).toMatch(/--backend must be .*--help/);
    await writeText(path.join(dir, 'file'), '');
    const unwritable = new Contributor(['--url', nobody, '--data-dir', path.join(dir, 'file')]);
    expect(await unwritable.exited).toBe(2);
    expect(unwritable.stdout).toMatch(/--data-dir/);
  });

  it('exits with 3 where the backend that was asked for is not there, instead of taking another', async () => {
    const child = new Contributor(['--url', nobody, '--data-dir', dir, '--backend', 'webgpu'], noDriver);
    expect(await child.exited).toBe(3);
    expect(child.stdout).toMatch(/"phase":"failed"/);
  });

  it('keeps trying to connect, and leaves with 0 when told to; the key is not in the logs', async () => {
    const child = contribute('--name', 'local-7', '--log-level', 'debug');
    await child.says(/cannot be reached. Trying again/);
    child.process.kill('SIGTERM');
    expect(await child.exited).toBe(0);
    const file = path.join(dir, 'local-7.key');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const key = (await readFile(file, 'utf8')).trim();
    expect(child.stdout + child.stderr).not.toContain(key.slice(2));
    for (const line of child.stdout.trim().split('\n'))
      expect(JSON.parse(line)).toMatchObject({ name: 'local-7' });
  });

  it('leaves when its parent closes standard input, if asked to', async () => {
    const child = contribute('--exit-with-parent');
    await child.says(/Starting/);
    child.process.stdin?.end();
    expect(await child.exited).toBe(0);
  });

  it('stays when standard input closes otherwise', async () => {
    const child = contribute();
    child.process.stdin?.end();
    await child.says(/cannot be reached/);
    child.process.kill('SIGINT');
    expect(await child.exited).toBe(0);
  });
});

const swiftshader = swiftshaderEnv(await findChromium());

describe('training a real model, bit for bit as one process does', () => {
  it('one with the reference device, one with what it takes by itself where there is no GPU', async () => {
    const logs = await train(
      [
        ['--backend', 'reference'],
        ['--threads', '2'],
      ],
      noDriver,
    );
    expect(logs[1]).toMatch(/on 2 threads\. CUDA was passed over: .* WebGPU was passed over/);
  });

  it.skipIf(!swiftshader)('one with the reference device, one with Dawn on SwiftShader', async () => {
    const webgpu = ['--backend', 'webgpu', '--allow-software'];
    await train([['--backend', 'reference'], webgpu], swiftshader ?? {});
  });
});

/** Returns what each of them logged. */
async function train(contributors: string[][], env: NodeJS.ProcessEnv): Promise<string[]> {
  const [job, text] = [testJob(), testText()];
  const coordinator = await createCoordinator({
    dataDir: path.join(dir, 'coordinator'),
    port: 0,
    initialCheckpoint,
    probe: probeDigest,
    stopAfterRounds: 2,
  });
  try {
    const id = await coordinator.ensureJob(job, text);
    const common = ['--url', coordinator.url, '--data-dir', dir];
    const started = contributors.map(
      (args, i) => new Contributor([...common, ...args, '--name', `c${i}`], env),
    );
    const status = await Promise.race([coordinator.settled(id, 2), earlyExit(started)]);
    const alone = await trainAlone(job, text);
    expect(status.rounds.map(({ checkpoint }) => checkpoint)).toEqual(alone.checkpoints);
    expect(status.rounds.map(({ loss }) => loss)).toEqual(alone.losses.slice(1));
    for (const child of started) child.process.kill('SIGTERM');
    expect(await Promise.all(started.map(({ exited }) => exited))).toEqual(started.map(() => 0));
    for (const child of started) expect(child.stdout).toMatch(/"agreed":[1-9]/);
    return started.map(({ stdout }) => stdout);
  } finally {
    await coordinator.close();
  }
}

async function trainAlone(job: ReturnType<typeof testJob>, text: Uint8Array) {
  const blocks = new MemoryBlocks();
  const device = await createDevice('reference');
  const corpus = await writeFile(blocks, text);
  const execute = (unit: Workunit) => executeWorkunit(unit, { device, blocks });
  return runJob({ ...job, corpus }, 2, blocks, execute, { initial: initialCheckpoint });
}

async function earlyExit(started: Contributor[]): Promise<never> {
  const child = await Promise.race(started.map((one) => one.exited.then(() => one)));
  throw new Error(`A contributor ended early: ${child.stdout}${child.stderr}`);
}

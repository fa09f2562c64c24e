/** A node as a process, and the commands that speak to it: status, pause, resume, drain, one node to a name, a killed node's socket. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readSettings } from '../config.ts';
import { statusOf } from '../control/client.ts';
import type { NodeStatus, Question } from '../control/messages.ts';
import { exitCodes } from '../exit-codes.ts';
import { terminalOutput } from '../output.ts';
import { controlNode } from './control.ts';
import { statusText } from './status-text.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
let dir: string;
let children: ChildProcess[];
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'atoll-control-'));
  children = [];
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await Promise.all(children.map(ended));
  await rm(dir, { recursive: true, force: true });
});

function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => child.once('exit', (code) => resolve(code)));
}

/** A node that finds no coordinator. */
function start(name: string): ChildProcess {
  const child = spawn(
    process.execPath,
    [
      ...['--import', './scripts/raw-hooks.ts', 'workers/node/main.ts', '--name', name, '--data-dir', dir],
      ...['--url', 'http://u:hunter2@127.0.0.1:1', '--backend', 'reference', '--update-check', 'off'],
      ...['--log-level', 'error'],
    ],
    { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  children.push(child);
  return child;
}

async function until(name: string, is: (status: NodeStatus) => boolean): Promise<NodeStatus> {
  for (;;) {
    const status = await statusOf(dir, name).catch(() => null);
    if (status && is(status)) return status;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

async function tell(command: Question['command'], ...args: string[]) {
  const said: string[] = [];
  const noted: string[] = [];
  const out = terminalOutput({ write: (line) => said.push(line) }, { write: (line) => noted.push(line) }, {});
  const settings = readSettings(['--data-dir', dir, ...args], {}, {}, ['name', 'data-dir', 'config']);
  const code = await controlNode({ command, settings, json: false, wait: true }, out);
  return { code, said: said.join(''), noted: noted.join('') };
}

describe('a running node', () => {
  it('tells how it is, is paused, resumed and drained, and keeps its name', async () => {
    expect(await tell('status')).toMatchObject({
      code: exitCodes.nameTaken,
      noted: expect.stringMatching(/No node runs/),
    });
    const child = start('a');
    const status = await until('a', ({ phase }) => phase === 'connecting');
    expect(status).toMatchObject({ name: 'a', pid: child.pid, backend: 'reference', pending: 0 });
    expect(JSON.stringify(status)).not.toContain('hunter2');

    const second = start('a');
    let refusal = '';
    second.stdout?.on('data', (text: Buffer) => (refusal += text.toString()));
    expect(await ended(second)).toBe(exitCodes.nameTaken);
    expect(refusal).toMatch(/runs already/);

    expect(await tell('pause')).toMatchObject({ code: 0, said: expect.stringMatching(/a is paused/) });
    await until('a', ({ phase, held }) => phase === 'paused' && held.length === 1);
    expect((await tell('status')).said).toMatch(/Paused by the operator/);
    expect(await tell('resume', '--name', 'a')).toMatchObject({ code: 0 });
    await until('a', ({ phase, held }) => phase === 'connecting' && held.length === 0);

    expect(await tell('drain')).toMatchObject({ code: 0, said: expect.stringMatching(/a has stopped/) });
    expect(await ended(child)).toBe(exitCodes.stopped);
    expect((await readdir(dir)).filter((entry) => entry.endsWith('.sock'))).toEqual([]);
  });

  it('is one of several, which are told apart; what a kill leaves is taken over', async () => {
    const [first] = [start('a'), start('b')];
    await until('a', ({ phase }) => phase === 'connecting');
    await until('b', ({ phase }) => phase === 'connecting');
    expect((await tell('status')).said).toMatch(/● {2}a [^]*● {2}b /);
    await expect(tell('pause')).rejects.toMatchObject({ code: 'bad_config' });
    first?.kill('SIGKILL');
    await ended(first as ChildProcess);
    expect(await tell('status', '--name', 'a')).toMatchObject({ code: exitCodes.nameTaken });
    expect(await tell('pause')).toMatchObject({ code: 0, said: expect.stringMatching(/b is paused/) });
    start('a');
    await until('a', ({ phase }) => phase === 'connecting');
  });
});

describe('statusText', () => {
  const status: NodeStatus = {
    ...{ name: 'gpu-1', pid: 7, version: '0.1.0', url: 'https://atoll.example', backend: 'auto' },
    ...{ startedAt: '', uptimeSeconds: 11_520, draining: false, held: [], phase: 'computing' },
    ...{ reason: 'Computing train.steps@1, 17 of 25 steps done.', contributor: '0xabc', problem: null },
    device: { backend: 'cuda', label: 'NVIDIA H200' },
    unit: { program: 'train.steps@1', done: 17, total: 25 },
    ...{ pending: 1, agreed: 1_234, rejected: 0, credit: 98_765, bytesDown: 5_000_000, bytesUp: 900 },
  };
  const out = (isTTY: boolean, env = {}) => terminalOutput({ write() {}, isTTY }, { write() {} }, env);

  it('is readable', () => {
    expect(`\n${statusText(status, out(false))}`).toBe(`
●  gpu-1  computing  train.steps@1  ██████████████░░░░░░  68%
  Computing train.steps@1, 17 of 25 steps done.
  device       NVIDIA H200 (cuda)
  coordinator  https://atoll.example
  work         98,765 credit, 1,234 agreed, 0 rejected, 1 to be settled
  traffic      4.8 MiB down, 900 B up
  running      3 h 12 min, process 7, version 0.1.0
  contributor  0xabc`);
  });

  it('has colour on a terminal only, and never moves its cursor', () => {
    expect(statusText(status, out(true))).toContain('\x1b[32m');
    expect(statusText(status, out(true, { NO_COLOR: '1' }))).not.toContain('\x1b');
    const evil = { ...status, reason: 'a\x1b[2Jb\r\u202ec' };
    expect(statusText(evil, out(false))).toContain('a [2Jb  c');
  });
});

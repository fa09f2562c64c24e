/**
 * The embedded chain's life and deaths, with real processes: a clean restart, a parent killed hard, a guard killed hard, a broken state
 * file, two starts on one directory.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import { keccak256 } from 'viem';
import { anvilBinary, startAnvil } from './anvil.ts';
import { type EmbeddedAnchor, openEmbeddedAnchor } from './embedded.ts';
import type { RecordedContract } from './evm.ts';
import type { RoundToAnchor } from './port.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const job = cidOfSync(bytes('job'), cborCode);
const round = (n: number): RoundToAnchor => ({
  job,
  round: n,
  root: keccak256(bytes(`${n}`)),
  checkpoint: job,
});
const upTo = (n: number) => Array.from({ length: n }, (_, i) => round(i + 1));
const coded = (code: string) => expect.objectContaining({ code });

let dir: string;
const open: EmbeddedAnchor[] = [];
const children: ChildProcess[] = [];
/** Chains of other processes, which a failing test could leave. */
const anvilPids: number[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'atoll-anvil-'));
});

afterEach(async () => {
  for (const anchor of open.splice(0)) await anchor.close();
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const pid of anvilPids.splice(0)) if (await isOurAnvil(pid)) process.kill(pid, 'SIGKILL');
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
});

async function start(recorded: RecordedContract | null): Promise<EmbeddedAnchor> {
  const anchor = await openEmbeddedAnchor({ dir, recorded });
  open.push(anchor);
  return anchor;
}

async function stop(anchor: EmbeddedAnchor): Promise<void> {
  open.splice(open.indexOf(anchor), 1);
  await anchor.close();
}

interface Held {
  parent: ChildProcess;
  anvilPid: number;
  guardPid: number;
  recorded: RecordedContract;
}

/** A process of its own that opens the embedded chain, anchors some rounds and stays. */
async function holdInAnotherProcess(rounds: number): Promise<Held> {
  const script = `
    import { openEmbeddedAnchor } from ${JSON.stringify(new URL('./embedded.ts', import.meta.url).href)};
    const anchor = await openEmbeddedAnchor({ dir: ${JSON.stringify(dir)}, recorded: null });
    await anchor.reconcile(${JSON.stringify(upTo(rounds))});
    console.log(JSON.stringify(anchor.info()));
    setInterval(() => {}, 1e6);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(parent);
  const lines = createInterface({ input: parent.stdout as NodeJS.ReadableStream });
  const line = await new Promise<string>((resolve, reject) => {
    lines.once('line', resolve);
    parent.once('exit', () => reject(new Error('the holding process ended')));
  });
  const recorded = JSON.parse(line) as RecordedContract;
  const anvilPid = Number(await readFile(join(dir, 'anvil.pid'), 'utf8'));
  anvilPids.push(anvilPid);
  return { parent, anvilPid, guardPid: await parentOf(anvilPid), recorded };
}

async function isOurAnvil(pid: number): Promise<boolean> {
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).includes(dir);
}

async function parentOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

/** Whether a process runs; one that ended and was not yet collected does not. */
async function isAlive(pid: number): Promise<boolean> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z';
  } catch {
    return false;
  }
}

async function untilDead(pid: number): Promise<void> {
  while (await isAlive(pid)) await sleep(20);
}

describe('the embedded chain', () => {
  it('goes on where it stopped', async () => {
    const first = await start(null);
    expect(first.state).toBe('new');
    const done = await first.reconcile(upTo(3));
    await stop(first);
    expect(existsSync(join(dir, 'anvil.pid'))).toBe(false);

    const second = await start(first.info());
    expect(second.state).toBe('kept');
    expect(second.info().contract).toBe(first.info().contract);
    const again = await second.reconcile(upTo(4));
    expect(again.map(({ anchoredNow }) => anchoredNow)).toEqual([false, false, false, true]);
    expect(again.slice(0, 3).map(({ tx }) => tx)).toEqual(done.map(({ tx }) => tx));
  });

  it('is stopped once, however often it is told to', async () => {
    const anchor = await start(null);
    await Promise.all([stop(anchor), anchor.close(), anchor.ended]);
    await anchor.close();
    await expect(anchor.anchorRound(round(1))).rejects.toEqual(coded('cancelled'));
  });

  it('loses nothing when the chain is new and every round is recorded', async () => {
    const first = await start(null);
    await first.reconcile(upTo(3));
    await stop(first);
    await rm(join(dir, 'state.json'));
    const second = await start(first.info());
    expect(second.state).toBe('new');
    const again = await second.reconcile(upTo(3));
    expect(again.every(({ anchoredNow }) => anchoredNow)).toBe(true);
    expect((await second.rounds(job)).length).toBe(3);
  });

  it('starts on a state file that a hard kill left in half', async () => {
    const first = await start(null);
    await first.reconcile(upTo(2));
    await stop(first);
    const second = await start(first.info());
    await second.reconcile(upTo(4));
    await stop(second);
    // The backup is that of the second start: two rounds.
    await truncate(join(dir, 'state.json'), 3_000);
    const third = await start(first.info());
    expect(third.state).toBe('restored');
    const done = await third.reconcile(upTo(4));
    expect(done.map(({ anchoredNow }) => anchoredNow)).toEqual([false, false, true, true]);
    await stop(third);

    await truncate(join(dir, 'state.json'), 0);
    await truncate(join(dir, 'state.backup.json'), 0);
    const fourth = await start(first.info());
    expect(fourth.state).toBe('lost');
    expect((await fourth.reconcile(upTo(4))).every(({ anchoredNow }) => anchoredNow)).toBe(true);
  });

  it('answers to no web page', async () => {
    const anchor = await start(null);
    const headers = {
      origin: 'http://evil.example',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'content-type',
    };
    const response = await fetch(anchor.info().rpcUrl, { method: 'OPTIONS', headers });
    expect(response.headers.get('access-control-allow-origin')).toBe(null);
  });

  it('refuses a directory that another process holds, and leaves that one alone', async () => {
    const first = await start(null);
    await expect(startAnvil({ dir }, AbortSignal.timeout(1_500))).rejects.toEqual(coded('cancelled'));
    await expect(first.anchorRound(round(1))).resolves.toHaveProperty('tx');
  });

  it('says so when its port is taken or its directory is none', async () => {
    const server: Server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    try {
      await expect(startAnvil({ dir, port })).rejects.toEqual(coded('unavailable'));
    } finally {
      server.close();
    }
    const file = join(dir, 'a-file');
    await writeFile(file, '');
    await expect(startAnvil({ dir: file })).rejects.toEqual(coded('bad_config'));
    expect(() => anvilBinary('plan9', 'mips')).toThrow(coded('bad_config'));
  });

  it('is not started for one who has left already', async () => {
    await expect(startAnvil({ dir }, AbortSignal.abort())).rejects.toEqual(coded('cancelled'));
  });
});

describe.skipIf(process.platform !== 'linux')('after kill -9', () => {
  it('of the parent, no anvil is left and nothing anchored is lost', async () => {
    const { parent, anvilPid, guardPid, recorded } = await holdInAnotherProcess(3);
    parent.kill('SIGKILL');
    // At once, while the guard still writes the state: the start waits for it.
    const again = await start(recorded);
    expect(await isAlive(anvilPid)).toBe(false);
    expect(again.state).toBe('kept');
    expect((await again.reconcile(upTo(3))).every(({ anchoredNow }) => !anchoredNow)).toBe(true);
    await untilDead(guardPid);
  });

  it('of the parent and the guard, the next start ends the anvil that they left', async () => {
    const { parent, anvilPid, guardPid, recorded } = await holdInAnotherProcess(2);
    parent.kill('SIGKILL');
    process.kill(guardPid, 'SIGKILL');
    await untilDead(guardPid);
    expect(await isAlive(anvilPid)).toBe(true);
    const again = await start(recorded);
    expect(await isAlive(anvilPid)).toBe(false);
    expect((await again.reconcile(upTo(2))).map(({ round: n }) => n)).toEqual([1, 2]);
    expect((await again.rounds(job)).length).toBe(2);
  });

  it('of anvil, the chain says that it ended, and a restart repairs', async () => {
    const anchor = await start(null);
    await anchor.reconcile(upTo(2));
    const pid = Number(await readFile(join(dir, 'anvil.pid'), 'utf8'));
    process.kill(pid, 'SIGKILL');
    await anchor.ended;
    await expect(anchor.anchorRound(round(3))).rejects.toEqual(coded('unavailable'));
    await stop(anchor);
    const again = await start(anchor.info());
    await again.reconcile(upTo(3));
    expect((await again.rounds(job)).length).toBe(3);
  });

  it('a process id that another program has by now is left alone', async () => {
    const bystander = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)']);
    children.push(bystander);
    await writeFile(join(dir, 'anvil.pid'), String(bystander.pid));
    await start(null);
    expect(await isAlive(bystander.pid as number)).toBe(true);
  });
});

/**
 * Runs anvil for the process that started this one, and stops it when that process closes our input: on purpose, or by dying (also of
 * kill -9, which no handler of its own could see). Holds a lock on the directory meanwhile, so that the next start waits until the state
 * is on disk. Should this guard itself have been killed, the next one ends the anvil that it left.
 *
 * Started by anvil.ts with one argument, `GuardOptions` as JSON; answers with one line of JSON, `GuardMessage`.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { AtollError, toProblem } from '#protocol/errors.ts';
import { type DataDirLock, lockDataDir } from '../storage/lock.ts';
import type { AnvilState, GuardMessage, GuardOptions } from './anvil.ts';

const lockMsMax = 20_000;
const listenMsMax = 15_000;
const stopMsMax = 10_000;
const pollMs = 50;

const options = JSON.parse(process.argv[2] ?? '{}') as GuardOptions;
const files = {
  state: join(options.dir, 'state.json'),
  /** The state as of the last start that could read it. */
  backup: join(options.dir, 'state.backup.json'),
  /** Of an anvil that runs, or was left by a guard that got killed. */
  pid: join(options.dir, 'anvil.pid'),
};

/** Aborted when it is time to stop: our input has ended, or somebody asks us to. */
const leaving = new AbortController();
for (const event of ['end', 'error', 'close']) process.stdin.on(event, () => leaving.abort());
process.stdin.resume();
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => leaving.abort());
// Whoever would read what we say may be gone.
process.stdout.on('error', () => undefined);

try {
  await guard();
} catch (error) {
  tell({ kind: 'failed', problem: toProblem(error) });
  process.exitCode = 1;
}
process.stdin.destroy();

async function guard(): Promise<void> {
  const lock = await takeLock();
  await endLeftover();
  const state = prepareState();
  const anvil = launch();
  try {
    const port = await listening(anvil);
    tell({ kind: 'ready', port, pid: anvil.pid as number, state });
    if (isRunning(anvil) && !leaving.signal.aborted) {
      await Promise.race([once(anvil, 'exit'), once(leaving.signal, 'abort')]);
    }
  } finally {
    await stop(anvil);
    rmSync(files.pid, { force: true });
    lock.release();
  }
}

function tell(message: GuardMessage): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

/** Waits for a guard that is still writing its state. */
async function takeLock(): Promise<DataDirLock> {
  const deadline = Date.now() + lockMsMax;
  for (;;) {
    try {
      return lockDataDir(options.dir);
    } catch (error) {
      const held = (error as { cause?: { code?: string } }).cause?.code === 'SQLITE_BUSY';
      if (leaving.signal.aborted || !held || Date.now() > deadline) throw error;
      await sleep(pollMs);
    }
  }
}

/** Ends an anvil on our state file whose guard was killed. The lock is ours, so no living guard has it. */
async function endLeftover(): Promise<void> {
  if (!existsSync(files.pid)) return;
  const pid = Number(readFileSync(files.pid, 'utf8'));
  const isOurs = () => commandOf(pid).includes(files.state);
  if (!Number.isSafeInteger(pid) || pid <= 1 || !isOurs()) return;
  process.kill(pid, 'SIGTERM');
  for (let waited = 0; isOurs(); waited += pollMs) {
    if (waited > stopMsMax) process.kill(pid, 'SIGKILL');
    await sleep(pollMs);
  }
}

/** The command line of a process, empty when there is none: a process id alone may have been given to another program since. */
function commandOf(pid: number): string {
  try {
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    if (process.platform === 'win32') return '';
    return execFileSync('ps', ['-p', String(pid), '-o', 'args='], { encoding: 'utf8' });
  } catch {
    return '';
  }
}

/** anvil writes its state in place: a hard kill in that moment leaves half a file, and anvil refuses to start on it. */
function prepareState(): AnvilState {
  if (!existsSync(files.state)) return 'new';
  if (isJson(files.state)) {
    copyFileSync(files.state, files.backup);
    return 'kept';
  }
  renameSync(files.state, join(options.dir, 'state.unreadable.json'));
  if (!isJson(files.backup)) return 'lost';
  copyFileSync(files.backup, files.state);
  return 'restored';
}

function isJson(file: string): boolean {
  try {
    JSON.parse(readFileSync(file, 'utf8'));
    return true;
  } catch {
    return false;
  }
}

/**
 * Blocks are mined as transactions come; the interval picks up what instant mining loses under load (foundry issue 10122). It is long,
 * because the state is written whole: at one block a second it grows by 150 MB a day. Old blocks' states are let go, or anvil would keep
 * them in the user's home. No CORS: no web page may drive this chain, whose accounts are unlocked.
 */
function launch(): ChildProcess {
  const anvil = spawn(
    options.binary,
    [
      ...['--host', '127.0.0.1', '--port', String(options.port), '--no-cors'],
      ...['--mixed-mining', '--block-time', '60'],
      ...['--state', files.state, '--state-interval', '5', '--prune-history', '64'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], windowsHide: true },
  );
  if (anvil.pid !== undefined) writeFileSync(files.pid, String(anvil.pid));
  return anvil;
}

function isRunning(anvil: ChildProcess): boolean {
  return anvil.pid !== undefined && anvil.exitCode === null && anvil.signalCode === null;
}

/** The port that anvil listens on. Everything it prints after that is thrown away, so that its pipes never fill. */
async function listening(anvil: ChildProcess): Promise<number> {
  const said: string[] = [];
  let port: number | null = null;
  anvil.once('error', (error) => said.push(error.message));
  for (const stream of [anvil.stdout, anvil.stderr]) {
    if (!stream) continue;
    createInterface({ input: stream }).on('line', (line) => {
      port ??= Number(/^Listening on 127\.0\.0\.1:(\d+)/.exec(line)?.[1] ?? Number.NaN) || null;
      if (said.length < 200 && port === null) said.push(line);
    });
  }
  const deadline = Date.now() + listenMsMax;
  while (port === null) {
    if (leaving.signal.aborted) throw new AtollError('cancelled', 'Starting the chain was cancelled.');
    if (!isRunning(anvil) || Date.now() > deadline)
      throw notStarted(said.filter((line) => line.trim() !== ''));
    await sleep(pollMs / 5);
  }
  return port;
}

function notStarted(said: string[]): AtollError {
  const reason = said.find((line) => /error|in use/i.test(line)) ?? said.at(-1) ?? 'no reason given';
  return new AtollError('unavailable', `The embedded chain did not start: ${reason.trim().slice(0, 200)}`);
}

/** SIGTERM lets anvil write its state. */
async function stop(anvil: ChildProcess): Promise<void> {
  if (!isRunning(anvil)) return;
  anvil.kill('SIGTERM');
  const deadline = Date.now() + stopMsMax;
  while (isRunning(anvil)) {
    if (Date.now() > deadline) anvil.kill('SIGKILL');
    await sleep(pollMs);
  }
}

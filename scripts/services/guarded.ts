/**
 * A service in a process of its own that cannot outlive this one: a shell waits beside it on a pipe, and ends it when the pipe closes, be it by
 * `stop` or by the death of this process. As root it runs as an unprivileged user, since PostgreSQL refuses root.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chown, mkdtemp } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AtollError } from '#protocol/errors.ts';

export interface Guarded {
  /** Of the service itself. */
  readonly pid: number;
  signal(signal: NodeJS.Signals): void;
  /** Resolves when it has ended, for whatever reason. */
  readonly ended: Promise<void>;
  /** Ends it with its own signal and waits. */
  stop(): Promise<void>;
}

export interface GuardedOptions {
  command: string;
  args: readonly string[];
  /** The signal, without SIG, that ends it in order. */
  stopSignal: 'INT' | 'TERM';
  /** What it prints when it serves. */
  ready: RegExp;
  readyMs?: number;
  /** Besides those of this process. */
  env?: Record<string, string>;
  /** Who it runs as; null is whoever this is. */
  account?: Account | null;
}

export interface Account {
  uid: number;
  gid: number;
}

/** The first argument is the signal, the others are the command. Prints the pid, then waits for the pipe to close or the service to end. */
const guard = `
  signal=$1; shift
  "$@" 2>&1 <&- &
  service=$!
  echo "pid $service"
  (while read -r _; do :; done <&3; kill -s "$signal" "$service" 2>/dev/null) &
  watcher=$!
  wait "$service"
  kill "$watcher" 2>/dev/null`;

/** An unprivileged account where this is root; null where this is not root. */
export function serviceAccount(): Account | null {
  if (process.getuid?.() !== 0) return null;
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  for (const name of ['postgres', 'nobody']) {
    const fields = lines.find((line) => line.startsWith(`${name}:`))?.split(':');
    if (fields) return { uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  return { uid: 65_534, gid: 65_534 };
}

/** A temporary folder that belongs to the service's account. */
export async function serviceFolder(prefix: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), prefix));
  const account = serviceAccount();
  if (account) await chown(folder, account.uid, account.gid);
  return folder;
}

/** A port that is free now; by the time it is used somebody else may have it, so who uses it tries again. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

/** Starts a service and resolves when it serves. Throws `unavailable` with its last words when it ends first. */
export async function startGuarded(options: GuardedOptions): Promise<Guarded> {
  const { command, args, stopSignal, ready, readyMs = 60_000, account = serviceAccount() } = options;
  const child = spawn('sh', ['-c', guard, 'guard', stopSignal, command, ...args], {
    stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
    cwd: '/',
    env: { ...process.env, ...options.env },
    ...account,
  });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const release = () => void (child.stdio[3] as NodeJS.WritableStream | null)?.end();
  try {
    const pid = await readiness(child, ready, readyMs, command);
    return {
      pid,
      ended,
      signal: (signal) => {
        process.kill(pid, signal);
      },
      stop: async () => {
        release();
        await ended;
      },
    };
  } catch (error) {
    release();
    throw error;
  }
}

function readiness(child: ChildProcess, ready: RegExp, readyMs: number, command: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let output = '';
    const fail = (why: string) =>
      reject(new AtollError('unavailable', `${command} ${why}:\n${output.slice(-1500)}`));
    const timer = setTimeout(() => fail('did not serve in time'), readyMs);
    let isReady = false;
    child.stdout?.on('data', (data: Buffer) => {
      if (isReady) return; // drained, so that it never blocks
      output += data.toString();
      const pid = /^pid (\d+)/.exec(output)?.[1];
      if (!pid || !ready.test(output)) return;
      isReady = true;
      clearTimeout(timer);
      resolve(Number(pid));
    });
    child.once('error', (error) => fail(`could not be started (${error.message})`));
    child.once('exit', () => {
      clearTimeout(timer);
      fail('ended');
    });
  });
}

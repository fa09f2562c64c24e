/**
 * The contributors that `npm start` runs on its own machine, so that training moves before anybody opens the page: headless contributors on
 * WebAssembly as child processes, started again with growing pauses when they end. They get no Ctrl-C of their own (they are stopped in order) and
 * stop by themselves when this process dies.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { AtollError } from '#protocol/errors.ts';
import { root } from './run-tool.ts';

export interface LocalOptions {
  count: number;
  url: string;
  /** Keys and logs are kept here, so that a contributor stays the same one from start to start. */
  dir: string;
  say: (line: string) => void;
}

export interface LocalContributors {
  /** Asks all of them to stop and waits; kills what does not stop in time. */
  stop(): Promise<void>;
  /** Ends them now. */
  kill(): void;
}

const restartMsMin = 1_000;
const restartMsMax = 30_000;
/** Who lived this long starts again without delay. */
const healthyMs = 60_000;
const stopMsMax = 15_000;

export function startLocalContributors(options: LocalOptions): LocalContributors {
  try {
    mkdirSync(options.dir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new AtollError(
      'bad_config',
      `${options.dir} cannot be written: ${(cause as Error).message}. Choose another --data-dir.`,
      { cause },
    );
  }
  const all = Array.from({ length: options.count }, (_, i) => supervise(options, i + 1));
  return {
    stop: async () => void (await Promise.all(all.map((one) => one.stop()))),
    kill: () => all.forEach((one) => one.kill()),
  };
}

interface Launch {
  name: string;
  url: string;
  dir: string;
  log: string;
  threads: number;
}

function supervise({ url, dir, say, count }: LocalOptions, number: number): LocalContributors {
  const name = `local-${number}`;
  const threads = threadsEach(availableParallelism(), count);
  const log = path.join(dir, `${name}.log`);
  let child: ChildProcess | null = null;
  let stopping = false;
  let pauseMs = restartMsMin;
  let timer: NodeJS.Timeout | null = null;

  const launch = () => {
    const startedAt = performance.now();
    const started = launchOne({ name, url, dir, log, threads });
    child = started;
    // 'error' comes instead of 'exit' when there was no process to begin with.
    let ended = false;
    const onEnd = (why: string) => {
      if (ended || stopping) return;
      ended = true;
      if (performance.now() - startedAt > healthyMs) pauseMs = restartMsMin;
      say(`contributor ${name} ended (${why}); starting it again in ${pauseMs / 1000} s. Its log: ${log}`);
      timer = setTimeout(launch, pauseMs);
      pauseMs = Math.min(restartMsMax, pauseMs * 2);
    };
    started.once('error', (error) => onEnd(error.message));
    started.once('exit', (code, signal) => onEnd([signal ?? `exit code ${code}`, lastWords(log)].join(': ')));
  };
  launch();

  const kill = () => {
    stopping = true;
    if (timer) clearTimeout(timer);
    child?.kill('SIGKILL');
  };
  const stop = async () => {
    stopping = true;
    if (timer) clearTimeout(timer);
    const running = child;
    if (!running || running.pid === undefined || running.exitCode !== null || running.signalCode !== null)
      return;
    const gone = new Promise((resolve) => running.once('exit', resolve));
    running.kill('SIGTERM');
    const late = setTimeout(() => running.kill('SIGKILL'), stopMsMax);
    await gone;
    clearTimeout(late);
  };
  return { stop, kill };
}

/** The cores less one, which is left to the coordinator and the person, shared out; beyond eight threads little is gained. */
export function threadsEach(cores: number, contributors: number): number {
  return Math.max(1, Math.min(8, Math.floor((cores - 1) / Math.max(1, contributors))));
}

function launchOne({ name, url, dir, log, threads }: Launch): ChildProcess {
  const hooks = pathToFileURL(path.join(root, 'scripts/raw-hooks.ts')).href;
  const output = openSync(log, 'w');
  const child = spawn(
    process.execPath,
    [
      ...['--import', hooks, path.join(root, 'workers/node/main.ts')],
      ...['--url', url, '--backend', 'wasm', '--threads', String(threads), '--name', name],
      // What they would keep or get from each other lies on this machine already.
      ...['--cache-bytes', '0', '--peers', 'off'],
      ...['--data-dir', dir, '--log-level', 'warn', '--exit-with-parent'],
      ...['--drain-seconds', '0', '--update-check', 'off'],
    ],
    // Its own process group: a Ctrl-C in the terminal reaches us alone. Its input ends with us.
    {
      ...{ cwd: root, detached: true, stdio: ['pipe', output, output], windowsHide: true },
      env: withoutSettings(process.env),
    },
  );
  closeSync(output);
  child.stdin?.on('error', () => undefined);
  return child;
}

/** What a person set for a node of his own is not for these. */
function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('ATOLL_')));
}

/** The last thing a contributor logged, for a person to read. */
function lastWords(log: string): string {
  const line = readFileSync(log, 'utf8').trim().split('\n').at(-1) ?? '';
  try {
    return (JSON.parse(line) as { msg: string }).msg;
  } catch {
    return line.slice(0, 200) || 'it said nothing';
  }
}

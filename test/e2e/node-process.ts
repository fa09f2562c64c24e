/** A headless contributor as a process of its own, run from its bundle as an operator's is: what it logs, and how it ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { ensureNodeBundle } from '#scripts/build-node.ts';

export interface NodeProcess {
  readonly child: ChildProcess;
  /** All of standard output so far. */
  readonly log: () => string;
  /** Exit code, or null after a signal. */
  readonly ended: Promise<number | null>;
  /** Until the log has these words. Rejects with the end of the log when the process ends first. */
  says(words: RegExp): Promise<void>;
  /** Sends the signal and waits for the end. */
  end(signal?: NodeJS.Signals): Promise<number | null>;
}

export async function startNode(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<NodeProcess> {
  const program = await ensureNodeBundle('main');
  const child = spawn(process.execPath, [program, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  let heard: () => void = () => {};
  let next = new Promise<void>((resolve) => (heard = resolve));
  const stir = () => {
    heard();
    next = new Promise<void>((resolve) => (heard = resolve));
  };
  child.stdout.on('data', (part: Buffer) => {
    text += part.toString();
    stir();
  });
  const ended = new Promise<number | null>((resolve) =>
    child.once('exit', (code) => {
      resolve(code);
      stir();
    }),
  );
  const isOver = () => child.exitCode !== null || child.signalCode !== null;
  return {
    child,
    log: () => text,
    ended,
    async says(words) {
      while (!words.test(text)) {
        if (isOver()) throw new Error(`The contributor ended: ${text.slice(-1000)}`);
        await next;
      }
    },
    async end(signal = 'SIGTERM') {
      child.kill(signal);
      return ended;
    },
  };
}

/** The last value of a field in a log of JSON lines. */
export function lastOf(log: string, field: string): unknown {
  const lines = log.split('\n').filter((line) => line.includes(`"${field}":`));
  const last = lines.at(-1);
  return last === undefined ? undefined : (JSON.parse(last) as Record<string, unknown>)[field];
}

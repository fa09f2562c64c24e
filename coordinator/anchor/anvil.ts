/**
 * The embedded development chain: anvil as a child of a child. Between us and it stands a guard process (anvil-guard.ts) that stops it
 * when we are gone, by whatever death, and lets it write its state first; so no anvil outlives a coordinator, nor holds its state file.
 *
 * The chain is a convenience, not a record: it may lose its last seconds with the machine's power. `Anchor.reconcile` repairs.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Hex } from 'viem';
import { AtollError, fromProblem, type Problem } from '#protocol/errors.ts';

/** The key of anvil's first account. Everybody knows it: it guards a chain of one machine and nothing else. */
export const anvilKey: Hex = '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80';

export interface AnvilOptions {
  /** A directory of its own, made where needed: state, its backup, lock. */
  dir: string;
  /** 0, the default, lets the system choose. */
  port?: number;
}

/** What became of the state that an earlier run left: none (`new`), kept, restored from the backup, or unreadable and set aside. */
export type AnvilState = 'new' | 'kept' | 'restored' | 'lost';

export interface Anvil {
  rpcUrl: string;
  state: AnvilState;
  /** The process id of anvil itself, for diagnosis. */
  pid: number;
  /** Settles when the chain has ended, asked or not. */
  ended: Promise<void>;
  /** Stops the chain and waits until its state is on disk. */
  stop(): Promise<void>;
}

/** What the guard says, as lines of JSON on its standard output. */
export type GuardMessage =
  { kind: 'ready'; port: number; pid: number; state: AnvilState } | { kind: 'failed'; problem: Problem };

export interface GuardOptions {
  binary: string;
  dir: string;
  port: number;
}

const startMsMax = 40_000;
const stopMsMax = 20_000;
const guardFile = fileURLToPath(new URL('./anvil-guard.ts', import.meta.url));

/** Path of the anvil that npm installed for this platform. Throws `bad_config` where there is none. */
export function anvilBinary(platform: string = process.platform, arch: string = process.arch): string {
  const name = platform === 'win32' ? 'anvil.exe' : 'anvil';
  const cpu = { x64: 'amd64', arm64: 'arm64' }[arch] ?? arch;
  try {
    const wrapper = createRequire(import.meta.url).resolve('@foundry-rs/anvil/package.json');
    const target = `@foundry-rs/anvil-${platform}-${cpu}/package.json`;
    const binary = join(dirname(createRequire(wrapper).resolve(target)), 'bin', name);
    if (existsSync(binary)) return binary;
  } catch {
    // Told below, with the remedy.
  }
  throw new AtollError(
    'bad_config',
    `There is no embedded chain for ${platform}-${arch}. Give the RPC URL of a chain, or start without one.`,
  );
}

/**
 * Starts the chain and waits until it answers.
 * Throws `unavailable` when it does not start, `bad_config` when the directory is in use or there is no anvil, `cancelled`.
 */
export async function startAnvil(options: AnvilOptions, signal?: AbortSignal): Promise<Anvil> {
  if (signal?.aborted) throw new AtollError('cancelled', 'Starting the chain was cancelled.');
  const guardOptions: GuardOptions = { binary: anvilBinary(), dir: options.dir, port: options.port ?? 0 };
  // Detached: a Ctrl-C in the terminal reaches us alone, and we stop the chain last.
  const guard = spawn(process.execPath, [guardFile, JSON.stringify(guardOptions)], {
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
    windowsHide: true,
  });
  // The guard may be gone when its input ends; that is no error.
  guard.stdin?.on('error', () => undefined);
  const exited = new Promise<void>((resolve) => {
    guard.once('exit', () => resolve());
    guard.once('error', () => resolve());
  });
  try {
    const ready = await firstMessage(guard, exited, signal);
    // From here on the chain keeps nobody alive: when we end, so does it.
    guard.unref();
    for (const stream of [guard.stdin, guard.stdout]) (stream as { unref?: () => void } | null)?.unref?.();
    return {
      rpcUrl: `http://127.0.0.1:${ready.port}`,
      state: ready.state,
      pid: ready.pid,
      ended: exited,
      stop: () => stopGuard(guard, exited),
    };
  } catch (error) {
    await stopGuard(guard, exited);
    throw error;
  }
}

async function firstMessage(
  guard: ChildProcess,
  exited: Promise<void>,
  signal: AbortSignal | undefined,
): Promise<Extract<GuardMessage, { kind: 'ready' }>> {
  if (!guard.stdout) throw new AtollError('unavailable', 'The embedded chain could not be started.');
  const lines = createInterface({ input: guard.stdout });
  const timeout = AbortSignal.timeout(startMsMax);
  const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
  const aborted = new Promise<'aborted'>((resolve) => {
    either.addEventListener('abort', () => resolve('aborted'), { once: true });
  });
  const line = new Promise<string>((resolve) => lines.once('line', resolve));
  const first = await Promise.race([line, exited.then(() => 'exited' as const), aborted]);
  if (first === 'aborted' && signal?.aborted) {
    throw new AtollError('cancelled', 'Starting the chain was cancelled.');
  }
  if (first === 'aborted' || first === 'exited') {
    throw new AtollError(
      'unavailable',
      'The embedded chain did not start. Try again, or start without a chain.',
    );
  }
  const message = JSON.parse(first) as GuardMessage;
  if (message.kind === 'failed') throw fromProblem(message.problem);
  return message;
}

/** The end of its input tells the guard to stop. */
async function stopGuard(guard: ChildProcess, exited: Promise<void>): Promise<void> {
  if (guard.exitCode !== null || guard.signalCode !== null || guard.pid === undefined) return;
  guard.ref();
  guard.stdin?.end();
  const timer = setTimeout(() => guard.kill('SIGKILL'), stopMsMax);
  await exited;
  clearTimeout(timer);
}

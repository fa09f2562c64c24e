/**
 * One contributor process for each graphics processor, kept running: who ends unexpectedly is started again after a growing, jittered pause, who ends for a reason
 * that a restart cannot mend is left alone. Signals go on to all, and the whole ends when all have ended.
 *
 * What processes are and how time passes comes as ports, so that the rules are tested without either; `spawnChild` is the real thing.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Clock, Logger, RandomBytes } from '../../runtime/ports.ts';
import { fullJitterMs } from '../../runtime/timing.ts';
import type { ContributorView } from '../../runtime/view.ts';
import { exitCodes } from '../exit-codes.ts';

export interface ChildSpec {
  /** `gpu0`: for logs, metrics and names of files. */
  label: string;
  /** Behind the program. */
  args: readonly string[];
  env: Readonly<Record<string, string>>;
}

/** A process that was started, or could not be. */
export interface Child {
  readonly pid: number | undefined;
  kill(signal: NodeJS.Signals): void;
  /** To the child, as `SupervisorMessage`. */
  send(message: SupervisorMessage): void;
}

export interface ChildEvents {
  ended(code: number | null, signal: string | null): void;
  /** Not trusted to be of any form. */
  message(message: unknown): void;
}

/** What a child is told beyond signals. */
export type SupervisorMessage = { t: 'pause' } | { t: 'resume' };

export interface SupervisorPorts {
  spawn: (spec: ChildSpec, events: ChildEvents) => Child;
  clock: Clock;
  randomBytes: RandomBytes;
  log: Logger;
  /** A child said how it stands, or is gone (null). */
  seen?: (index: number, view: ContributorView | null) => void;
}

export interface ChildState {
  label: string;
  state: 'running' | 'waiting' | 'ended';
  restarts: number;
  /** How it ended last. */
  lastCode: number | null;
  /** As it said last; null while it is not running. */
  view: ContributorView | null;
  /** Who holds it back. */
  held: readonly string[];
}

export interface Supervisor {
  /** Resolves when no process is left: 0 when all ended on request, else the first code that was none of that. */
  readonly ended: Promise<number>;
  states(): ChildState[];
  /** To all that run, who decide what it means. Nothing is started again from here on. */
  stop(signal: NodeJS.Signals): void;
  /** Those started later are told too. */
  tell(message: SupervisorMessage): void;
}

const restartMsMin = 1_000;
const restartMsMax = 5 * 60_000;
/** Who lived this long begins again with the shortest pause. */
const healthyMs = 5 * 60_000;

const onRequest: readonly number[] = [exitCodes.stopped, exitCodes.unsettled, exitCodes.stoppedAtOnce];
/** Starting again would end the same way. */
const hopeless: readonly number[] = [
  exitCodes.badConfig,
  exitCodes.nonconforming,
  exitCodes.refused,
  exitCodes.nameTaken,
  exitCodes.identityChanged,
];

/** Exit codes after which a supervisor, ours or systemd, must not start a node again. */
export const finalExitCodes: readonly number[] = [...onRequest, ...hopeless].filter((code) => code !== 0);

export function supervise(specs: readonly ChildSpec[], ports: SupervisorPorts): Supervisor {
  const supervisor = new ProcessSupervisor(specs, ports);
  supervisor.start();
  return supervisor;
}

interface Entry {
  spec: ChildSpec;
  child: Child | null;
  startedAt: number;
  /** Ends in a row that came too early. */
  failures: number;
  cancel: () => void;
  shown: ChildState;
}

class ProcessSupervisor implements Supervisor {
  readonly ended: Promise<number>;
  readonly #ports: SupervisorPorts;
  readonly #entries: Entry[];
  readonly #end = Promise.withResolvers<number>();
  #stopping = false;
  #told: SupervisorMessage | null = null;

  constructor(specs: readonly ChildSpec[], ports: SupervisorPorts) {
    this.ended = this.#end.promise;
    this.#ports = ports;
    this.#entries = specs.map((spec) => ({
      spec,
      child: null,
      startedAt: 0,
      failures: 0,
      cancel: () => {},
      shown: { label: spec.label, state: 'waiting', restarts: 0, lastCode: null, view: null, held: [] },
    }));
  }

  start(): void {
    for (const entry of this.#entries) this.#launch(entry);
  }

  states(): ChildState[] {
    return this.#entries.map(({ shown }) => ({ ...shown }));
  }

  stop(signal: NodeJS.Signals): void {
    this.#stopping = true;
    for (const entry of this.#entries) {
      entry.cancel();
      if (entry.child) entry.child.kill(signal);
      else entry.shown.state = 'ended';
    }
    this.#settle();
  }

  tell(message: SupervisorMessage): void {
    this.#told = message;
    for (const { child } of this.#entries) child?.send(message);
  }

  #launch(entry: Entry): void {
    const { label } = entry.spec;
    entry.startedAt = this.#ports.clock.now();
    entry.shown.state = 'running';
    let isOver = false;
    const child = this.#ports.spawn(entry.spec, {
      ended: (code, signal) => {
        if (isOver) return; // a failed start may be told twice
        isOver = true;
        this.#onEnded(entry, code, signal);
      },
      message: (message) => {
        if (isOver || !isView(message)) return;
        entry.shown.view = message.view;
        entry.shown.held = Array.isArray(message.held) ? message.held.map(String) : [];
        this.#ports.seen?.(this.#entries.indexOf(entry), message.view);
      },
    });
    if (isOver) return;
    entry.child = child;
    this.#ports.log.info({ worker: label, pid: child.pid }, 'Started.');
    if (this.#told?.t === 'pause') child.send(this.#told);
  }

  #onEnded(entry: Entry, code: number | null, signal: string | null): void {
    const { clock, log, randomBytes } = this.#ports;
    const { shown } = entry;
    entry.child = null;
    shown.view = null;
    shown.held = [];
    // Told to stop before it could listen, it ends by the signal.
    shown.lastCode = code ?? (this.#stopping && signal !== 'SIGKILL' ? exitCodes.stopped : null);
    this.#ports.seen?.(this.#entries.indexOf(entry), null);
    const isFinal = code !== null && [...onRequest, ...hopeless].includes(code);
    if (this.#stopping || isFinal) {
      shown.state = 'ended';
      log.info({ worker: shown.label, code, signal }, 'Ended.');
      return this.#settle();
    }
    entry.failures = clock.now() - entry.startedAt >= healthyMs ? 0 : entry.failures + 1;
    // Half of it for certain, so that a pause is one; the rest by chance, so that all do not come back together.
    const ceiling = Math.min(restartMsMax, restartMsMin * 2 ** Math.min(entry.failures, 30));
    const waitMs = ceiling / 2 + fullJitterMs(0, ceiling / 2, ceiling / 2, randomBytes);
    shown.state = 'waiting';
    log.warn({ worker: shown.label, code, signal, waitMs }, 'Ended unexpectedly; it is started again.');
    entry.cancel = clock.after(waitMs, () => {
      shown.restarts++;
      this.#launch(entry);
    });
  }

  #settle(): void {
    if (this.#entries.some(({ shown }) => shown.state !== 'ended')) return;
    const codes = this.#entries.map(({ shown }) => shown.lastCode ?? exitCodes.unexpected);
    this.#end.resolve(codes.find((code) => code !== 0) ?? 0);
  }
}

function isView(message: unknown): message is { t: 'view'; view: ContributorView; held?: unknown } {
  const { t, view } = (message ?? {}) as { t?: unknown; view?: { phase?: unknown } };
  return t === 'view' && typeof view === 'object' && view !== null && typeof view.phase === 'string';
}

export interface SpawnOptions {
  /** What every child's arguments follow. */
  program: readonly string[];
  /** File descriptors for what a child prints; ours unless given. */
  output?: number;
}

/** Starts a child in a process group of its own, so that a Ctrl-C in the terminal reaches us alone; its input ends with us, and with it the child. */
export function spawnChild({ program, output }: SpawnOptions): SupervisorPorts['spawn'] {
  const [command, ...before] = program as [string, ...string[]];
  const out = output ?? 'inherit';
  return ({ args, env }, events) => {
    const child = spawn(command, [...before, ...args], {
      env: { ...process.env, ...env },
      detached: true,
      windowsHide: true,
      stdio: ['pipe', out, out, 'ipc'],
    });
    child.once('error', () => events.ended(null, null));
    child.once('exit', (code, signal) => events.ended(code, signal));
    child.on('message', (message) => events.message(message));
    child.stdin?.on('error', () => undefined);
    return {
      pid: child.pid,
      kill: (signal) => void (isThere(child) && child.kill(signal)),
      send: (message) => void (child.connected && child.send(message, () => undefined)),
    };
  };
}

function isThere({ pid, exitCode, signalCode }: ChildProcess): boolean {
  return pid !== undefined && exitCode === null && signalCode === null;
}

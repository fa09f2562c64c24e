/**
 * Who may ask a node to stop, and how fast: signals and a parent that ends allow the time of `--drain-seconds`, the control socket as long as it takes. A second
 * signal stops at once; npm, a terminal and a supervisor may all pass the same one on, so only a later one is a second one.
 */
import type { Logger } from '../runtime/ports.ts';
import { exitCodes } from './exit-codes.ts';

const secondSignalMs = 1_000;

export interface StopRequest {
  /** Why, in words; resolves at the first request. */
  readonly asked: Promise<string>;
  readonly isAsked: boolean;
  /** Since the first request until everything must be over. */
  allowedMs(): number;
  /** As often as somebody likes: the shortest time wins. */
  ask(why: string, allowedMs: number): void;
}

export interface StopPorts {
  now: () => number;
  log: Logger;
  exit: (code: number) => void;
}

export function stopRequest(
  { now, log, exit }: StopPorts,
  drainMs: number,
): StopRequest & { signal(name: string): void } {
  const asked = Promise.withResolvers<string>();
  let askedAt: number | null = null;
  let signalAt: number | null = null;
  let endsAt = Infinity;
  const ask = (why: string, allowedMs: number) => {
    endsAt = Math.min(endsAt, now() + allowedMs);
    if (askedAt !== null) return;
    askedAt = now();
    log.info({ why }, 'Stopping.');
    asked.resolve(why);
  };
  return {
    asked: asked.promise,
    get isAsked() {
      return askedAt !== null;
    },
    allowedMs: () => endsAt - (askedAt ?? now()),
    ask,
    signal(name) {
      if (signalAt !== null && now() - signalAt > secondSignalMs) return exit(exitCodes.stoppedAtOnce);
      signalAt ??= now();
      ask(name, drainMs);
    },
  };
}

/** Listens to signals, to a supervisor's channel and, if asked to, to standard input. */
export function stopOnRequest(
  log: Logger,
  drainMs: number,
  exitWithParent: boolean,
  exit: (code: number) => void = (code) => process.exit(code),
): StopRequest {
  const request = stopRequest({ now: () => performance.now(), log, exit }, drainMs);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => request.signal(signal));
  process.on('disconnect', () => request.ask('The parent ended.', drainMs));
  process.channel?.unref();
  if (exitWithParent) {
    process.stdin.on('end', () => request.ask('The parent closed standard input.', drainMs));
    process.stdin.on('error', () => request.ask('Standard input failed.', drainMs));
    process.stdin.resume();
  }
  return request;
}

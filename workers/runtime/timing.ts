/** Waiting, over the clock port: sleep, time limits and the delays between tries. */
import { AtollError } from '#protocol/errors.ts';
import type { Clock, RandomBytes } from './ports.ts';

/** Resolves after `ms`. Throws the signal's reason as soon as it is aborted. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(abortError(signal));
    const onAbort = () => {
      cancel();
      reject(abortError(signal));
    };
    const cancel = clock.after(ms, () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** Runs `task` with a signal that also fires after `ms`; then throws `unavailable` with `message`. */
export async function withTimeLimit<T>(
  clock: Clock,
  ms: number,
  signal: AbortSignal,
  message: string,
  task: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController();
  const cancel = clock.after(ms, () => late.abort(new AtollError('unavailable', message)));
  const either = AbortSignal.any([signal, late.signal]);
  try {
    return await orAborted(task(either), either);
  } finally {
    cancel();
  }
}

/** The task's outcome, or the signal's reason if that comes first; the task itself is left to notice the signal. */
export function orAborted<T>(task: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(abortError(signal));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    task.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function abortError(signal: AbortSignal): AtollError {
  if (signal.reason instanceof AtollError) return signal.reason;
  return new AtollError('cancelled', 'The work was cancelled.', { cause: signal.reason });
}

/**
 * Exponential back-off with full jitter: uniform in [0, min(max, min * 2^attempt)], so that contributors which lost the same
 * coordinator do not come back together. Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
 */
export function fullJitterMs(
  attempt: number,
  minMs: number,
  maxMs: number,
  randomBytes: RandomBytes,
): number {
  const ceiling = Math.min(maxMs, minMs * 2 ** Math.min(attempt, 30));
  return Math.round(ceiling * fraction(randomBytes));
}

/** Uniform in [0, 1). */
function fraction(randomBytes: RandomBytes): number {
  return randomBytes(4).reduce((sum, byte) => sum * 256 + byte, 0) / 2 ** 32;
}

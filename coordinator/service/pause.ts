/** Waits that end early, and without an error, when what they belong to is closed. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Resolves after `ms`, or at once when the signal fires. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}

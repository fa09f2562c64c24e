/**
 * A goodbye in order: the unit in hand is finished if the time allows, else given back; what is committed is revealed and settled if its verdict comes
 * in time. The decision is a pure function of the view and the time; `drain` follows it.
 */
import type { Clock } from '../runtime/ports.ts';
import type { ContributorView } from '../runtime/view.ts';
import type { ShellControl } from '../runtime/contributor.ts';
import { limits } from '#protocol/limits.ts';

/** Of the time, this much at most is kept for leaving the network, and for reveals after the unit in hand. */
const goodbyeMsMax = limits.stopMsMax + 1_000;
const settleMsMax = 10_000;
/** Before that much is seen of a unit its speed is not known. */
const speedMsMin = 2_000;

/** Steps of the unit in hand, as first seen while draining. */
export interface Start {
  atMs: number;
  done: number;
}

export type DrainStep = 'done' | 'wait' | 'give-back' | 'give-up';

export function hasUnit({ phase, unit }: Pick<ContributorView, 'phase' | 'unit'>): boolean {
  return unit !== null || phase === 'fetching' || phase === 'computing';
}

/** What to do `elapsedMs` after draining began, with `allowedMs` in all; `start` is when the unit in hand was first seen. */
export function drainStep(
  view: Pick<ContributorView, 'phase' | 'unit' | 'pending'>,
  elapsedMs: number,
  allowedMs: number,
  start: Start | null,
): DrainStep {
  const busy = hasUnit(view);
  if (!busy && view.pending === 0) return 'done';
  const goodbyeMs = Math.min(goodbyeMsMax, allowedMs / 3);
  const leftMs = allowedMs - goodbyeMs - elapsedMs;
  if (leftMs <= 0) return 'give-up';
  if (!busy) return 'wait';
  const unitMs = leftMs - Math.min(settleMsMax, allowedMs / 3);
  return unitMs <= 0 || isTooSlow(view, elapsedMs, unitMs, start) ? 'give-back' : 'wait';
}

function isTooSlow(
  { unit }: Pick<ContributorView, 'unit'>,
  elapsedMs: number,
  leftMs: number,
  start: Start | null,
): boolean {
  if (!unit || !start || unit.total === 0) return false;
  const seenMs = elapsedMs - start.atMs;
  const steps = unit.done - start.done;
  if (seenMs < speedMsMin || steps <= 0) return false;
  return ((unit.total - unit.done) * seenMs) / steps > leftMs;
}

export interface DrainOptions {
  /** From the beginning; may become less while it lasts. */
  allowedMs: () => number;
  clock: Clock;
  /** Ends it at once. */
  signal: AbortSignal;
}

const lookMs = 100;

/** Resolves with what is left without a verdict. */
export async function drain(
  control: Pick<ShellControl, 'drain' | 'pause'>,
  view: () => ContributorView,
  { allowedMs, clock, signal }: DrainOptions,
): Promise<number> {
  const beganAt = clock.now();
  let start = null as (Start & { program: string }) | null;
  let isGivenBack = false;
  await control.drain();
  while (!signal.aborted) {
    const now = view();
    const elapsedMs = clock.now() - beganAt;
    const { unit } = now;
    if (unit && start?.program !== unit.program)
      start = { atMs: elapsedMs, done: unit.done, program: unit.program };
    const step = drainStep(now, elapsedMs, allowedMs(), start);
    if (step === 'done' || step === 'give-up') break;
    if (step === 'give-back' && !isGivenBack) {
      isGivenBack = true;
      await control.pause();
    }
    await new Promise<void>((resolve) => clock.after(lookMs, resolve));
  }
  return view().pending;
}

/**
 * Rest between units: a share of time (`--duty PERCENT`) or a cap on the power that the graphics processor draws on average (`--power-max W`).
 *
 * Both only pause: no limit of the card is ever set. A unit is never cut short, so a cap is kept over time and not at every moment; what was drawn too much is
 * made good by rest after it.
 */
import type { Clock, Logger } from '../../runtime/ports.ts';
import type { ContributorControl } from '../../runtime/view.ts';
import type { Gate } from './gate.ts';

/** The longest rest after one unit, whatever it took. */
const restMsMax = 60 * 60_000;
const readMs = 1_000;
/** Energy above the cap that may be drawn before there is rest, in seconds at the cap. */
const burstSeconds = 10;
/** A longer gap between two readings (the machine slept) says nothing about what was drawn in it. */
const gapMsMax = 10_000;
const hopelessMs = 10 * 60_000;

/** How long to rest after computing for `computedMs`, so that computing is `percent` of the time. */
export function restMsAfter(computedMs: number, percent: number): number {
  return Math.min(restMsMax, (computedMs * (100 - percent)) / percent);
}

/** Rests after every unit. `percent` is above 0 and at most 100. Returns what ends it. */
export async function followDuty(
  gate: Gate,
  control: ContributorControl,
  percent: number,
  clock: Clock,
): Promise<() => void> {
  let since: number | null = null;
  let cancel = () => {};
  let ended = false;
  await control.subscribe(({ phase }) => {
    if (ended || percent >= 100) return;
    if (phase === 'computing') since ??= clock.now();
    else if (since !== null) {
      const restMs = restMsAfter(clock.now() - since, percent);
      since = null;
      gate.hold('duty', `Resting, so that this machine computes ${percent}% of the time.`);
      cancel();
      cancel = clock.after(restMs, () => gate.letGo('duty'));
    }
  });
  return () => {
    ended = true;
    cancel();
    gate.letGo('duty');
  };
}

/** Energy that may still be drawn: fills at the cap, is drained by what is drawn, and is full after `burstSeconds` without any. */
export class EnergyBudget {
  readonly #watts: number;
  #joules: number;
  #at: number | null = null;

  constructor(watts: number) {
    this.#watts = watts;
    this.#joules = watts * burstSeconds;
  }

  /** Counts a reading at `now` (milliseconds) for the time since the last one. Returns whether work may be done. */
  drawn(watts: number, now: number): boolean {
    const ms = this.#at === null ? 0 : now - this.#at;
    this.#at = now;
    if (ms > 0 && ms <= gapMsMax) {
      const joules = this.#joules + ((this.#watts - watts) * ms) / 1000;
      this.#joules = Math.min(this.#watts * burstSeconds, joules);
    }
    return this.#joules >= 0;
  }

  /** Half of it is there: enough to begin again. */
  get recovered(): boolean {
    return this.#joules >= (this.#watts * burstSeconds) / 2;
  }
}

export interface PowerPorts {
  /** What is drawn now, in watts; null where it cannot be read just now. */
  readWatts: () => number | null;
  clock: Clock;
  log: Logger;
}

/** Rests while more than `watts` has been drawn on average. Returns what ends it. */
export function followPower(gate: Gate, watts: number, { readWatts, clock, log }: PowerPorts): () => void {
  const budget = new EnergyBudget(watts);
  let restingSince: number | null = null;
  let told = false;
  let cancel = () => {};
  const look = () => {
    cancel = clock.after(readMs, look);
    const drawn = readWatts();
    if (drawn === null) return;
    const now = clock.now();
    const may = budget.drawn(drawn, now);
    if (restingSince === null && !may) {
      restingSince = now;
      gate.hold('power', `Resting, so that the graphics processor draws ${watts} W on average.`);
    } else if (restingSince !== null && budget.recovered) {
      restingSince = null;
      gate.letGo('power');
    } else if (!told && restingSince !== null && drawn >= watts && now - restingSince > hopelessMs) {
      told = true;
      log.warn(
        { drawn, watts },
        'The graphics processor draws more than --power-max while it rests, so no work can be done.',
      );
    }
  };
  look();
  return () => {
    cancel();
    gate.letGo('power');
  };
}

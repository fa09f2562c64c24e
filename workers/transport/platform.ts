/** The platform's own clock and randomness, the same names in browsers, workers and Node. */
import type { Clock, RandomBytes } from '../runtime/ports.ts';

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

export const systemRandom: RandomBytes = (count) => crypto.getRandomValues(new Uint8Array(count));

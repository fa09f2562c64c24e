/** A clock that stands still until it is told to move. Timers run in order of their time. */
import type { Clock } from '../ports.ts';

export class FakeClock implements Clock {
  #now = 0;
  #next = 0;
  readonly #timers = new Map<number, { at: number; run: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const id = this.#next++;
    this.#timers.set(id, { at: this.#now + ms, run });
    return () => void this.#timers.delete(id);
  }

  get pending(): number {
    return this.#timers.size;
  }

  /** Moves on, running what comes due, with time for promises between the timers. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    for (;;) {
      await settle();
      const due = [...this.#timers]
        .filter(([, timer]) => timer.at <= until)
        .sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].run();
    }
    this.#now = until;
    await settle();
  }
}

/** Lets everything that is ready run: microtasks, and hashes from the platform's thread pool. */
export async function settle(turns = 4): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Waits (in real time, without an opinion on how long) until `read` gives something. */
export async function until<T>(read: () => T | undefined | false | null, what: string): Promise<T> {
  for (let i = 0; i < 4000; i++) {
    const value = read();
    if (value !== undefined && value !== false && value !== null) return value;
    await new Promise((resolve) => setTimeout(resolve, i < 200 ? 0 : 5));
  }
  throw new Error(`This never came: ${what}.`);
}

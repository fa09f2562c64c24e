/** The simulation's clock and dice: one queue of events in time order, one seed. Equal seeds replay equal histories. */
import { mix } from '#coordinator/planner/random.ts';

/** A stream of 32-bit numbers from a seed. */
export class Dice {
  readonly #seed: number;
  #count = 0;

  constructor(seed: number) {
    this.#seed = seed;
  }

  u32(): number {
    return mix(this.#seed, this.#count++);
  }

  /** Uniform in [0, 1). */
  fraction(): number {
    return this.u32() / 2 ** 32;
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** Exponential waiting time with this mean. */
  wait(mean: number): number {
    return -Math.log(1 - this.fraction()) * mean;
  }
}

interface Event {
  at: number;
  order: number;
  run: () => void;
}

/** A binary heap by time, then by order of arrival. */
export class Timeline {
  readonly #heap: Event[] = [];
  #order = 0;
  now = 0;

  after(ms: number, run: () => void): void {
    this.#heap.push({ at: this.now + Math.max(0, ms), order: this.#order++, run });
    let child = this.#heap.length - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (!this.#isBefore(child, parent)) break;
      this.#swap(child, parent);
      child = parent;
    }
  }

  /** Runs the next event; false when there is none. */
  step(): boolean {
    const next = this.#heap[0];
    if (!next) return false;
    const last = this.#heap.pop() as Event;
    if (this.#heap.length > 0) {
      this.#heap[0] = last;
      this.#sink();
    }
    this.now = next.at;
    next.run();
    return true;
  }

  #sink(): void {
    let parent = 0;
    for (;;) {
      let least = parent;
      for (const child of [2 * parent + 1, 2 * parent + 2]) {
        if (child < this.#heap.length && this.#isBefore(child, least)) least = child;
      }
      if (least === parent) return;
      this.#swap(parent, least);
      parent = least;
    }
  }

  #isBefore(a: number, b: number): boolean {
    const [left, right] = [this.#heap[a] as Event, this.#heap[b] as Event];
    return left.at < right.at || (left.at === right.at && left.order < right.order);
  }

  #swap(a: number, b: number): void {
    const held = this.#heap[a] as Event;
    this.#heap[a] = this.#heap[b] as Event;
    this.#heap[b] = held;
  }
}

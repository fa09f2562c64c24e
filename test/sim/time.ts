/**
 * The simulation's clock and dice: one queue of events in time order, one seed. Equal seeds replay equal histories.
 *
 * A run has tens of millions of events, so the queue is a heap of four children over typed arrays, and the dice a counter through one mixing function.
 */
import { mix } from '#coordinator/planner/random.ts';

/** A stream of 32-bit numbers from a seed (splitmix32 with two rounds of mixing). */
export class Dice {
  #state: number;

  constructor(...seed: number[]) {
    this.#state = mix(...seed);
  }

  u32(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return (x ^ (x >>> 15)) >>> 0;
  }

  /** Uniform in [0, 1). */
  fraction(): number {
    return this.u32() / 2 ** 32;
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** A whole number from 0 to `bound` - 1. */
  below(bound: number): number {
    return Math.floor(this.fraction() * bound);
  }

  /** Exponential waiting time with this mean. */
  wait(mean: number): number {
    return -Math.log(1 - this.fraction()) * mean;
  }
}

type Run = () => void;

/** Events by time, then by order of arrival. The heap moves numbers alone; what is to run stays in its slot. */
export class Timeline {
  now = 0;
  #size = 0;
  #order = 0;
  #at = new Float64Array(1024);
  #rank = new Float64Array(1024);
  #slot = new Int32Array(1024);
  readonly #run: (Run | undefined)[] = [];
  readonly #free: number[] = [];

  after(ms: number, run: Run): void {
    if (this.#size === this.#at.length) this.#grow();
    const [at, rank] = [this.now + Math.max(0, ms), this.#order++];
    const slot = this.#free.pop() ?? this.#run.length;
    this.#run[slot] = run;
    let child = this.#size++;
    while (child > 0) {
      const parent = (child - 1) >> 2;
      // An event that arrives later never goes before one of the same time.
      if ((this.#at[parent] as number) <= at) break;
      this.#move(parent, child);
      child = parent;
    }
    this.#set(child, at, rank, slot);
  }

  /** Runs the next event; false when there is none. */
  step(): boolean {
    if (this.#size === 0) return false;
    const slot = this.#slot[0] as number;
    const run = this.#run[slot] as Run;
    this.#run[slot] = undefined;
    this.#free.push(slot);
    this.now = this.#at[0] as number;
    const last = --this.#size;
    if (last > 0)
      this.#sink(this.#at[last] as number, this.#rank[last] as number, this.#slot[last] as number);
    run();
    return true;
  }

  #sink(at: number, rank: number, slot: number): void {
    let parent = 0;
    for (;;) {
      const first = 4 * parent + 1;
      if (first >= this.#size) break;
      let least = first;
      for (let child = first + 1; child < Math.min(first + 4, this.#size); child++) {
        if (this.#isBefore(child, this.#at[least] as number, this.#rank[least] as number)) least = child;
      }
      if (!this.#isBefore(least, at, rank)) break;
      this.#move(least, parent);
      parent = least;
    }
    this.#set(parent, at, rank, slot);
  }

  #isBefore(index: number, at: number, rank: number): boolean {
    const own = this.#at[index] as number;
    return own < at || (own === at && (this.#rank[index] as number) < rank);
  }

  #move(from: number, to: number): void {
    this.#set(to, this.#at[from] as number, this.#rank[from] as number, this.#slot[from] as number);
  }

  #set(index: number, at: number, rank: number, slot: number): void {
    this.#at[index] = at;
    this.#rank[index] = rank;
    this.#slot[index] = slot;
  }

  #grow(): void {
    const at = new Float64Array(2 * this.#at.length);
    const rank = new Float64Array(at.length);
    const slot = new Int32Array(at.length);
    at.set(this.#at);
    rank.set(this.#rank);
    slot.set(this.#slot);
    [this.#at, this.#rank, this.#slot] = [at, rank, slot];
  }
}

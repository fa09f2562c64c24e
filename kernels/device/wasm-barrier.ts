/**
 * How the threads of a WASM device meet: words of shared memory, and a barrier that spins a little before it sleeps.
 *
 * A thread that may not block (a page's main thread) only spins.
 */

/** Words of the control block. */
const words = {
  /** Grows by one when there is something to run. */
  epoch: 0,
  /** Address of what to run. */
  program: 1,
  arrived: 2,
  /** Grows by one each time all have arrived. */
  phase: 3,
  /** Not 0 once a thread has failed: the results are worthless. */
  failed: 4,
} as const;
export const controlBytes = 64;

/** Longest that a thread waits for the others to finish one kernel; after that they are taken for dead. */
const kernelMsMax = 120_000;

/** Rounds of the spin: about 20 microseconds, a few times what a short step takes. */
const spins = 4000;

export class Barrier {
  private readonly control: Int32Array;
  private readonly parts: number;
  private readonly mayBlock: boolean;

  constructor(buffer: ArrayBufferLike, at: number, parts: number) {
    this.control = new Int32Array(buffer, at, controlBytes / 4);
    this.parts = parts;
    this.mayBlock = canBlock(this.control);
  }

  /** Waits until every thread is here. False when one does not come. */
  meet(): boolean {
    const phase = Atomics.load(this.control, words.phase);
    if (Atomics.add(this.control, words.arrived, 1) === this.parts - 1) {
      Atomics.store(this.control, words.arrived, 0);
      Atomics.add(this.control, words.phase, 1);
      Atomics.notify(this.control, words.phase);
      return true;
    }
    return this.waitWhile(words.phase, phase, kernelMsMax);
  }

  /** The number of the run that a thread has seen last. */
  get epoch(): number {
    return Atomics.load(this.control, words.epoch);
  }

  /** Lets the other threads run the program at an address. */
  release(program: number): void {
    Atomics.store(this.control, words.program, program | 0);
    Atomics.add(this.control, words.epoch, 1);
    Atomics.notify(this.control, words.epoch);
  }

  /** Waits for a run after `epoch`; returns its program's address. */
  awaitRelease(epoch: number): number {
    this.waitWhile(words.epoch, epoch, Number.POSITIVE_INFINITY);
    return Atomics.load(this.control, words.program) >>> 0;
  }

  fail(): void {
    Atomics.store(this.control, words.failed, 1);
  }

  get failed(): boolean {
    return Atomics.load(this.control, words.failed) !== 0;
  }

  private waitWhile(word: number, value: number, msMax: number): boolean {
    for (let i = 0; i < spins; i++) if (Atomics.load(this.control, word) !== value) return true;
    while (Atomics.load(this.control, word) === value) {
      if (this.mayBlock && Atomics.wait(this.control, word, value, msMax) === 'timed-out') return false;
    }
    return true;
  }
}

function canBlock(control: Int32Array): boolean {
  try {
    Atomics.wait(control, words.failed, -1, 0);
    return true;
  } catch {
    return false;
  }
}

/**
 * Checkpoints to be pinned elsewhere as rounds close: one at a time, tried again with growing pauses, never in anybody's way.
 *
 * What waits is in memory and bounded; the oldest go first, since a newer checkpoint is worth more. After a restart pinning goes on with the next round.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { codeOf } from '#protocol/errors.ts';
import type { Logger } from '../service/ports.ts';

export interface PinnerPorts {
  /** Rejects when it is to be tried again. */
  pin: (cid: Cid, signal: AbortSignal) => Promise<void>;
  log: Logger;
  outcome: (outcome: 'pinned' | 'failed' | 'dropped') => void;
  pauseMs?: (attempt: number) => number;
}

const queueMax = 32;
const triesMax = 12;
/** One attempt; a checkpoint of some GiB over a slow line takes its time. */
const pinMsMax = 30 * 60_000;
const pauseMsMin = 1_000;
const pauseMsMax = 10 * 60_000;

export class Pinner {
  readonly #ports: PinnerPorts;
  readonly #queue: Cid[] = [];
  readonly #abort = new AbortController();
  #working: Promise<void> | null = null;

  constructor(ports: PinnerPorts) {
    this.#ports = ports;
  }

  /** Checkpoints that wait. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** Returns at once. */
  add(cid: Cid): void {
    if (this.#abort.signal.aborted || this.#queue.includes(cid)) return;
    this.#queue.push(cid);
    if (this.#queue.length > queueMax) {
      this.#queue.shift();
      this.#ports.outcome('dropped');
    }
    this.#working ??= this.#work().finally(() => (this.#working = null));
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#working;
  }

  async #work(): Promise<void> {
    for (let cid = this.#queue.shift(); cid !== undefined; cid = this.#queue.shift()) {
      if (this.#abort.signal.aborted) return;
      await this.#pin(cid);
    }
  }

  async #pin(cid: Cid): Promise<void> {
    const { pin, log, outcome, pauseMs = defaultPause } = this.#ports;
    const { signal } = this.#abort;
    for (let attempt = 1; attempt <= triesMax; attempt++) {
      try {
        await pin(cid, AbortSignal.any([signal, AbortSignal.timeout(pinMsMax)]));
        log.info({ cid }, 'A checkpoint was pinned.');
        return outcome('pinned');
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ cid, attempt, code: codeOf(error) }, 'A checkpoint could not be pinned.');
        // Garbage was collected before the node came back: there is nothing left to pin.
        if (codeOf(error) === 'not_found') break;
        if (attempt < triesMax) await pause(pauseMs(attempt), signal);
        if (signal.aborted) return;
      }
    }
    outcome('failed');
  }
}

function defaultPause(attempt: number): number {
  return Math.min(pauseMsMax, pauseMsMin * 2 ** attempt);
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    timer.unref();
    signal.addEventListener('abort', end, { once: true });
  });
}

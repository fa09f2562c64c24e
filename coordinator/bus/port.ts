/**
 * What coordinator processes on one database tell each other. Messages are hints: one may be lost, come twice or late, and none says anything
 * that the database does not; who hears of a gap looks there.
 */
import type { BusMessage } from './messages.ts';

export interface EventBus {
  /** False where there is no other process: nobody to ask, nobody to wait for. */
  readonly isShared: boolean;
  /** To all other processes, soon; returns at once. When too many wait, the oldest are dropped. */
  publish(message: BusMessage): void;
  /** Calls `listener` for what others publish, until the returned function is called. */
  subscribe(listener: (message: BusMessage) => void): () => void;
  /** Calls `listener` when messages may have been missed, until the returned function is called. */
  onGap(listener: () => void): () => void;
  close(): Promise<void>;
}

/** The listeners of a bus; one that throws keeps nothing from the others. */
export class Listeners<T extends unknown[]> {
  readonly #listeners = new Set<(...args: T) => void>();

  add(listener: (...args: T) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  call(...args: T): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(...args);
      } catch {
        // A hint that cannot be used is a hint that was lost.
      }
    }
  }
}

/**
 * Messages on their way out, in batches: one batch is under way at a time, and a batch that cannot be sent is dropped, since by the time it
 * could be its hints are stale. At most `busQueueMax` wait; beyond that the oldest go.
 */
import { limits } from '#protocol/limits.ts';
import { type BusMessage, takeBatch } from './messages.ts';

export class Outbox {
  readonly #send: (batch: Uint8Array) => Promise<void>;
  readonly #everyMs: number;
  readonly #queue: BusMessage[] = [];
  #timer: NodeJS.Timeout | null = null;
  #sending: Promise<void> | null = null;
  #closed = false;

  constructor(everyMs: number, send: (batch: Uint8Array) => Promise<void>) {
    this.#everyMs = everyMs;
    this.#send = send;
  }

  push(message: BusMessage): void {
    if (this.#closed) return;
    if (this.#queue.length >= limits.busQueueMax) this.#queue.splice(0, limits.busQueueMax / 4);
    this.#queue.push(message);
    this.#schedule();
  }

  /** Sends what waits, once, and takes no more. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer) clearTimeout(this.#timer);
    await this.#sending;
    await this.#flush();
  }

  #schedule(): void {
    if (this.#timer || this.#sending || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#sending = this.#flush().finally(() => {
        this.#sending = null;
        if (this.#queue.length > 0) this.#schedule();
      });
    }, this.#everyMs);
  }

  async #flush(): Promise<void> {
    const batch = takeBatch(this.#queue);
    if (batch) await this.#send(batch).catch(() => undefined);
  }
}

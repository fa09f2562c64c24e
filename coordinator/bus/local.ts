/** The bus within one process: between coordinators that a test runs side by side, or, alone on it, for none. */
import type { BusMessage } from './messages.ts';
import { type EventBus, Listeners } from './port.ts';

/** Several ends of one bus; each hears what the others publish, a turn later. */
export class LocalBus {
  readonly #ends = new Set<Listeners<[BusMessage]>>();

  connect(): EventBus {
    const heard = new Listeners<[BusMessage]>();
    this.#ends.add(heard);
    return {
      isShared: true,
      publish: (message) => {
        for (const end of this.#ends) if (end !== heard) queueMicrotask(() => this.#deliver(end, message));
      },
      subscribe: (listener) => heard.add(listener),
      onGap: () => () => undefined,
      close: async () => void this.#ends.delete(heard),
    };
  }

  #deliver(end: Listeners<[BusMessage]>, message: BusMessage): void {
    if (this.#ends.has(end)) end.call(message);
  }
}

/** For a process that is alone. */
export const noBus: EventBus = {
  isShared: false,
  publish: () => undefined,
  subscribe: () => () => undefined,
  onGap: () => () => undefined,
  close: async () => undefined,
};

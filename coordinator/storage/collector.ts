/** Collects garbage now and then, while the coordinator runs. */
import { toProblem } from '#protocol/errors.ts';
import type { Clock, Logger } from '../service/ports.ts';
import type { BlobStore } from './blobs.ts';
import { collectGarbage } from './garbage.ts';
import type { Storage } from './port.ts';

const everyMs = 6 * 3_600_000;

/** Ends when `close` is called, after what it is about. */
export function startCollecting(ports: {
  storage: Storage;
  blobs: BlobStore;
  clock: Clock;
  log: Logger;
  /** Of several processes one is enough. */
  leads: () => Promise<boolean>;
}): { close(): Promise<void> } {
  const { clock, log } = ports;
  const stop = new AbortController();
  let running: Promise<void> = Promise.resolve();
  const collect = async () => {
    try {
      if (!(await ports.leads())) return;
      const collected = await collectGarbage(ports, clock.now(), undefined, stop.signal);
      log.info(collected, 'Garbage was collected.');
    } catch (error) {
      if (!stop.signal.aborted) log.warn({ problem: toProblem(error) }, 'Garbage could not be collected.');
    }
  };
  const timer = setInterval(() => {
    running = running.then(collect);
  }, everyMs);
  timer.unref();
  return {
    close: async () => {
      clearInterval(timer);
      stop.abort();
      await running;
    },
  };
}

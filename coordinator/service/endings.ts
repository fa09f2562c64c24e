/**
 * Jobs that are not worked on any more, with results still to come: what is accepted of them is shown as soon as no check of it is open. Nobody
 * goes on from it, and the public ledger waits for every result that has yet to be shown.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { SlotRecord, Storage } from '../storage/port.ts';

type Ports = Pick<Storage, 'rounds' | 'slotsAfter' | 'unseal'>;

export class Endings {
  readonly #storage: Ports;
  readonly #jobs = new Set<Cid>();
  #looking: Promise<void> | null = null;
  #again = false;

  constructor(storage: Ports) {
    this.#storage = storage;
  }

  add(job: Cid): void {
    this.#jobs.add(job);
  }

  /** It is worked on again. */
  remove(job: Cid): void {
    this.#jobs.delete(job);
  }

  /** Something has been accepted. One look at a time; resolves when no more is due. */
  look(): Promise<void> {
    this.#again = true;
    this.#looking ??= this.#run().finally(() => (this.#looking = null));
    return this.#looking;
  }

  async #run(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      for (const job of [...this.#jobs]) if (await this.#isOver(job)) this.#jobs.delete(job);
    }
  }

  async #isOver(job: Cid): Promise<boolean> {
    const closed = (await this.#storage.rounds(job, 1))[0]?.round ?? 0;
    const sealed = (await this.#storage.slotsAfter(job, closed)).filter(
      (slot) => slot.sealed && isComing(slot),
    );
    let left = 0;
    for (const { unit, phase } of sealed) {
      if (phase !== 'accepted' || !(await this.#storage.unseal([unit]))) left += 1;
    }
    return left === 0;
  }
}

/** A result of it is here, or may come without anybody being given the unit. */
function isComing({ phase, replicas }: SlotRecord): boolean {
  return phase !== 'gathering' || replicas > 0;
}

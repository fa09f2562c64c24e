/**
 * The shelf in the storage worker, as the contributor's worker uses it. What is there is mirrored here, so that `has` need not ask. Where storage is refused, or its worker
 * breaks or does not answer, there is a shelf that keeps nothing and says why.
 */
import * as Comlink from 'comlink';
import type { Cid } from '#protocol/codec/cid.ts';
import { fromProblem } from '#protocol/errors.ts';
import type { KeptBlocks } from '../runtime/ports.ts';
import { noShelf } from './no-shelf.ts';
import type { Shelf } from './ports.ts';
import type { StorageApi } from './storage.worker.ts';

/** Some browsers leave a refused request pending for ever; looking through thousands of files takes a second or two. */
const openMsMax = 10_000;
const closeMsMax = 1_000;

export const refusedWhy =
  'This browser refuses storage, so downloaded blocks are kept in memory and gone when the tab closes.';

/** Never rejects. */
export async function openRemoteShelf(limitBytes: number): Promise<Shelf> {
  let worker: Worker | undefined;
  try {
    worker = new Worker(new URL('./storage.worker.ts', import.meta.url), { type: 'module' });
    const broken = new Promise<never>((_, reject) => {
      worker?.addEventListener('error', () => reject(new Error('The storage worker failed.')));
    });
    broken.catch(() => undefined);
    const shelf = new RemoteShelf(worker, broken);
    await within(openMsMax, shelf.open(limitBytes));
    return shelf;
  } catch {
    worker?.terminate();
    return noShelf(refusedWhy);
  }
}

class RemoteShelf implements Shelf {
  readonly #worker: Worker;
  readonly #remote: Comlink.Remote<StorageApi>;
  readonly #broken: Promise<never>;
  /** Held by the worker while it lives. */
  readonly #lock = `atoll-storage-${crypto.randomUUID()}`;
  readonly #cids = new Set<Cid>();
  #figures: KeptBlocks = { heldBytes: 0, limitBytes: 0, readBytes: 0 };

  constructor(worker: Worker, broken: Promise<never>) {
    this.#worker = worker;
    this.#remote = Comlink.wrap<StorageApi>(worker);
    this.#broken = broken;
    broken.catch(() => this.#onBroken());
  }

  get figures(): KeptBlocks {
    return this.#figures;
  }

  /** Throws `storage_failed`. */
  async open(limitBytes: number): Promise<void> {
    const onDropped = Comlink.proxy((cids: readonly Cid[]) => {
      for (const cid of cids) this.#cids.delete(cid);
    });
    const opened = await this.#answer(this.#remote.open(limitBytes, onDropped, this.#lock));
    if ('code' in opened) throw fromProblem(opened);
    for (const cid of opened.cids) this.#cids.add(cid);
    this.#figures = opened.figures;
  }

  has(cid: Cid): boolean {
    return this.#cids.has(cid);
  }

  async find(cid: Cid): Promise<Uint8Array | undefined> {
    try {
      const { bytes, figures } = await this.#answer(this.#remote.find(cid));
      this.#figures = figures;
      if (bytes) this.#cids.add(cid);
      else this.#cids.delete(cid);
      return bytes;
    } catch {
      return undefined;
    }
  }

  async keep(cid: Cid, bytes: Uint8Array): Promise<void> {
    try {
      const { isKept, figures } = await this.#answer(this.#remote.keep(cid, bytes));
      this.#figures = figures;
      if (isKept) this.#cids.add(cid);
    } catch {
      // It broke, and says so in its figures.
    }
  }

  async clear(): Promise<void> {
    const answer = await this.#answer(this.#remote.clear());
    if ('code' in answer) throw fromProblem(answer);
    this.#cids.clear();
    this.#figures = answer;
  }

  async close(): Promise<void> {
    await within(closeMsMax, this.#answer(this.#remote.close())).catch(() => undefined);
    this.#worker.terminate();
    // Granted when the worker is gone: who ends its own thread after this must not do so in the middle of that.
    const gone = new AbortController();
    const late = setTimeout(() => gone.abort(), closeMsMax);
    await navigator.locks?.request(this.#lock, { signal: gone.signal }, () => {}).catch(() => undefined);
    clearTimeout(late);
  }

  /** A worker that broke never answers. */
  async #answer<T>(call: T): Promise<Awaited<T>> {
    return await Promise.race([call, this.#broken]);
  }

  #onBroken(): void {
    this.#cids.clear();
    this.#figures = {
      ...this.#figures,
      heldBytes: 0,
      why: 'The storage of this browser failed; blocks are kept in memory only.',
    };
  }
}

function within<T>(ms: number, task: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('The storage did not answer.')), ms);
    task.then(resolve, reject).finally(() => clearTimeout(late));
  });
}

/**
 * The block store that a program sees: the cache first, then the source, with verification and a few tries. What the program puts is
 * pinned and remembered, because it may be pulled once the result is revealed.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError, codeOf } from '#protocol/errors.ts';
import type { BlockStore } from '#protocol/messages/file.ts';
import { limits } from '#protocol/limits.ts';
import type { BlockCache, RuntimePorts } from './ports.ts';
import { fullJitterMs, sleep, withTimeLimit } from './timing.ts';

export type FetchPorts = Pick<RuntimePorts, 'cache' | 'source' | 'clock' | 'randomBytes' | 'log'>;

/**
 * The verified bytes of a block. `onBytes` hears of every byte that was downloaded, good or bad.
 * Throws what the last try threw (`not_found`, `bad_block`, `unavailable`, ...), or `cancelled`.
 */
export async function fetchBlock(
  ports: FetchPorts,
  cid: Cid,
  signal: AbortSignal,
  onBytes: (count: number) => void,
): Promise<Uint8Array> {
  for (let attempt = 1; ; attempt++) {
    const cached = ports.cache.peek(cid) ?? (await ports.cache.find(cid));
    if (cached) return cached;
    try {
      const late = 'The block did not arrive in time.';
      const bytes = await withTimeLimit(ports.clock, limits.blockFetchMsMax, signal, late, (either) =>
        ports.source.fetch(cid, either),
      );
      onBytes(bytes.byteLength);
      await ports.cache.add(cid, bytes);
      return bytes;
    } catch (error) {
      if (signal.aborted || attempt >= limits.blockFetchTriesMax) throw error;
      ports.log.warn({ cid, attempt, code: codeOf(error) }, 'A block could not be fetched; trying again.');
      const { reconnectMsMin: min, reconnectMsMax: max } = limits;
      await sleep(ports.clock, fullJitterMs(attempt, min, max, ports.randomBytes), signal);
    }
  }
}

/** The store of one unit. `outputs` are the blocks it has put, each pinned once until `release`. */
export class UnitStore implements BlockStore {
  readonly #ports: FetchPorts;
  readonly #signal: AbortSignal;
  readonly #onBytes: (count: number) => void;
  readonly #outputs = new Set<Cid>();
  #released = false;

  constructor(ports: FetchPorts, signal: AbortSignal, onBytes: (count: number) => void) {
    this.#ports = ports;
    this.#signal = signal;
    this.#onBytes = onBytes;
  }

  get outputs(): readonly Cid[] {
    return [...this.#outputs];
  }

  get(cid: Cid, signal?: AbortSignal): Promise<Uint8Array> {
    const either = signal ? AbortSignal.any([this.#signal, signal]) : this.#signal;
    return fetchBlock(this.#ports, cid, either, this.#onBytes);
  }

  async put(bytes: Uint8Array, code?: number): Promise<Cid> {
    this.#signal.throwIfAborted();
    const cid = await this.#ports.cache.putPinned(bytes, code);
    if (this.#released || this.#outputs.has(cid)) this.#ports.cache.unpin(cid);
    else this.#outputs.add(cid);
    if (this.#released) throw new AtollError('cancelled', 'The unit was given up.');
    return cid;
  }

  /** The unit was given up: its outputs may go. */
  release(): void {
    this.#released = true;
    unpinAll(this.#ports.cache, this.#outputs);
    this.#outputs.clear();
  }
}

export function unpinAll(cache: BlockCache, cids: Iterable<Cid>): void {
  for (const cid of cids) cache.unpin(cid);
}

/**
 * Blocks in memory, least recently used first out, with a limit in bytes.
 *
 * Outputs of results that are not settled are pinned: they are what the coordinator will pull, and nobody else has them. Pinned blocks
 * may push the size over the limit, so whoever pins must look at `pinnedBytes` before taking on more.
 */
import { type Cid, cidOfBlock, rawCode, verifyBlock } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { BlockCache } from './ports.ts';

interface Entry {
  bytes: Uint8Array;
  pins: number;
}

export class MemoryBlockCache implements BlockCache {
  readonly limitBytes: number;
  /** In order of use, oldest first. */
  readonly #entries = new Map<Cid, Entry>();
  #sizeBytes = 0;
  #pinnedBytes = 0;

  constructor(limitBytes: number = limits.cacheBytesMax) {
    this.limitBytes = limitBytes;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get pinnedBytes(): number {
    return this.#pinnedBytes;
  }

  async get(cid: Cid): Promise<Uint8Array> {
    const bytes = this.peek(cid);
    if (!bytes) throw new AtollError('not_found', 'The block is not in the cache.', { details: { cid } });
    return bytes;
  }

  has(cid: Cid): boolean {
    return this.#entries.has(cid);
  }

  async find(cid: Cid): Promise<Uint8Array | undefined> {
    return this.peek(cid);
  }

  /** Nothing outlives the session here. */
  publish(): void {}

  peek(cid: Cid): Uint8Array | undefined {
    const entry = this.#entries.get(cid);
    if (!entry) return undefined;
    this.#entries.delete(cid);
    this.#entries.set(cid, entry);
    return entry.bytes;
  }

  async put(bytes: Uint8Array, code: number = rawCode): Promise<Cid> {
    return this.#keep(bytes, code, 0);
  }

  async putPinned(bytes: Uint8Array, code: number = rawCode): Promise<Cid> {
    return this.#keep(bytes, code, 1);
  }

  async add(cid: Cid, bytes: Uint8Array): Promise<void> {
    checkSize(bytes);
    const own = owned(bytes);
    await verifyBlock(cid, own);
    this.#insert(cid, own, 0);
  }

  /** Bytes that were read and checked by this side itself; they are not copied. */
  addVerified(cid: Cid, bytes: Uint8Array): void {
    this.#insert(cid, bytes, 0);
  }

  unpin(cid: Cid): void {
    const entry = this.#entries.get(cid);
    if (!entry || entry.pins === 0) return;
    entry.pins--;
    if (entry.pins === 0) this.#pinnedBytes -= entry.bytes.byteLength;
    this.#evict();
  }

  async #keep(bytes: Uint8Array, code: number, pins: number): Promise<Cid> {
    checkSize(bytes);
    const own = owned(bytes);
    const cid = await cidOfBlock(own, code);
    this.#insert(cid, own, pins);
    return cid;
  }

  #insert(cid: Cid, bytes: Uint8Array, pins: number): void {
    const entry = this.#entries.get(cid) ?? { bytes, pins: 0 };
    if (!this.#entries.delete(cid)) this.#sizeBytes += bytes.byteLength;
    if (entry.pins === 0 && pins > 0) this.#pinnedBytes += bytes.byteLength;
    entry.pins += pins;
    this.#entries.set(cid, entry);
    this.#evict();
  }

  #evict(): void {
    for (const [cid, entry] of this.#entries) {
      if (this.#sizeBytes <= this.limitBytes) return;
      if (entry.pins > 0) continue;
      this.#entries.delete(cid);
      this.#sizeBytes -= entry.bytes.byteLength;
    }
  }
}

function checkSize(bytes: Uint8Array): void {
  if (bytes.byteLength <= limits.blockBytesMax) return;
  throw new AtollError(
    'too_large',
    `The block has ${bytes.byteLength} bytes; ${limits.blockBytesMax} are allowed.`,
  );
}

/** A copy: the caller may write into its bytes later, and a view would keep its whole buffer alive. */
function owned(bytes: Uint8Array): Uint8Array {
  return bytes.slice();
}

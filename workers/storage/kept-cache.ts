/**
 * The runtime's block cache with a shelf behind it: memory first, then the disk.
 *
 * What goes to the disk is what anybody may know: inputs, and outputs that the verdict `agreed` was on (`publish`). Outputs that are not settled stay in memory, pinned, so
 * that nothing of them is found, or given to a peer, after a reload. Writing never holds up a unit, unless more than `keptQueueBytesMax` wait for the disk.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import { MemoryBlockCache } from '../runtime/block-cache.ts';
import type { BlockCache, KeptBlocks } from '../runtime/ports.ts';
import type { Shelf } from './ports.ts';

export class KeptBlockCache implements BlockCache {
  readonly #memory: MemoryBlockCache;
  readonly #shelf: Shelf;
  /** Reads that are going on, so that a block asked for twice at once is read once. */
  readonly #finding = new Map<Cid, Promise<Uint8Array | undefined>>();
  #queuedBytes = 0;
  #room: PromiseWithResolvers<void> | null = null;

  constructor(shelf: Shelf, memory = new MemoryBlockCache()) {
    this.#shelf = shelf;
    this.#memory = memory;
  }

  get sizeBytes(): number {
    return this.#memory.sizeBytes;
  }

  get pinnedBytes(): number {
    return this.#memory.pinnedBytes;
  }

  get limitBytes(): number {
    return this.#memory.limitBytes;
  }

  get kept(): KeptBlocks {
    return this.#shelf.figures;
  }

  has(cid: Cid): boolean {
    return this.#memory.has(cid) || this.#shelf.has(cid);
  }

  peek(cid: Cid): Uint8Array | undefined {
    return this.#memory.peek(cid);
  }

  async find(cid: Cid): Promise<Uint8Array | undefined> {
    const held = this.#memory.peek(cid);
    if (held || !this.#shelf.has(cid)) return held;
    const reading = this.#finding.get(cid) ?? this.#read(cid);
    this.#finding.set(cid, reading);
    return reading.finally(() => this.#finding.delete(cid));
  }

  async get(cid: Cid): Promise<Uint8Array> {
    const bytes = await this.find(cid);
    if (!bytes) throw new AtollError('not_found', 'The block is not in the cache.', { details: { cid } });
    return bytes;
  }

  async add(cid: Cid, bytes: Uint8Array): Promise<void> {
    await this.#memory.add(cid, bytes);
    await this.#keep(cid, bytes);
  }

  async put(bytes: Uint8Array, code?: number): Promise<Cid> {
    const cid = await this.#memory.put(bytes, code);
    await this.#keep(cid, bytes);
    return cid;
  }

  putPinned(bytes: Uint8Array, code?: number): Promise<Cid> {
    return this.#memory.putPinned(bytes, code);
  }

  unpin(cid: Cid): void {
    this.#memory.unpin(cid);
  }

  publish(cid: Cid): void {
    const bytes = this.#memory.peek(cid);
    if (bytes) void this.#keep(cid, bytes);
  }

  /** Forgets what outlives the session; what is in memory stays for the unit in hand. Throws `storage_failed`. */
  clear(): Promise<void> {
    return this.#shelf.clear();
  }

  close(): Promise<void> {
    return this.#shelf.close();
  }

  async #read(cid: Cid): Promise<Uint8Array | undefined> {
    const bytes = await this.#shelf.find(cid);
    if (bytes) this.#memory.addVerified(cid, bytes);
    return bytes;
  }

  /** Resolves when the block waits for the disk, which is at once while few do. */
  async #keep(cid: Cid, bytes: Uint8Array): Promise<void> {
    if (this.#shelf.has(cid)) return;
    while (this.#queuedBytes > limits.keptQueueBytesMax)
      await (this.#room ??= Promise.withResolvers()).promise;
    this.#queuedBytes += bytes.byteLength;
    void this.#shelf.keep(cid, bytes).then(() => {
      this.#queuedBytes -= bytes.byteLength;
      this.#room?.resolve();
      this.#room = null;
    });
  }
}

/**
 * A cache whose outputs are withheld from peers until it is told that they may be published. Everything else is the cache's own.
 *
 * With a document its files become known: others look for their blocks by the file, which whoever made them has no other reason to know.
 */
import { type Cid, cborCode, parseCid } from '#protocol/codec/cid.ts';
import { filesOf } from '../runtime/catch-up.ts';
import type { BlockCache, KeptBlocks } from '../runtime/ports.ts';
import { manifestOfFiles } from './exchange/manifest.ts';
import type { ShardExchange } from './shard-exchange.ts';

export class ExchangedCache implements BlockCache {
  readonly #cache: BlockCache;
  readonly #exchange: Pick<ShardExchange, 'serve' | 'withhold' | 'hold'>;

  constructor(cache: BlockCache, exchange: Pick<ShardExchange, 'serve' | 'withhold' | 'hold'>) {
    this.#cache = cache;
    this.#exchange = exchange;
  }

  get sizeBytes(): number {
    return this.#cache.sizeBytes;
  }

  get pinnedBytes(): number {
    return this.#cache.pinnedBytes;
  }

  get limitBytes(): number {
    return this.#cache.limitBytes;
  }

  has(cid: Cid): boolean {
    return this.#cache.has(cid);
  }

  peek(cid: Cid): Uint8Array | undefined {
    return this.#cache.peek(cid);
  }

  find(cid: Cid): Promise<Uint8Array | undefined> {
    return this.#cache.find(cid);
  }

  get(cid: Cid, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#cache.get(cid, signal);
  }

  add(cid: Cid, bytes: Uint8Array): Promise<void> {
    return this.#cache.add(cid, bytes);
  }

  put(bytes: Uint8Array, code?: number): Promise<Cid> {
    return this.#cache.put(bytes, code);
  }

  async putPinned(bytes: Uint8Array, code?: number): Promise<Cid> {
    const cid = await this.#cache.putPinned(bytes, code);
    this.#exchange.withhold([cid]);
    return cid;
  }

  unpin(cid: Cid): void {
    this.#cache.unpin(cid);
  }

  publish(cid: Cid): void {
    this.#cache.publish(cid);
    this.#exchange.serve([cid]);
    if (parseCid(cid).code === cborCode) void this.#holdFiles(cid).catch(() => {});
  }

  /** Its blocks that are not public yet are announced when they are. */
  async #holdFiles(cid: Cid): Promise<void> {
    const bytes = this.#cache.peek(cid) ?? (await this.#cache.find(cid));
    const files = bytes ? filesOf(cid, bytes) : [];
    if (files.length > 0) this.#exchange.hold(manifestOfFiles(cid, files));
  }

  get kept(): KeptBlocks {
    return this.#cache.kept as KeptBlocks;
  }

  async clear(): Promise<void> {
    await this.#cache.clear?.();
  }
}

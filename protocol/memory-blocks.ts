/** Blocks in a map: for a computation that is whole in one process, such as an audit, an example or a test. No limit but memory. */
import { type Cid, cidOfBlock, rawCode } from './codec/cid.ts';
import { AtollError } from './errors.ts';
import type { BlockStore } from './messages/file.ts';

export class MemoryBlocks implements BlockStore {
  readonly #blocks = new Map<Cid, Uint8Array>();

  get(cid: Cid): Promise<Uint8Array> {
    const bytes = this.#blocks.get(cid);
    if (bytes) return Promise.resolve(bytes);
    return Promise.reject(new AtollError('not_found', 'No such block here.', { details: { cid } }));
  }

  async put(bytes: Uint8Array, code: number = rawCode): Promise<Cid> {
    const own = bytes.slice();
    const cid = await cidOfBlock(own, code);
    this.#blocks.set(cid, own);
    return cid;
  }
}

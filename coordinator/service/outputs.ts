/**
 * Whether the outputs of accepted results are all here: they may have been collected since (storage/garbage.ts), and a job that plans the same
 * unit again needs them. What has been found complete is not looked at again: it is needed from then on, so it is kept.
 */
import { linksOf } from '#protocol/codec/cbor.ts';
import { type Cid, cborCode, parseCid } from '#protocol/codec/cid.ts';
import { decodeResult } from '#protocol/messages/workunit.ts';
import type { Blobs } from '../storage/blobs.ts';
import type { SlotRecord, Storage } from '../storage/port.ts';

export class Outputs {
  readonly #storage: Pick<Storage, 'isPublic'>;
  readonly #blobs: Blobs;
  readonly #complete = new Set<Cid>();

  constructor(storage: Pick<Storage, 'isPublic'>, blobs: Blobs) {
    this.#storage = storage;
    this.#blobs = blobs;
  }

  async areHere({ unit, sealed, result }: SlotRecord): Promise<boolean> {
    if (result === null) return false;
    // Nothing is collected of what has yet to be shown.
    if (!sealed && !this.#complete.has(unit)) {
      for (const output of Object.values(decodeResult(result).outputs)) {
        if (!(await this.#isHere(output))) return false;
      }
    }
    this.#complete.add(unit);
    return true;
  }

  /** Something was missing all the same: everything is looked at once more. */
  doubt(): void {
    this.#complete.clear();
  }

  /** With all that it links to, and served. */
  async #isHere(cid: Cid): Promise<boolean> {
    if (!(await this.#storage.isPublic(cid)) || !(await this.#blobs.has(cid))) return false;
    if (parseCid(cid).code !== cborCode) return true;
    for (const link of await this.#linksIn(cid)) if (!(await this.#isHere(link))) return false;
    return true;
  }

  /** A document that is not canonical links to nothing. */
  async #linksIn(cid: Cid): Promise<Cid[]> {
    const bytes = await this.#blobs.get(cid);
    try {
      return linksOf(bytes);
    } catch {
      return [];
    }
  }
}

/** Result documents by digest, parsed once for all the replicas that hold the same: a checked parse costs as much as a database operation. */
import type { Cid } from '#protocol/codec/cid.ts';
import { decodeResult, type Result } from '#protocol/messages/workunit.ts';

/** Enough for the units that are in the air at once; a kilobyte each. */
const resultsMax = 2_048;

export class Results {
  readonly #known = new Map<Cid, Result>();

  /** The document in `bytes`, whose CID is `digest`. Throws as `decodeResult` does. */
  read(digest: Cid, bytes: Uint8Array): Result {
    const known = this.#known.get(digest);
    if (known) return known;
    const result = decodeResult(bytes);
    if (this.#known.size >= resultsMax) this.#forgetOldest();
    this.#known.set(digest, result);
    return result;
  }

  #forgetOldest(): void {
    for (const digest of this.#known.keys()) {
      this.#known.delete(digest);
      return;
    }
  }
}

/**
 * The head of the queue as this process last saw it, for those who ask for work: the ids of units that want replicas, in the order of the queue.
 *
 * Processes on one database share the queue without fighting for it: of units that nobody has a replica of yet, each takes those of its own slice,
 * and looks that much further down the queue, so that its window is as wide as if it were alone. A unit that has a replica is for all: who
 * computes it second must not depend on where the first was connected. Near the end of the queue slices do not count.
 *
 * What is shown here may be taken already; whoever takes it finds out.
 */
import type pg from 'pg';
import type { Cid } from '#protocol/codec/cid.ts';
import type { RowCache } from './cache.ts';

/** Which part of the units that nobody has begun is this process's. */
export interface Slice {
  index: number;
  count: number;
}

const freshMs = 200;
/** Longer windows are shown in stretches, so that no more of them is read than is asked for. */
const wholeMax = 1_024;
const stretchMin = 64;
const rows = (isUntouched: string) =>
  `SELECT cid, xmin, ${isUntouched} FROM units u WHERE wanted > 0 AND paused = 0 ORDER BY queue LIMIT $1`;
const alone = { name: 'window', text: rows('true') };
const among = {
  name: 'window among others',
  text: rows('NOT EXISTS (SELECT FROM replicas r WHERE r.unit = u.cid)'),
};

export class WorkWindow {
  readonly #cache: RowCache;
  readonly #slice: () => Slice;
  #units: readonly Cid[] = [];
  #size = 0;
  #taken = 0;
  #at = -Infinity;

  constructor(cache: RowCache, slice: () => Slice) {
    this.#cache = cache;
    this.#slice = slice;
  }

  /** When it was looked at, by the monotonic clock. */
  get at(): number {
    return this.#at;
  }

  /** Half of it is taken, or somebody asks for a longer one, or it is old. */
  isSpent(size: number): boolean {
    const isShort = 2 * this.#taken >= this.#units.length || size > this.#size;
    return isShort || performance.now() - this.#at > Math.max(freshMs, this.#units.length / 10);
  }

  noteTaken(count: number): void {
    this.#taken += count;
  }

  async renew(client: pg.Client, size: number): Promise<void> {
    const at = performance.now();
    const { index, count } = this.#slice();
    const query = { ...(count === 1 ? alone : among), values: [size * count], rowMode: 'array' };
    const found = (await client.query<[Cid, string, boolean]>(query)).rows;
    const own: Cid[] = [];
    for (const [cid, version, isUntouched] of found) {
      const known = this.#cache.unit(cid);
      if (known && known.version !== version) this.#cache.dropUnit(cid);
      if (!isUntouched || sliceOf(cid, count) === index) own.push(cid);
    }
    const isEnd = own.length < Math.min(size, found.length) / 4;
    this.#units = (isEnd ? found.map(([cid]) => cid) : own).slice(0, size);
    this.#size = size;
    this.#taken = 0;
    this.#at = at;
  }

  /** All of it, or of a long one a random stretch that is long enough for so many who ask. */
  shown(asks: number, random: number): readonly Cid[] {
    const { length } = this.#units;
    if (length <= wholeMax) return this.#units;
    const from = Math.floor((random / 2 ** 32) * length);
    const most = Math.min(length, stretchMin + asks);
    return Array.from({ length: most }, (_, i) => this.#units[(from + i) % length] as Cid);
  }
}

/** The end of a CID is as good as random. */
function sliceOf(cid: Cid, count: number): number {
  const { length } = cid;
  return (
    (cid.charCodeAt(length - 2) * 31 + cid.charCodeAt(length - 3) * 7 + cid.charCodeAt(length - 4)) % count
  );
}

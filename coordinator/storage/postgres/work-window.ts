/**
 * The head of the queue as this process last saw it, for those who ask for work: the ids of units that want replicas, in the order of the queue.
 *
 * Processes on one database share the queue without fighting for it: each takes those units of a slice of its own, and looks that much further down the
 * queue, so that its window is as wide as if it were alone. The slice of a unit that somebody has begun is another one, independent of the first:
 * who computes a unit second must not depend on where the first was connected. One that nobody of its slice takes is shown by all after a while,
 * and near the end of the queue, and for whoever finds nothing, slices do not count.
 *
 * What is shown here may be taken already; whoever takes it finds out.
 */
import type pg from 'pg';
import type { Cid } from '#protocol/codec/cid.ts';
import type { RowCache } from './cache.ts';

/** Which part of the queue is this process's. */
export interface Slice {
  index: number;
  count: number;
}

const freshMs = 200;
/** A unit that somebody has begun and that nobody of its slice takes for so long is shown by all. */
const lateMs = 1_000;
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
  /** Units of others' slices that somebody has begun, and since when they have been seen to wait. */
  #foreign = new Map<Cid, number>();
  /** All of the queue's head, which others are shown as well. */
  #isWhole = false;
  #isAlone = true;

  constructor(cache: RowCache, slice: () => Slice) {
    this.#cache = cache;
    this.#slice = slice;
  }

  /** It shows nothing of what there is to who came at that moment, and should be looked at again, whole: it is older, or only a part. */
  isShortFor(cameAt: number): boolean {
    return cameAt > this.#at || (cameAt > -Infinity && !this.#isWhole);
  }

  /** Half of it is taken, or somebody asks for a longer one, or it is old. */
  isSpent(size: number): boolean {
    const isShort = 2 * this.#taken >= this.#units.length || size > this.#size;
    return isShort || performance.now() - this.#at > Math.max(freshMs, this.#units.length / 10);
  }

  noteTaken(count: number): void {
    this.#taken += count;
  }

  /** `all`: somebody found nothing in what was this process's part. */
  async renew(client: pg.Client, size: number, all = false): Promise<void> {
    const at = performance.now();
    const { index, count } = this.#slice();
    const query = { ...(count === 1 ? alone : among), values: [size * count], rowMode: 'array' };
    const found = (await client.query<[Cid, string, boolean]>(query)).rows;
    const own: Cid[] = [];
    const foreign = new Map<Cid, number>();
    for (const [cid, version, isUntouched] of found) {
      const known = this.#cache.unit(cid);
      if (known && known.version !== version) this.#cache.dropUnit(cid);
      const isOwn = sliceOf(cid, count, isUntouched ? 0 : slicesApart) === index;
      if (!isOwn && !isUntouched) foreign.set(cid, this.#foreign.get(cid) ?? at);
      if (isOwn || at - (foreign.get(cid) ?? at) > lateMs) own.push(cid);
    }
    this.#foreign = foreign;
    const isEnd = all || own.length < Math.min(size, found.length) / 4;
    this.#units = (isEnd ? found.map(([cid]) => cid) : own).slice(0, size);
    this.#isWhole = isEnd || count === 1;
    this.#isAlone = count === 1;
    this.#size = size;
    this.#taken = 0;
    this.#at = at;
  }

  /**
   * Whether another process may have changed a unit since this one last saw it: one that waits for a commitment, or that others are shown as well. Of
   * the others a process knows what it has made of them itself.
   */
  mayDiffer(cid: Cid): boolean {
    const known = this.#cache.unit(cid);
    if (!known || this.#foreign.has(cid) || (this.#isWhole && !this.#isAlone)) return true;
    return known.replicas.some(({ state }) => state === 'leased');
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

/** How far from each other in a CID the characters are that the two slices go by. */
const slicesApart = 4;

/** The end of a CID is as good as random. */
function sliceOf(cid: Cid, count: number, back: number): number {
  const at = cid.length - 2 - back;
  return (cid.charCodeAt(at) * 31 + cid.charCodeAt(at - 1) * 7 + cid.charCodeAt(at - 2)) % count;
}

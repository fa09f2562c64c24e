/** What each operation of a batch that searched is shown. */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Search } from '../../record/view.ts';
import type { Batch } from './batch.ts';

/** From so many units for each who asks on, everybody is shown others. */
const dealtMin = 8;
/** Of short windows exactly the first ones that want a replica count. */
const shortMax = 64;

export class Offers {
  readonly #batch: Batch;
  readonly #due: readonly Cid[];
  readonly #touched: ReadonlyMap<Search, readonly Cid[]>;
  /** Units that want replicas, in the order of the queue. */
  work: readonly Cid[];
  /** Who asks for work, in the order of the batch. */
  readonly #asks: ReadonlyMap<Search, number>;

  constructor(
    batch: Batch,
    work: readonly Cid[],
    due: readonly Cid[],
    touched: ReadonlyMap<Search, readonly Cid[]>,
    asks: readonly Search[],
  ) {
    this.#asks = new Map(asks.map((search, i) => [search, i]));
    this.#batch = batch;
    this.work = work;
    this.#due = due;
    this.#touched = touched;
  }

  of(search: Search | undefined): readonly Cid[] {
    if (!search) return [];
    if (search.kind === 'touched') return this.#touched.get(search) ?? [];
    if (search.kind === 'work') return this.#workFor(search);
    const isDue = (cid: Cid) => (this.#batch.peek(cid)?.dueAt ?? Infinity) < search.before;
    return this.#due.filter(isDue).slice(0, search.most);
  }

  #workFor(search: Extract<Search, { kind: 'work' }>): Cid[] {
    const wants = (cid: Cid) => {
      const unit = this.#batch.peek(cid);
      return unit !== null && unit.wanted > 0 && !unit.paused;
    };
    if (this.#asks.size > 1 && this.work.length >= dealtMin * this.#asks.size)
      return this.#deal(search, wants);
    return this.#shareFrom(search, wants);
  }

  /**
   * Every so manieth unit from a place of one's own on, the first of the batch's places being random: what one is shown does not depend on what others
   * take, so that running the batch again, when a row has changed, changes as little as it can.
   */
  #deal(search: Extract<Search, { kind: 'work' }>, wants: (cid: Cid) => boolean): Cid[] {
    const { length } = this.work;
    const step = this.#asks.size;
    const first = this.#asks.keys().next().value as Extract<Search, { kind: 'work' }>;
    const start = Math.floor((first.random / 2 ** 32) * length) + (this.#asks.get(search) ?? 0);
    const turns = Math.floor(length / step);
    const offset = Math.floor((search.random / 2 ** 32) * turns);
    const offered: Cid[] = [];
    for (let i = 0; i < turns && offered.length < search.most; i++) {
      const cid = this.work[(start + ((offset + i) % turns) * step) % length] as Cid;
      if (wants(cid)) offered.push(cid);
    }
    return offered;
  }

  /** From a random place of the window on, without what earlier operations of the batch have taken meanwhile. */
  #shareFrom(
    { random, window, most }: Extract<Search, { kind: 'work' }>,
    wants: (cid: Cid) => boolean,
  ): Cid[] {
    const inWindow = window <= shortMax ? firstOf(this.work, window, wants) : this.work;
    const { length } = inWindow;
    const from = Math.floor((random / 2 ** 32) * length);
    const offered: Cid[] = [];
    for (let i = 0; i < length && offered.length < most; i++) {
      const cid = inWindow[(from + i) % length] as Cid;
      if (wants(cid)) offered.push(cid);
    }
    return offered;
  }
}

/** One look for what is overdue serves all that ask. */
export function dueOf(searches: readonly Search[]): Extract<Search, { kind: 'due' }> | null {
  const asked = searches.filter((search) => search.kind === 'due');
  if (asked.length === 0) return null;
  return {
    kind: 'due',
    before: Math.max(...asked.map(({ before }) => before)),
    most: Math.max(...asked.map(({ most }) => most)),
  };
}

function firstOf<T>(list: readonly T[], most: number, test: (item: T) => boolean): T[] {
  const found: T[] = [];
  for (const item of list) {
    if (found.length === most) break;
    if (test(item)) found.push(item);
  }
  return found;
}

/** The indexes of the memory store: the queue of units, deadlines, open replicas, and who had a hand in what. */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import { scale } from '../../planner/random.ts';
import { isOpen } from '../../record/units.ts';
import type { ReplicaRow } from '../../record/rows.ts';

/** Gaps that the queue may have before it is closed up. */
const gapsMax = 1_024;
/** Units left out of one offer before the search ends. */
const leftOutMax = 256;

interface Place {
  cid: Cid;
  queue: number;
  /** False while the unit wants nothing more: the place stays until the queue is closed up, and is taken again should the unit come back. */
  taken: boolean;
}

/** Units that want a replica, in the order of their queue tags. */
export class QueueIndex {
  /** Of every place in the order, taken or not, the last one of a unit. */
  readonly #places = new Map<Cid, Place>();
  #order: Place[] = [];
  #gaps = 0;

  get size(): number {
    return this.#order.length - this.#gaps;
  }

  set(cid: Cid, queue: number | null): void {
    const place = this.#places.get(cid);
    if (place?.taken) {
      if (place.queue === queue) return;
      place.taken = false;
      this.#gaps += 1;
    }
    if (queue === null) return;
    if (place?.queue === queue) {
      place.taken = true;
      this.#gaps -= 1;
      return;
    }
    const added = { cid, queue, taken: true };
    this.#places.set(cid, added);
    this.#insert(added);
  }

  #insert(place: Place): void {
    const last = this.#order.at(-1);
    if (!last || last.queue <= place.queue) {
      this.#order.push(place);
      return;
    }
    this.#order.splice(this.#rank(place.queue), 0, place);
  }

  /** The first place behind every tag up to `queue`. */
  #rank(queue: number): number {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#order[middle] as Place).queue <= queue) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Up to `most` of the first `window`, from a random place on and around; `isTaken` leaves some out. */
  from(random: number, window: number, most: number, isTaken: (cid: Cid) => boolean = () => false): Cid[] {
    // Gaps gather at the front, so a window must be closed up before they fill it.
    if (this.#gaps > Math.max(gapsMax, Math.min(window, this.size) >> 1)) this.#closeUp();
    const span = Math.min(this.#order.length, this.#spanOf(window));
    const found: Cid[] = [];
    const start = scale(random, span);
    let leftOut = 0;
    for (let i = 0; i < span && found.length < most && leftOut < leftOutMax; i++) {
      const place = this.#order[(start + i) % span] as Place;
      if (!place.taken) continue;
      if (isTaken(place.cid)) leftOut += 1;
      else found.push(place.cid);
    }
    return found;
  }

  /** How far to look for `window` units: exact for a small window, at least as far for a large one. */
  #spanOf(window: number): number {
    if (window >= this.size) return this.#order.length;
    if (window > gapsMax) return window + this.#gaps;
    let seen = 0;
    let span = 0;
    while (seen < window) if ((this.#order[span++] as Place).taken) seen += 1;
    return span;
  }

  #closeUp(): void {
    for (const place of this.#order) {
      if (!place.taken && this.#places.get(place.cid) === place) this.#places.delete(place.cid);
    }
    this.#order = this.#order.filter((place) => place.taken);
    this.#gaps = 0;
  }
}

interface Due {
  cid: Cid;
  at: number;
}

/** A binary heap of deadlines; entries that no longer hold are skipped when they come up. */
export class DueIndex {
  readonly #at = new Map<Cid, number>();
  readonly #heap: Due[] = [];

  set(cid: Cid, at: number | null): void {
    if (this.#at.get(cid) === (at ?? undefined)) return;
    if (at === null) {
      this.#at.delete(cid);
      return;
    }
    this.#at.set(cid, at);
    this.#push({ cid, at });
  }

  /** The most overdue first. What is found stays in the index until its unit is put again. */
  before(time: number, most: number): Cid[] {
    const found: Due[] = [];
    const seen = new Set<Cid>();
    while (found.length < most) {
      const top = this.#heap[0];
      if (!top || top.at >= time) break;
      this.#pop();
      if (this.#at.get(top.cid) !== top.at || seen.has(top.cid)) continue;
      seen.add(top.cid);
      found.push(top);
    }
    for (const due of found) this.#push(due);
    return found.map((due) => due.cid);
  }

  #push(due: Due): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push(due);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const above = heap[parent] as Due;
      if (above.at <= due.at) break;
      heap[i] = above;
      i = parent;
    }
    heap[i] = due;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Due;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && (heap[child + 1] as Due).at < (heap[child] as Due).at) child += 1;
      if ((heap[child] as Due).at >= last.at) break;
      heap[i] = heap[child] as Due;
      i = child;
    }
    heap[i] = last;
  }
}

/** Open replicas by contributor. */
export class OpenIndex {
  readonly #of = new Map<Hex, readonly ReplicaRow[]>();

  of(contributor: Hex): readonly ReplicaRow[] {
    return this.#of.get(contributor) ?? [];
  }

  set(old: ReplicaRow | null, row: ReplicaRow | null): void {
    const wasOpen = old !== null && isOpen(old.state);
    const open = row !== null && isOpen(row.state);
    if (!wasOpen && !open) return;
    const { contributor } = (row ?? old) as ReplicaRow;
    const list = this.of(contributor);
    let next: readonly ReplicaRow[];
    if (!wasOpen) next = [...list, row as ReplicaRow];
    else if (open) next = list.map((each) => (each === old ? row : each));
    else next = list.filter((each) => each !== old);
    if (next.length > 0) this.#of.set(contributor, next);
    else this.#of.delete(contributor);
  }
}

/** Units of which a contributor has an agreed replica. */
export class TouchedIndex {
  readonly #of = new Map<Hex, Set<Cid>>();

  set(old: ReplicaRow | null, row: ReplicaRow | null): void {
    const had = old?.state === 'agreed';
    const has = row?.state === 'agreed';
    if (had === has) return;
    const { contributor, unit } = (row ?? old) as ReplicaRow;
    if (has) {
      const units = this.#of.get(contributor);
      if (units) units.add(unit);
      else this.#of.set(contributor, new Set([unit]));
    } else this.#of.get(contributor)?.delete(unit);
  }

  /** By unit id, after `after`. */
  after(contributor: Hex, after: Cid, most: number): Cid[] {
    return [...(this.#of.get(contributor) ?? [])]
      .filter((cid) => cid > after)
      .sort()
      .slice(0, most);
  }
}

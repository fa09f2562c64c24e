/**
 * Rows kept in memory: a map in two generations. What has not been used while the younger one filled up goes when `trim` is called, so nothing
 * goes in the middle of a transaction.
 *
 * An operation asks for the same few rows again and again, hence the look at the last one found before any map is asked.
 */
export class Kept<K, V> {
  readonly #most: number;
  #young = new Map<K, V>();
  #old = new Map<K, V>();
  #lastKey: K | undefined = undefined;
  #last: V | undefined = undefined;

  /** Holds `most` entries that are in use, and at most as many that are not. */
  constructor(most: number) {
    this.#most = most;
  }

  /** What is kept under a key, or else what `load` gives for it. */
  get(key: K, load: (key: K) => V): V {
    const found = this.find(key);
    if (found !== undefined) return found;
    const loaded = load(key);
    this.set(key, loaded);
    return loaded;
  }

  find(key: K): V | undefined {
    if (key === this.#lastKey) return this.#last;
    let found = this.#young.get(key);
    if (found === undefined) {
      found = this.#old.get(key);
      if (found === undefined) return undefined;
      this.#young.set(key, found);
    }
    this.#lastKey = key;
    this.#last = found;
    return found;
  }

  set(key: K, value: V): void {
    this.#young.set(key, value);
    this.#lastKey = key;
    this.#last = value;
  }

  delete(key: K): void {
    this.#young.delete(key);
    this.#old.delete(key);
    this.#forgetLast();
  }

  clear(): void {
    this.#young = new Map();
    this.#old = new Map();
    this.#forgetLast();
  }

  get isFull(): boolean {
    return this.#young.size > this.#most;
  }

  trim(): void {
    if (!this.isFull) return;
    this.#old = this.#young;
    this.#young = new Map();
    this.#forgetLast();
  }

  #forgetLast(): void {
    this.#lastKey = undefined;
    this.#last = undefined;
  }
}

/**
 * Rows kept in memory: a map in two generations. What has not been used while the younger one filled up goes when `trim` is called, so nothing
 * goes in the middle of a transaction.
 */
export class Kept<K, V> {
  readonly #most: number;
  #young = new Map<K, V>();
  #old = new Map<K, V>();

  /** Holds `most` entries that are in use, and at most as many that are not. */
  constructor(most: number) {
    this.#most = most;
  }

  /** What is kept under a key, or else what `load` gives for it. */
  get(key: K, load: (key: K) => V): V {
    const found = this.find(key);
    if (found !== undefined) return found;
    const loaded = load(key);
    this.#young.set(key, loaded);
    return loaded;
  }

  find(key: K): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.#young.set(key, old);
    return old;
  }

  set(key: K, value: V): void {
    this.#young.set(key, value);
  }

  delete(key: K): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  clear(): void {
    this.#young = new Map();
    this.#old = new Map();
  }

  get isFull(): boolean {
    return this.#young.size > this.#most;
  }

  trim(): void {
    if (!this.isFull) return;
    this.#old = this.#young;
    this.#young = new Map();
  }
}

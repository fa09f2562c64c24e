/** A cap on a rate: so many units at once, and so many a second. Infinite where there is no cap. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  #level: number;
  #at: number;

  constructor(perSecond: number, burst: number, now: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#level = burst;
    this.#at = now;
  }

  /** Takes `count` if there is anything left at all: the level may go below zero, so a unit larger than the burst still passes, once in a while. */
  take(count: number, now: number): boolean {
    if (this.#perSecond === Infinity) return true;
    this.#level = Math.min(this.#burst, this.#level + ((now - this.#at) / 1000) * this.#perSecond);
    this.#at = now;
    if (this.#level <= 0) return false;
    this.#level -= count;
    return true;
  }
}

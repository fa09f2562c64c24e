/**
 * Who of a swarm fetches which block from the origin right now, so that a block leaves the origin once and travels on between neighbours.
 *
 * A lease lasts `originLeaseMs` from its beginning, and from each piece of the block that its holder takes, since many have slow links; four times as long in all at
 * the most. It ends when its holder goes away. After it the block is free for as long as a lease, so that nobody who keeps asking first makes others wait longer
 * than one. In the memory of one process and bounded: beyond `originLeasesMax` the oldest are forgotten, which costs a second fetch and no more. Pure: the clock is
 * an argument.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { SwarmAsker } from '#protocol/http/swarm.ts';
import { limits } from '#protocol/limits.ts';

interface Lease {
  peer: string;
  startsAt: number;
  endsAt: number;
}

/** A lease that is renewed lasts so many times `leaseMs` at the most. */
const renewalsMax = 4;

export interface OriginLeaseOptions {
  leaseMs?: number;
  leasesMax?: number;
}

export class OriginLeases {
  readonly #now: () => number;
  readonly #leaseMs: number;
  readonly #most: number;
  /** In the order in which they were given, so the first are the oldest. */
  readonly #leases = new Map<string, Lease>();

  constructor(now: () => number, { leaseMs, leasesMax }: OriginLeaseOptions = {}) {
    this.#now = now;
    this.#leaseMs = leaseMs ?? limits.originLeaseMs;
    this.#most = leasesMax ?? limits.originLeasesMax;
  }

  /** Leases held or resting now. */
  get size(): number {
    return this.#leases.size;
  }

  /** Whether `asker` must wait, because another peer of its swarm is fetching the block. Changes nothing. */
  mustWait(asker: SwarmAsker, cid: Cid): boolean {
    const lease = this.#leases.get(keyOf(asker, cid));
    return lease !== undefined && lease.peer !== asker.peer && this.#now() < lease.endsAt;
  }

  /** The block is being sent to `asker`. A lease that rests is left as it is: whoever asks meanwhile is served. */
  take(asker: SwarmAsker, cid: Cid): void {
    const now = this.#now();
    this.#forget(now);
    const key = keyOf(asker, cid);
    if (this.#leases.has(key)) return;
    this.#leases.set(key, { peer: asker.peer, startsAt: now, endsAt: now + this.#leaseMs });
  }

  /** Its holder has taken another piece of the block: a lease that still holds is held longer. */
  renew(asker: SwarmAsker, cid: Cid): void {
    const lease = this.#held(asker, cid);
    if (!lease) return;
    const endsAt = Math.min(this.#now(), lease.startsAt + (renewalsMax - 1) * this.#leaseMs) + this.#leaseMs;
    lease.endsAt = Math.max(lease.endsAt, endsAt);
  }

  /** Its holder will not have the block: the lease ends, and the block is free. */
  release(asker: SwarmAsker, cid: Cid): void {
    const lease = this.#held(asker, cid);
    if (lease) lease.endsAt = this.#now();
  }

  #held(asker: SwarmAsker, cid: Cid): Lease | undefined {
    const lease = this.#leases.get(keyOf(asker, cid));
    return lease?.peer === asker.peer && this.#now() < lease.endsAt ? lease : undefined;
  }

  #forget(now: number): void {
    for (const [key, { endsAt }] of this.#leases) {
      if (endsAt + this.#leaseMs > now && this.#leases.size < this.#most) return;
      this.#leases.delete(key);
    }
  }
}

function keyOf({ swarm }: SwarmAsker, cid: Cid): string {
  return `${swarm} ${cid}`;
}

/**
 * The planner's randomness: exact 32-bit integers, so that every machine plans the same units.
 *
 * `lowbias32` is the mixing function of NUMERICS (QUANT, step 4).
 */
import { lowbias32 } from '#kernels/ops/math/cpu.ts';

/** One 32-bit seed out of several numbers; the order counts. */
export function mix(...parts: number[]): number {
  let state = 0x9e3779b9;
  for (const part of parts) state = lowbias32((state + 0x9e3779b9) ^ lowbias32(part));
  return state;
}

/**
 * A permutation of 0 .. count - 1 by Fisher-Yates from the end. The index is `(random * (i + 1)) >> 32`, a product below 2^53, so no
 * rounding takes part in it.
 */
export function permutation(count: number, seed: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const random = lowbias32(seed + Math.imul(i, 0x9e3779b9));
    const j = scale(random, i + 1);
    const held = order[i] as number;
    order[i] = order[j] as number;
    order[j] = held;
  }
  return order;
}

/** floor(random * bound / 2^32), exactly, for bound up to 2^31. */
export function scale(random: number, bound: number): number {
  const high = (random >>> 16) * bound;
  const low = (random & 0xffff) * bound;
  return Math.floor((high + Math.floor(low / 0x10000)) / 0x10000);
}

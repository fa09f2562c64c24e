/** Reference of sampling. */
import { add, fromBits, ln, lowbias32, mul, recip, sub, tinyBits } from '../math/cpu.ts';
import { siteSeed } from '../quantize/cpu.ts';

const third = fromBits(0x3eaaaaab);

/** Exponentially distributed, from 32 random bits. */
export function exponential(random: number): number {
  if (random < 2 ** 22) {
    const w = (2 * random + 1) * 2 ** -33;
    return mul(w, add(1, mul(w, add(0.5, mul(w, third)))));
  }
  return -ln((2 ** 24 - 2 * (random >>> 9) - 1) * 2 ** -24);
}

/** 1 / T for the bits of a temperature, or 0 for the largest logit. */
function inverseOf(word: number): number {
  const size = word & 0x7fffffff;
  return size < tinyBits ? 0 : recip(fromBits(Math.min(Math.max(size, 0x35800000), 0x53800000)));
}

export interface SampleOptions {
  /** Bits of the temperature. */
  temperature: number;
  topK: number;
  stepSeed: number;
  site: number;
}

export function sample(
  logits: Float32Array,
  dst: Uint32Array,
  rows: number,
  V: number,
  { temperature, topK, stepSeed, site }: SampleOptions,
): void {
  const inverse = inverseOf(temperature);
  const seed = siteSeed(stepSeed, site);
  for (let r = 0; r < rows; r++) {
    const row = logits.subarray(r * V, (r + 1) * V);
    const descending = row.slice().sort().reverse();
    const max = descending[0] as number;
    const least = descending[Math.min(topK, V) - 1] as number;
    let best = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < V; i++) {
      const l = row[i] as number;
      if (l < least) continue;
      const random = lowbias32((seed + Math.imul(r * V + i, 0x9e3779b9)) | 0);
      const score = inverse === 0 ? l : sub(mul(sub(l, max), inverse), ln(exponential(random)));
      if (score <= best) continue;
      best = score;
      dst[r] = i;
    }
  }
}

/** Inputs of the conformance cases: words made from a seed, in code, so that only digests need to be committed. */
import { fromBits, lowbias32, toBits } from '../ops/math/cpu.ts';

/** A counter-based stream of words; the same on every device. */
export class Random {
  private readonly seed: number;
  private count = 0;

  constructor(seed: number) {
    this.seed = lowbias32(seed);
  }

  /** A stream of its own for each name. */
  static of(name: string): Random {
    let seed = 0x811c9dc5;
    for (const char of name) seed = lowbias32(seed ^ (char.codePointAt(0) as number));
    return new Random(seed);
  }

  word(): number {
    return lowbias32((this.seed + Math.imul(this.count++, 0x9e3779b9)) >>> 0);
  }

  /** 0 .. n - 1. */
  below(n: number): number {
    return this.word() % n;
  }

  /** PF32 values of random sign and mantissa, sizes from 2^low up to 2^high. */
  values(count: number, low = -6, high = 2): Float32Array {
    const bits = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      const word = this.word();
      const field = 127 + low + (lowbias32(word) % (high - low));
      bits[i] = ((word & 0x80000000) | (field << 23) | (word & 0x7fffff)) >>> 0;
    }
    return new Float32Array(bits.buffer);
  }

  /** As `values`, all of them positive. */
  positives(count: number, low = -6, high = 2): Float32Array {
    return this.values(count, low, high).map(Math.abs);
  }

  indices(count: number, below: number): Uint32Array {
    return Uint32Array.from({ length: count }, () => this.below(below));
  }
}

/** Bits of PF32 values where arithmetic changes its mind: zero, 2^-100, ties, powers of two, 2^40 and their neighbours, both signs. */
export const edgeBits: readonly number[] = [
  0x0d800000, 0x3f800000, 0x40000000, 0x4b000000, 0x4b800000, 0x53800000,
]
  .flatMap((bits) => [bits - 1, bits, bits + 1])
  .concat([0x3f000000, 0x3fc00000, 0x3effffff, 0x3fffffff, 0x33800000, 0x34000000, 0x0e000000, 0x1a000000])
  .filter((bits) => bits >= 0x0d800000 && bits <= 0x53800000)
  .flatMap((bits) => [bits, (bits | 0x80000000) >>> 0])
  .concat([0]);

/** Every pair of edge values, as two lists. */
export function edgePairs(): { a: Uint32Array; b: Uint32Array } {
  const pairs = edgeBits.flatMap((a) => edgeBits.map((b) => [a, b] as const));
  return { a: Uint32Array.from(pairs, (p) => p[0]), b: Uint32Array.from(pairs, (p) => p[1]) };
}

/**
 * Rows of `cols` raw bit patterns for QUANT, which alone sees words that are no PF32 values: zeros, -0, subnormals, one huge and many tiny, ties
 * of either parity, values at qmax, both sides of 2^-100, and 2^40.
 */
export function hardRows(cols: number, nb: number): { words: Uint32Array; rows: number } {
  const unit = 2 ** (1 - nb);
  const row = (at: (c: number) => number) => Array.from({ length: cols }, (_, c) => at(c) >>> 0);
  const alternate = (value: number, c: number) => toBits(c % 2 ? -value : value);
  const rows = [
    row(() => 0),
    row((c) => (c % 2 ? 0x80000000 : 0)),
    row((c) => [1, 0x80000001, 0x7fffff, 0x807fffff, 0x0d7fffff, 0x8d7fffff][c % 6] as number),
    row((c) => [0x0d800000, 0x8d800000, 0x0d7fffff, 0x0d800001, 1, 0x8d7fffff][c % 6] as number),
    row((c) => (c === cols - 1 ? toBits(2 ** 40) : c % 2 ? 0x8d800000 : toBits(2 ** -20))),
    row((c) => (c === 0 ? toBits(-(2 ** 40)) : toBits(2 ** 15))),
    row((c) => alternate(c === 0 ? 1 : (c + 0.5) * unit, c)),
    row((c) => alternate(c === 0 ? 1 : 2 - (c * unit) / 2, c)),
    row((c) => alternate(fromBits(0x3fffffff - (c >> 1)), c)),
    row((c) => alternate(c === 0 ? 1 : (c + 0.5) * unit + 2 ** -22 * (c % 3 === 1 ? 1 : 0), c)),
    row((c) => alternate(2 ** -(c % 45), c)),
  ];
  return { words: Uint32Array.from(rows.flat()), rows: rows.length };
}

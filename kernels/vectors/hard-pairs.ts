/** Pairs of PF32 values at which a rounded sum, difference or product goes wrong first: ties, cancellations, results near 2^-100, any exponents. */
import { Random } from './inputs.ts';

/** Bits of a value: exponent field and 23 bits below, which are dense, sparse or close to a carry. */
function word(random: Random, field: number): number {
  const kind = random.below(4);
  const bits = random.word() & 0x7fffff;
  const shapes = [
    bits,
    bits & (0x7fffff << random.below(24)),
    0x7fffff & ~(1 << random.below(23)),
    1 << random.below(23),
  ];
  const sign = random.below(2) === 1 ? 0x80000000 : 0;
  return (sign | (field << 23) | ((shapes[kind] as number) & 0x7fffff)) >>> 0;
}

/** 160,000 pairs, the same every time. */
export function hardPairs(): { a: Uint32Array; b: Uint32Array } {
  const random = Random.of('hard pairs');
  const count = 160_000;
  const [a, b] = [new Uint32Array(count), new Uint32Array(count)];
  // 27 is the exponent field of 2^-100; 30 fields around 77 and 127 make products and sums near 2^-100 and near 1.
  const fields: readonly ((near: number) => number)[] = [
    (near) => Math.min(254, Math.max(27, near + random.below(5) - 2)),
    (near) => Math.min(254, Math.max(27, near + random.below(60) - 30)),
    (near) => Math.min(190, Math.max(27, 154 - near + random.below(5) - 2)),
    () => 27 + random.below(160),
  ];
  for (let i = 0; i < count; i++) {
    const field = 27 + random.below(i % 3 === 0 ? 4 : 160);
    const other = (fields[i % 4] as (near: number) => number)(field);
    // Products stay below the largest f32.
    a[i] = word(random, field);
    b[i] = i % 97 === 0 ? 0 : word(random, Math.min(other, 375 - field));
    // Now and then the same size, or a neighbour of it: all bits but the last cancel.
    if (i % 11 === 0) b[i] = ((a[i] as number) ^ (random.below(2) << 31) ^ random.below(3)) >>> 0;
  }
  return { a, b };
}

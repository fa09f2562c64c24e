/** Reference of the reductions of NUMERICS.md: 64 lanes, then a tree of strides 32 .. 1; blocks of 4096 first when there are more. */
import { add } from '../math/cpu.ts';

const lanes = new Float32Array(64);

function block(values: Float32Array, offset: number, count: number, stride: number): number {
  lanes.fill(0);
  for (let i = 0; i < count; i++) {
    const lane = i & 63;
    lanes[lane] = add(lanes[lane] as number, values[offset + i * stride] as number);
  }
  for (let s = 32; s >= 1; s >>= 1) {
    for (let j = 0; j < s; j++) lanes[j] = add(lanes[j] as number, lanes[j + s] as number);
  }
  return lanes[0] as number;
}

/** Sum of `count` values from `offset` on, `stride` apart. */
export function sum(values: Float32Array, offset: number, count: number, stride = 1): number {
  if (count <= 4096) return block(values, offset, count, stride);
  const partials = new Float32Array(Math.ceil(count / 4096));
  for (let i = 0; i < partials.length; i++) {
    partials[i] = block(values, offset + i * 4096 * stride, Math.min(4096, count - i * 4096), stride);
  }
  return sum(partials, 0, partials.length);
}

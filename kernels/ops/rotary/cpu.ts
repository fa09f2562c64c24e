/** Reference of rotary positions. */
import { add, clamp, mul, sub } from '../math/cpu.ts';
import { type RotaryArgs, tableRows } from './spec.ts';

export function rotary(
  x: Float32Array,
  cos: Float32Array,
  sin: Float32Array,
  positions: Uint32Array,
  args: RotaryArgs,
): void {
  const { offset, rowStride, heads, headStride, rows, HD, inverse } = args;
  const half = HD / 2;
  const table = tableRows(args);
  const [first, second] = inverse ? [add, sub] : [sub, add];
  for (let r = 0; r < rows; r++) {
    const position = positions[r] as number;
    if (position >= table) continue;
    for (let h = 0; h < heads; h++) {
      const at = offset + r * rowStride + h * headStride;
      for (let i = 0; i < half; i++) {
        const [x0, x1] = [x[at + i] as number, x[at + half + i] as number];
        const [c, s] = [cos[position * half + i] as number, sin[position * half + i] as number];
        x[at + i] = clamp(first(mul(x0, c), mul(x1, s)));
        x[at + half + i] = clamp(second(mul(x1, c), mul(x0, s)));
      }
    }
  }
}

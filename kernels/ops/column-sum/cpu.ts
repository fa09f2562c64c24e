/** Reference of the sums down the columns. */
import { add, clamp } from '../math/cpu.ts';
import { sum } from '../reduce/cpu.ts';

export function columnSum(
  src: Float32Array,
  dst: Float32Array,
  rows: number,
  cols: number,
  accumulate: boolean,
): void {
  for (let c = 0; c < cols; c++) {
    const total = sum(src, c, rows, cols);
    dst[c] = clamp(accumulate ? add(dst[c] as number, total) : total);
  }
}

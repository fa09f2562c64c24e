/** Reference of the embedding gather and its order-free gradient. */
import { round } from '../gemm/cpu.ts';
import { add, clamp } from '../math/cpu.ts';
import type { CpuQuantized } from '../quantize/cpu.ts';
import type { Bits } from '../quantize/spec.ts';

export function embed(
  tokens: Uint32Array,
  wte: Float32Array,
  wpe: Float32Array | null,
  positions: Uint32Array | null,
  x: Float32Array,
  rows: number,
  cols: number,
  T: number,
): void {
  for (let r = 0; r < rows; r++) {
    const token = (tokens[r] as number) * cols;
    const position = (positions ? (positions[r] as number) : r % T) * cols;
    for (let c = 0; c < cols; c++) {
      const value = wte[token + c] as number;
      x[r * cols + c] = clamp(wpe ? add(value, wpe[position + c] as number) : value);
    }
  }
}

export function scatterAdd(
  q: CpuQuantized,
  indices: Uint32Array,
  dst: Float32Array,
  nb: Bits,
  accumulate: boolean,
): void {
  const { rows: C, cols: M } = q;
  const sums = new Int32Array(dst.length);
  for (let c = 0; c < C; c++) {
    for (let m = 0; m < M; m++) {
      const to = (indices[m] as number) * C + c;
      sums[to] = (sums[to] as number) + (q.mantissas[c * M + m] as number);
    }
  }
  for (let i = 0; i < dst.length; i++) {
    const value = round(sums[i] as number, (q.exponents[i % C] as number) - nb);
    dst[i] = accumulate ? clamp(add(dst[i] as number, value)) : value;
  }
}

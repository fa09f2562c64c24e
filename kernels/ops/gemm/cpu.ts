/**
 * Reference of GEMM and ROUND. Sums are doubles: every product and partial sum is an integer below 2^53, so they are exact in any order.
 */
import type { View } from '../../tensor/tensor.ts';
import { add, clamp, clampMax } from '../math/cpu.ts';
import type { CpuQuantized } from '../quantize/cpu.ts';
import type { Bits } from '../quantize/spec.ts';

const { fround } = Math;
const smallest = 2 ** -100;

/** 2^-512 .. 2^511: exponents of a product lie well inside. */
const powersOfTwo = Float64Array.from({ length: 1024 }, (_, i) => 2 ** (i - 512));

/**
 * ROUND(S, E): S * 2^E to the nearest f32, ties to even, sizes below 2^-100 to 0, clamped to +-2^40.
 * `fround` of the exact integer is that rounding; the power of two is exact in double.
 */
export function round(sum: number, exponent: number): number {
  const value = fround(sum) * (powersOfTwo[exponent + 512] as number);
  if (value < smallest && value > -smallest) return 0;
  return value > clampMax ? clampMax : value < -clampMax ? -clampMax : value;
}

export interface GemmOptions {
  nb: Bits;
  causal: boolean;
  residual: Float32Array | null;
}

/** dst = clamp(ROUND(a b^T)) [+ residual], see spec. */
export function gemm(
  a: CpuQuantized,
  b: CpuQuantized,
  dst: Float32Array,
  view: View,
  options: GemmOptions,
): void {
  const M = a.rows;
  const K = a.cols;
  const N = b.transposed ? b.cols : b.rows;
  const sums = new Float64Array(4 * N);
  for (let batch = 0; batch < a.batch; batch++) {
    const [, s0, n1, s1] = view.batch;
    const base = view.offset + Math.floor(batch / n1) * s0 + (batch % n1) * s1;
    for (let m = 0; m < M; m += 4) {
      const height = Math.min(4, M - m);
      const width = options.causal ? Math.min(N, m + height) : N;
      sumRows(a.mantissas, (batch * M + m) * K, height, b.mantissas, batch * N * K, width, K, sums, N);
      for (let i = 0; i < height; i++) {
        storeRow(a, b, batch, m + i, sums, i * N, dst, base + (m + i) * view.rowStride, view, options);
      }
    }
  }
}

function storeRow(
  a: CpuQuantized,
  b: CpuQuantized,
  batch: number,
  m: number,
  sums: Float64Array,
  at: number,
  dst: Float32Array,
  base: number,
  view: View,
  { nb, causal, residual }: GemmOptions,
): void {
  const ea = (a.exponents[batch * a.rows + m] as number) - nb;
  const N = view.cols;
  for (let n = 0; n < N; n++) {
    const to = base + n * view.colStride;
    let value = 0;
    if (!causal || n <= m) {
      const eb = b.transposed ? 0 : (b.exponents[batch * N + n] as number) - nb;
      value = round(sums[at + n] as number, ea + eb);
    }
    dst[to] = residual ? clamp(add(residual[to] as number, value)) : value;
  }
}

/** Four rows of a against all rows of b, two at a time: eight sums live in registers. */
function sumRows(
  a: Float64Array,
  aAt: number,
  height: number,
  b: Float64Array,
  bAt: number,
  width: number,
  K: number,
  sums: Float64Array,
  N: number,
): void {
  // Rows past the end repeat the last one: their sums are never stored.
  const r1 = aAt + Math.min(1, height - 1) * K;
  const r2 = aAt + Math.min(2, height - 1) * K;
  const r3 = aAt + Math.min(3, height - 1) * K;
  for (let n = 0; n < width; n += 2) {
    const c0 = bAt + n * K;
    const c1 = n + 1 < width ? c0 + K : c0;
    let s00 = 0;
    let s01 = 0;
    let s10 = 0;
    let s11 = 0;
    let s20 = 0;
    let s21 = 0;
    let s30 = 0;
    let s31 = 0;
    for (let k = 0; k < K; k++) {
      const b0 = b[c0 + k] as number;
      const b1 = b[c1 + k] as number;
      const a0 = a[aAt + k] as number;
      const a1 = a[r1 + k] as number;
      const a2 = a[r2 + k] as number;
      const a3 = a[r3 + k] as number;
      s00 += a0 * b0;
      s01 += a0 * b1;
      s10 += a1 * b0;
      s11 += a1 * b1;
      s20 += a2 * b0;
      s21 += a2 * b1;
      s30 += a3 * b0;
      s31 += a3 * b1;
    }
    sums[n] = s00;
    sums[N + n] = s10;
    sums[2 * N + n] = s20;
    sums[3 * N + n] = s30;
    if (n + 1 < width) {
      sums[n + 1] = s01;
      sums[N + n + 1] = s11;
      sums[2 * N + n + 1] = s21;
      sums[3 * N + n + 1] = s31;
    }
  }
}

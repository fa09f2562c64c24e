/**
 * Reference of GEMM and ROUND. Sums are doubles: every product and partial sum is an integer below 2^53, so they are exact in any order.
 */
import type { View } from '../../tensor/tensor.ts';
import { gelu, geluGrad } from '../gelu/cpu.ts';
import { add, clamp, clampMax } from '../math/cpu.ts';
import type { CpuQuantized } from '../quantize/cpu.ts';
import type { Bits } from '../quantize/spec.ts';
import { silu, siluGrad } from '../swiglu/cpu.ts';
import type { Activation } from './spec.ts';

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
  /** See `causalReach`. */
  reach: number;
  /** How much of the contraction is used. */
  K: number;
  bias: Float32Array | null;
  activation: Activation | null;
  preactivation: Float32Array | null;
  activationGrad: { kind: Activation; x: Float32Array } | null;
  residual: Float32Array | null;
}

/** dst = clamp(ROUND(a b^T)), then what the options say: see spec. */
export function gemm(
  a: CpuQuantized,
  b: CpuQuantized,
  dst: Float32Array,
  view: View,
  options: GemmOptions,
): void {
  const { rows: M, cols: N } = view;
  const { K, reach } = options;
  const along = b.transposed ? b.rows : b.cols;
  const across = b.transposed ? b.cols : b.rows;
  const sums = new Float64Array(4 * N);
  const row = new Float32Array(N);
  for (let batch = 0; batch < a.batch; batch++) {
    const [, s0, n1, s1] = view.batch;
    const base = view.offset + Math.floor(batch / n1) * s0 + (batch % n1) * s1;
    for (let m = 0; m < M; m += 4) {
      const height = Math.min(4, M - m);
      const width = reach > 0 ? Math.min(N, m + height - 1 + reach) : N;
      const left = { data: a.mantissas, at: (batch * a.rows + m) * a.cols, stride: a.cols };
      const right = { data: b.mantissas, at: batch * across * along, stride: along };
      sumRows(left, height, right, width, K, sums, N);
      for (let i = 0; i < height; i++) {
        roundRow(a, b, batch, m + i, sums, i * N, row, options);
        storeRow(row, dst, base + (m + i) * view.rowStride, view.colStride, options);
      }
    }
  }
}

/** A row of sums as f32, 0 right of the diagonal. */
function roundRow(
  a: CpuQuantized,
  b: CpuQuantized,
  batch: number,
  m: number,
  sums: Float64Array,
  at: number,
  row: Float32Array,
  { nb, reach }: GemmOptions,
): void {
  const ea = (a.exponents[batch * a.rows + m] as number) - nb;
  for (let n = 0; n < row.length; n++) {
    const eb = b.transposed ? 0 : (b.exponents[batch * b.rows + n] as number) - nb;
    row[n] = reach === 0 || n < m + reach ? round(sums[at + n] as number, ea + eb) : 0;
  }
}

const forward = { gelu, silu };
const backward = { gelu: geluGrad, silu: siluGrad };

/** Bias, activation or its gradient, residual; in the order of the spec. */
function storeRow(
  row: Float32Array,
  dst: Float32Array,
  base: number,
  stride: number,
  { bias, activation, preactivation, activationGrad, residual }: GemmOptions,
): void {
  const N = row.length;
  if (bias) for (let n = 0; n < N; n++) row[n] = clamp(add(row[n] as number, bias[n] as number));
  if (preactivation) for (let n = 0; n < N; n++) preactivation[base + n * stride] = row[n] as number;
  if (activation) forward[activation](row, row, N);
  if (activationGrad) {
    const { kind, x } = activationGrad;
    const at = Float32Array.from(row, (_, n) => x[base + n * stride] as number);
    backward[kind](at, row, row, N);
  }
  for (let n = 0; n < N; n++) {
    const to = base + n * stride;
    const value = row[n] as number;
    dst[to] = residual ? clamp(add(residual[to] as number, value)) : value;
  }
}

/** Mantissas from `at` on; lines are `stride` apart. */
interface Lines {
  data: Float64Array;
  at: number;
  stride: number;
}

/** Four rows of a against all rows of b, two at a time: eight sums live in registers. */
function sumRows(
  left: Lines,
  height: number,
  right: Lines,
  width: number,
  K: number,
  sums: Float64Array,
  N: number,
): void {
  const { data: a, at: aAt } = left;
  const { data: b, stride } = right;
  // Rows past the end repeat the last one: their sums are never stored.
  const r1 = aAt + Math.min(1, height - 1) * left.stride;
  const r2 = aAt + Math.min(2, height - 1) * left.stride;
  const r3 = aAt + Math.min(3, height - 1) * left.stride;
  for (let n = 0; n < width; n += 2) {
    const c0 = right.at + n * stride;
    const c1 = n + 1 < width ? c0 + stride : c0;
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

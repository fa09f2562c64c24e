/**
 * LayerNorm over rows of C, in PF32.
 *
 * mean = sum(x) * 1/C; d = x - mean; rstd = rsqrt(sum(d * d) * 1/C + eps); xhat = d * rstd; y = xhat * gain + bias.
 * Backward: g = dy * gain; dx = rstd * ((g - sum(g)/C) - xhat * (sum(g * xhat)/C)), added to `residual` and clamped; dgain, dbias are sums over rows.
 * Every product and sum is one PF32 operation in the written order; sums are the reductions of NUMERICS.md.
 */
import type { Tensor } from '../../tensor/tensor.ts';

export interface LayerNormArgs {
  x: Tensor;
  gain: Tensor;
  bias: Tensor;
  y: Tensor;
  /** [rows], kept for the backward pass. */
  mean: Tensor;
  rstd: Tensor;
  rows: number;
  cols: number;
}

export interface LayerNormGradArgs {
  dy: Tensor;
  x: Tensor;
  gain: Tensor;
  mean: Tensor;
  rstd: Tensor;
  /** Gradient that flows past the norm; may be `dx` itself. Absent: nothing is added. */
  residual?: Tensor;
  dx: Tensor;
  rows: number;
  cols: number;
}

export interface LayerNormParamGradArgs {
  dy: Tensor;
  x: Tensor;
  mean: Tensor;
  rstd: Tensor;
  dgain: Tensor;
  dbias: Tensor;
  rows: number;
  cols: number;
}

/** 1e-5 as f32. */
export const layerNormEps = Math.fround(1e-5);

/**
 * LayerNorm over rows of C, in PF32.
 *
 * mean = sum(x) * 1/C; d = x - mean; rstd = rsqrt(sum(d * d) * 1/C + eps); xhat = d * rstd; y = xhat * gain + bias.
 * Backward: g = dy * gain; dx = rstd * ((g - sum(g)/C) - xhat * (sum(g * xhat)/C)), added to `residual` and clamped; dgain, dbias are sums over rows.
 * Every product and sum is one PF32 operation in the written order; sums are the reductions of NUMERICS.md.
 */
import { AtollError } from '#protocol/errors.ts';
import { checkSizes, checkTensors } from '../../tensor/check.ts';
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

/** Longer sums would need a third level of blocks. */
function checkLength(op: string, length: number): void {
  if (length > 2 ** 24) throw new AtollError('bad_input', `${op}: more than 2^24 elements in a sum.`);
}

/** Throws `bad_input` when the shapes do not fit; so do those below. */
export function checkLayerNorm({ x, gain, bias, y, mean, rstd, rows, cols }: LayerNormArgs): void {
  checkSizes('layerNorm', { rows, cols });
  checkLength('layerNorm', cols);
  const size = rows * cols;
  const [full, perRow] = [
    { x: [x, size], y: [y, size] },
    { mean: [mean, rows], rstd: [rstd, rows] },
  ] as const;
  checkTensors('layerNorm', { ...full, ...perRow, gain: [gain, cols], bias: [bias, cols] });
}

export function checkLayerNormGrad(args: LayerNormGradArgs): void {
  const { dy, x, gain, mean, rstd, residual, dx, rows, cols } = args;
  checkSizes('layerNormGrad', { rows, cols });
  checkLength('layerNormGrad', cols);
  const size = rows * cols;
  checkTensors('layerNormGrad', {
    dy: [dy, size],
    x: [x, size],
    residual: [residual, size],
    dx: [dx, size],
    gain: [gain, cols],
    mean: [mean, rows],
    rstd: [rstd, rows],
  });
}

export function checkLayerNormParamGrad(args: LayerNormParamGradArgs): void {
  const { dy, x, mean, rstd, dgain, dbias, rows, cols } = args;
  checkSizes('layerNormParamGrad', { rows, cols });
  checkLength('layerNormParamGrad', rows);
  checkTensors('layerNormParamGrad', {
    dy: [dy, rows * cols],
    x: [x, rows * cols],
    mean: [mean, rows],
    rstd: [rstd, rows],
    dgain: [dgain, cols],
    dbias: [dbias, cols],
  });
}

/** Reference of LayerNorm, forward and backward. */
import { add, clamp, constant, mul, rsqrt, sub } from '../math/cpu.ts';
import { sum } from '../reduce/cpu.ts';
import { layerNormEps } from './spec.ts';

type F = Float32Array;

export function layerNorm(x: F, gain: F, bias: F, y: F, mean: F, rstd: F, rows: number, cols: number): void {
  const inverse = constant(1 / cols);
  const squares = new Float32Array(cols);
  for (let r = 0; r < rows; r++) {
    const at = r * cols;
    const mu = mul(sum(x, at, cols), inverse);
    for (let c = 0; c < cols; c++) {
      const d = sub(x[at + c] as number, mu);
      squares[c] = mul(d, d);
    }
    const scale = rsqrt(add(mul(sum(squares, 0, cols), inverse), layerNormEps));
    for (let c = 0; c < cols; c++) {
      const xhat = mul(sub(x[at + c] as number, mu), scale);
      y[at + c] = add(mul(xhat, gain[c] as number), bias[c] as number);
    }
    mean[r] = mu;
    rstd[r] = scale;
  }
}

export function layerNormGrad(
  dy: F,
  x: F,
  gain: F,
  mean: F,
  rstd: F,
  residual: F | null,
  dx: F,
  rows: number,
  cols: number,
): void {
  const inverse = constant(1 / cols);
  const g = new Float32Array(cols);
  const xhat = new Float32Array(cols);
  const product = new Float32Array(cols);
  for (let r = 0; r < rows; r++) {
    const at = r * cols;
    const mu = mean[r] as number;
    const scale = rstd[r] as number;
    for (let c = 0; c < cols; c++) {
      xhat[c] = mul(sub(x[at + c] as number, mu), scale);
      g[c] = mul(dy[at + c] as number, gain[c] as number);
      product[c] = mul(g[c] as number, xhat[c] as number);
    }
    const s1 = mul(sum(g, 0, cols), inverse);
    const s2 = mul(sum(product, 0, cols), inverse);
    for (let c = 0; c < cols; c++) {
      const inner = sub(sub(g[c] as number, s1), mul(xhat[c] as number, s2));
      const value = mul(scale, inner);
      dx[at + c] = residual ? clamp(add(residual[at + c] as number, value)) : clamp(value);
    }
  }
}

export function layerNormParamGrad(
  dy: F,
  x: F,
  mean: F,
  rstd: F,
  dgain: F,
  dbias: F,
  rows: number,
  cols: number,
): void {
  const product = new Float32Array(rows);
  for (let c = 0; c < cols; c++) {
    for (let r = 0; r < rows; r++) {
      const at = r * cols + c;
      const xhat = mul(sub(x[at] as number, mean[r] as number), rstd[r] as number);
      product[r] = mul(dy[at] as number, xhat);
    }
    dgain[c] = sum(product, 0, rows);
    dbias[c] = sum(dy, c, rows, cols);
  }
}

/** Reference of RMSNorm, forward and backward. */
import { layerNormEps } from '../layer-norm/spec.ts';
import { add, clamp, constant, mul, rsqrt, sub } from '../math/cpu.ts';
import { sum } from '../reduce/cpu.ts';

type F = Float32Array;

export function rmsNorm(x: F, gain: F, y: F, rstd: F, rows: number, cols: number): void {
  const inverse = constant(1 / cols);
  const squares = new Float32Array(cols);
  for (let r = 0; r < rows; r++) {
    const at = r * cols;
    for (let c = 0; c < cols; c++) squares[c] = mul(x[at + c] as number, x[at + c] as number);
    const scale = rsqrt(add(mul(sum(squares, 0, cols), inverse), layerNormEps));
    for (let c = 0; c < cols; c++) y[at + c] = mul(mul(x[at + c] as number, scale), gain[c] as number);
    rstd[r] = scale;
  }
}

export function rmsNormGrad(
  dy: F,
  x: F,
  gain: F,
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
    const scale = rstd[r] as number;
    for (let c = 0; c < cols; c++) {
      xhat[c] = mul(x[at + c] as number, scale);
      g[c] = mul(dy[at + c] as number, gain[c] as number);
      product[c] = mul(g[c] as number, xhat[c] as number);
    }
    const mean = mul(sum(product, 0, cols), inverse);
    for (let c = 0; c < cols; c++) {
      const value = mul(scale, sub(g[c] as number, mul(xhat[c] as number, mean)));
      dx[at + c] = clamp(residual ? add(residual[at + c] as number, value) : value);
    }
  }
}

export function rmsNormParamGrad(dy: F, x: F, rstd: F, dgain: F, rows: number, cols: number): void {
  const product = new Float32Array(rows);
  for (let c = 0; c < cols; c++) {
    for (let r = 0; r < rows; r++) {
      const at = r * cols + c;
      product[r] = mul(dy[at] as number, mul(x[at] as number, rstd[r] as number));
    }
    dgain[c] = sum(product, 0, rows);
  }
}

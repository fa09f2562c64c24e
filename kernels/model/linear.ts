/**
 * A linear layer without bias, as exact products: y = x w^T, dx = dy w, dw = dy^T x. Weights are [out, in].
 *
 * Operands are quantised along each product's contraction; only dy is rounded stochastically, and only in dx and dw.
 */
import type { Ops } from '../device/device.ts';
import type { QuantizeArgs } from '../ops/quantize/spec.ts';
import { matrix, type Tensor, transpose, type View } from '../tensor/tensor.ts';
import type { OperandPool } from './operand-pool.ts';
import type { Precision } from './policy.ts';

/** Stochastic-rounding sites: fixed numbers, part of a program's identity. `index` is the parameter's place in the layout. */
export const sites = {
  dx: (index: number) => index * 4,
  dw: (index: number) => index * 4 + 1,
  scatter: (index: number) => index * 4 + 2,
  attention: (layer: number, product: 0 | 1 | 2 | 3) => 0x100000 + layer * 4 + product,
} as const;

export class Linear {
  private readonly pool: OperandPool;
  private readonly precision: Precision;
  private readonly scalars: Tensor;

  constructor(pool: OperandPool, precision: Precision, scalars: Tensor) {
    this.pool = pool;
    this.precision = precision;
    this.scalars = scalars;
  }

  /** The `stochastic` option of a gradient operand at this site; nothing under a policy that rounds to nearest. */
  stochastic(site: number): Pick<QuantizeArgs, 'stochastic'> {
    return this.precision.stochastic ? { stochastic: { site, scalars: this.scalars } } : {};
  }

  /** y = clamp(residual + x w^T). Shapes: x [M, in], w [out, in], y [M, out]. */
  forward(ops: Ops, x: View, w: View, y: View, residual?: Tensor): void {
    this.product(ops, x, w, y, null, residual);
  }

  /** dx = dy w and dw = dy^T x. Shapes: dy [M, out], x [M, in], w and dw [out, in], dx [M, in]. */
  backward(ops: Ops, operands: { dy: View; x: View; w: View; dw: Tensor; index: number }, dx: View): void {
    const { dy, x, w, dw, index } = operands;
    this.product(ops, transpose(dy), transpose(x), matrix(dw, w.rows, w.cols), sites.dw(index));
    this.product(ops, dy, transpose(w), dx, sites.dx(index));
  }

  /** dst = a b^T; `site` is given when a is a gradient. */
  private product(ops: Ops, a: View, b: View, dst: View, site: number | null, residual?: Tensor): void {
    const { nb } = this.precision;
    const qa = this.pool.take('a', 1, a.rows, a.cols);
    const qb = this.pool.take('b', 1, b.rows, b.cols);
    ops.quantize({ src: a, dst: qa, nb, ...(site === null ? {} : this.stochastic(site)) });
    ops.quantize({ src: b, dst: qb, nb });
    ops.gemm({ a: qa, b: qb, dst, nb, ...(residual ? { residual } : {}) });
  }
}

/**
 * A linear layer as exact products: y = x w^T + b, dx = dy w, dw = dy^T x, db = column sums of dy. Weights are [out, in].
 *
 * Operands are quantised along each product's contraction; only dy is rounded stochastically, and only in dx and dw.
 */
import type { Ops } from '../device/device.ts';
import type { GemmArgs } from '../ops/gemm/spec.ts';
import { matrix, type Quantized, type Tensor, transpose, type View } from '../tensor/tensor.ts';
import { type ModelContext, stochasticAt } from './context.ts';
import type { Parameter } from './parameters.ts';
import { sites } from './sites.ts';

/** What a product does to its sums beside the bias: see ops/gemm/spec.ts. */
export type Epilogue = Pick<GemmArgs, 'activation' | 'preactivation' | 'activationGrad' | 'residual'>;

export class Linear {
  readonly weight: Parameter;
  private readonly bias: Parameter | null;
  private readonly context: ModelContext;

  constructor(context: ModelContext, name: string) {
    this.context = context;
    this.weight = context.parameters.get(name);
    this.bias = context.parameters.find(`${name}.bias`);
  }

  /** y = epilogue(x w^T + b). Shapes: x [M, in], y [M, out]. */
  forward(ops: Ops, x: Tensor, y: Tensor, epilogue: Epilogue = {}): void {
    const { M } = this.context;
    const { rows, cols } = this.weight.spec;
    this.forwardRows(ops, matrix(x, M, cols), matrix(y, M, rows), epilogue);
  }

  /** The same for views of any number of rows. */
  forwardRows(ops: Ops, x: View, y: View, epilogue: Epilogue = {}): void {
    const bias = this.bias ? { bias: this.bias.value } : {};
    this.product(ops, x, this.weight.frozen ?? this.matrix, y, null, { ...bias, ...epilogue });
  }

  /** dx = epilogue(dy w), dw = dy^T x, db. Shapes: dy [M, out], x [M, in], dx [M, in]. */
  backward(ops: Ops, dy: Tensor, x: Tensor, dx: Tensor, epilogue: Epilogue = {}): void {
    const { M } = this.context;
    const { rows, cols } = this.weight.spec;
    if (this.bias) ops.columnSum({ src: dy, dst: this.bias.grad as Tensor, rows: M, cols: rows });
    this.backwardRows(ops, matrix(dy, M, rows), matrix(x, M, cols), matrix(dx, M, cols), 0, epilogue);
  }

  /** The same, without bias, for chunk `part` of the rows; dw is added to from chunk 1 on. */
  backwardRows(ops: Ops, dy: View, x: View, dx: View, part: number, epilogue: Epilogue = {}): void {
    const { spec, index, grad } = this.weight;
    const dw = matrix(grad as Tensor, spec.rows, spec.cols);
    const added = part > 0 ? { residual: grad as Tensor } : {};
    this.product(ops, transpose(dy), transpose(x), dw, sites.dw(index, part), added);
    this.product(ops, dy, transpose(this.matrix), dx, sites.dx(index, part), epilogue);
  }

  private get matrix(): View {
    return matrix(this.weight.value, this.weight.spec.rows, this.weight.spec.cols);
  }

  /** dst = epilogue(a b^T); `site` is given when a is a gradient, and b may be quantised already. */
  private product(
    ops: Ops,
    a: View,
    b: View | Quantized,
    dst: View,
    site: number | null,
    epilogue: Epilogue & Pick<GemmArgs, 'bias'>,
  ): void {
    const { pool, precision } = this.context;
    const { nb } = precision;
    const qa = pool.take('a', 1, a.rows, a.cols);
    ops.quantize({ src: a, dst: qa, nb, ...stochasticAt(this.context, site) });
    const qb = 'mantissas' in b ? b : pool.take('b', 1, b.rows, b.cols);
    if (b !== qb) ops.quantize({ src: b as View, dst: qb, nb });
    ops.gemm({ a: qa, b: qb, dst, nb, ...epilogue });
  }
}

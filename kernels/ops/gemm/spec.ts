/**
 * GEMM of NUMERICS.md: C = ROUND(A B^T) for quantised operands whose rows lie along the contraction, and what may be done to C before it is stored.
 *
 * Shapes: a [batch][>= M][>= K], b [batch][>= N][>= K], dst batch x M x N. S = sum of products over the first K of the contraction is an exact integer
 * (|S| < 2^47); r = clamp(ROUND(S, Ea + Eb - 2 nb)), or 0 right of the diagonal. For a transposed b (its scales folded into a) Eb - nb is 0.
 * Then, each step one PF32 operation or the op of that name, and only where its argument is given:
 *   y = clamp(r + bias[n]); stored to `preactivation`; y = gelu(y) or silu(y); or y = geluGrad or siluGrad of (x, dy = y); dst = clamp(residual + y).
 * The bits are those of the separate ops. silu and siluGrad: swiglu/spec.ts.
 */
import { AtollError } from '#protocol/errors.ts';
import { batchCount, type Quantized, type Tensor, type View, viewEnd } from '../../tensor/tensor.ts';
import { type Bits, qmaxOf } from '../quantize/spec.ts';

export type Activation = 'gelu' | 'silu';

export interface GemmArgs {
  /** Its first dst.rows rows are used. */
  a: Quantized;
  /** Its first dst.cols rows (columns when transposed) are used. */
  b: Quantized;
  dst: View;
  nb: Bits;
  /** Only columns c <= row + offset (0 for `true`) are computed; r is 0 in the rest. */
  causal?: boolean | { offset: number };
  /** How much of the contraction is used; all of it, and then equal in both operands, when absent. */
  length?: number;
  /** [N]. */
  bias?: Tensor;
  activation?: Activation;
  /** Same layout as dst; gets what the activation is applied to. Only with `activation`, and another tensor than dst. */
  preactivation?: Tensor;
  /** The product is the gradient of an activation's output; x (same layout as dst, another tensor) is what the activation was applied to. */
  activationGrad?: { kind: Activation; x: Tensor };
  /** Adds this (same layout as dst, may be dst's own tensor) at last: a residual, or a gradient that is accumulated. */
  residual?: Tensor;
}

export function gemmShape({ a, dst, length }: GemmArgs): { batch: number; M: number; N: number; K: number } {
  return { batch: a.batch, M: dst.rows, N: dst.cols, K: length ?? a.cols };
}

/** 0 when every column is computed; else column n of row m is computed when n < m + this. */
export function causalReach({ causal }: GemmArgs): number {
  return !causal ? 0 : causal === true ? 1 : causal.offset + 1;
}

/** Whether anything but a residual is done to the rounded sums. */
export function hasEpilogue({ bias, activation, activationGrad }: GemmArgs): boolean {
  return bias !== undefined || activation !== undefined || activationGrad !== undefined;
}

/** Throws `bad_input` when shapes do not fit, options exclude each other, or the sum could pass 2^47. */
export function checkGemm(args: GemmArgs): void {
  const { a, b, dst, nb, length } = args;
  const { batch, M, N, K } = gemmShape(args);
  const along = b.transposed ? b.rows : b.cols;
  const across = b.transposed ? b.cols : b.rows;
  const fits =
    !a.transposed &&
    !a.narrow &&
    !(b.narrow && nb !== 7) &&
    b.batch === batch &&
    (length === undefined ? along === K : isCount(K) && K <= a.cols && K <= along) &&
    batchCount(dst) === batch &&
    isCount(M) &&
    isCount(N) &&
    M <= a.rows &&
    N <= across &&
    viewEnd(dst) <= dst.tensor.size;
  if (!fits) throw new AtollError('bad_input', 'gemm: the shapes do not fit.');
  const reach = causalReach(args);
  if (!(Number.isSafeInteger(reach) && reach >= 0 && reach < 2 ** 31)) {
    throw new AtollError('bad_input', 'gemm: the offset of the diagonal is a whole number from 0 on.');
  }
  checkEpilogue(args, N);
  if (K * qmaxOf[nb] ** 2 >= 2 ** 47)
    throw new AtollError('bad_input', 'gemm: K is too long for an exact sum.');
}

const isCount = (n: number) => Number.isSafeInteger(n) && n > 0;

function checkEpilogue(
  { dst, bias, activation, preactivation, activationGrad, residual }: GemmArgs,
  N: number,
): void {
  const others = [preactivation, activationGrad?.x];
  const fits =
    (!bias || bias.size >= N) &&
    [...others, residual].every((tensor) => !tensor || tensor.size >= viewEnd(dst)) &&
    ![...others, bias].includes(dst.tensor) &&
    (!preactivation || ![residual, bias].includes(preactivation)) &&
    !(preactivation && !activation) &&
    !(activation && activationGrad);
  if (!fits) throw new AtollError('bad_input', 'gemm: bias, activation or residual do not fit the product.');
}

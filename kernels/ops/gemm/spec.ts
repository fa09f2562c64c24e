/**
 * GEMM of NUMERICS.md: C = ROUND(A B^T) for quantised operands whose rows lie along the contraction.
 *
 * Shapes: a [batch][M][K], b [batch][N][K], dst batch x M x N. S = sum of products is an exact integer (|S| < 2^47);
 * C = clamp(ROUND(S, Ea + Eb - 2 nb)). For a transposed b (its scales folded into a) Eb - nb is 0.
 */
import { AtollError } from '#protocol/errors.ts';
import { batchCount, type Quantized, type Tensor, type View, viewEnd } from '../../tensor/tensor.ts';
import { type Bits, qmaxOf } from '../quantize/spec.ts';

export interface GemmArgs {
  a: Quantized;
  b: Quantized;
  dst: View;
  nb: Bits;
  /** Only columns c <= row are computed; the rest are 0. */
  causal?: boolean;
  /** Adds this (same layout as dst) to the rounded product, PF32 ADD, then clamps: a residual, or a gradient that is accumulated. */
  residual?: Tensor;
}

export function gemmShape({ a, b }: GemmArgs): { batch: number; M: number; N: number; K: number } {
  return { batch: a.batch, M: a.rows, N: b.transposed ? b.cols : b.rows, K: a.cols };
}

/** Throws `bad_input` when shapes do not fit or the sum could pass 2^47. */
export function checkGemm(args: GemmArgs): void {
  const { a, b, dst, nb } = args;
  const { batch, M, N, K } = gemmShape(args);
  const fits =
    !a.transposed &&
    b.batch === batch &&
    (b.transposed ? b.rows : b.cols) === K &&
    batchCount(dst) === batch &&
    dst.rows === M &&
    dst.cols === N &&
    viewEnd(dst) <= dst.tensor.size;
  if (!fits) throw new AtollError('bad_input', 'gemm: the shapes do not fit.');
  if (K * qmaxOf[nb] ** 2 >= 2 ** 47)
    throw new AtollError('bad_input', 'gemm: K is too long for an exact sum.');
}

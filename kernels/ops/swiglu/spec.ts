/**
 * SwiGLU: y = clamp(silu(gate) * up), and its gradients, over matrices whose rows may lie apart (both halves of one fused projection).
 *
 * silu(x) = x * s with s = sigmoid(x) of NUMERICS.md; slope(x) = s * (1 + x * (1 - s)); siluGrad: dx = dy * slope(x).
 * Backward: dgate = clamp((dy * up) * slope(gate)); dup = clamp(dy * silu(gate)).
 * Each product, sum and difference is one PF32 operation in the written order.
 */
import { AtollError } from '#protocol/errors.ts';
import { batchCount, type Tensor, type View, viewEnd } from '../../tensor/tensor.ts';

export interface SwigluArgs {
  /** [rows][cols]; columns side by side, one batch, as `up`. */
  gate: View;
  up: View;
  /** [rows][cols], another tensor. */
  y: Tensor;
}

export interface SwigluGradArgs {
  gate: View;
  up: View;
  /** [rows][cols]. */
  dy: Tensor;
  /** Views like gate and up, over tensors that are none of those; they may share one, without overlap. */
  dgate: View;
  dup: View;
}

/** Throws `bad_input` when shapes do not fit. */
export function checkSwiglu(
  { gate, up }: SwigluArgs | SwigluGradArgs,
  others: readonly View[],
  dense: Tensor,
): void {
  const views = [gate, up, ...others];
  const fits = views.every(
    (view) =>
      view.rows === gate.rows &&
      view.cols === gate.cols &&
      view.colStride === 1 &&
      (view.rows === 1 || view.rowStride >= view.cols) &&
      batchCount(view) === 1 &&
      viewEnd(view) <= view.tensor.size,
  );
  if (!fits || gate.rows < 1 || gate.cols < 1 || dense.size < gate.rows * gate.cols) {
    throw new AtollError('bad_input', 'swiglu: the shapes do not fit.');
  }
}

/** Reference of the causal softmax, forward and backward. */
import { exp, mul, recip, sub } from '../math/cpu.ts';
import { sum } from '../reduce/cpu.ts';

interface Shape {
  batch: number;
  rows: number;
  cols: number;
  scale: number;
}

/** `before`: how many columns row 0 attends to beside its own. */
export function softmax(scores: Float32Array, { batch, rows, cols, scale }: Shape, before: number): void {
  for (let row = 0; row < batch * rows; row++) {
    const at = row * cols;
    const count = Math.min(cols, (row % rows) + before + 1);
    let max = Number.NEGATIVE_INFINITY;
    for (let j = 0; j < count; j++) {
      const s = mul(scores[at + j] as number, scale);
      scores[at + j] = s;
      if (s > max) max = s;
    }
    for (let j = 0; j < count; j++) scores[at + j] = exp(sub(scores[at + j] as number, max));
    const inverse = recip(sum(scores, at, count));
    for (let j = 0; j < count; j++) scores[at + j] = mul(scores[at + j] as number, inverse);
    scores.fill(0, at + count, at + cols);
  }
}

export function softmaxGrad(
  probabilities: Float32Array,
  gradient: Float32Array,
  { batch, rows, cols, scale }: Shape,
  before: number,
): void {
  const products = new Float32Array(cols);
  for (let row = 0; row < batch * rows; row++) {
    const at = row * cols;
    const count = Math.min(cols, (row % rows) + before + 1);
    for (let j = 0; j < count; j++) {
      products[j] = mul(probabilities[at + j] as number, gradient[at + j] as number);
    }
    const total = sum(products, 0, count);
    for (let j = 0; j < count; j++) {
      const inner = sub(gradient[at + j] as number, total);
      gradient[at + j] = mul(mul(probabilities[at + j] as number, inner), scale);
    }
    gradient.fill(0, at + count, at + cols);
  }
}

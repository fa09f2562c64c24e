/**
 * Causal softmax over attention scores, forward and backward, in place. The products around it are GEMMs.
 *
 * Row i of each T x T matrix: s = scores * scale for j <= i; e = exp(s - max); P = e * recip(sum e); 0 for j > i.
 * Backward: D = sum over j <= i of P * dP; dS = (P * (dP - D)) * scale; 0 for j > i.
 */
import type { Tensor } from '../../tensor/tensor.ts';

export interface SoftmaxArgs {
  /** [batch][T][T] scores, become probabilities. */
  scores: Tensor;
  batch: number;
  T: number;
  scale: number;
}

export interface SoftmaxGradArgs {
  probabilities: Tensor;
  /** [batch][T][T] gradient of the probabilities, becomes that of the raw scores. */
  gradient: Tensor;
  batch: number;
  T: number;
  scale: number;
}

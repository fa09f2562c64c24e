/** Parameters of a `train.steps` unit from ordinary numbers, for a job of one unit: tests, examples, experiments. A planned job has its own (the planner's). */
import { constant, toBits } from '../../ops/math/cpu.ts';
import type { TrainStepsParams } from './spec.ts';

export interface PlainTraining {
  steps: number;
  batch: number;
  /** Learning rate of step t = 1, 2, ... */
  lr: (t: number) => number;
  beta1?: number;
  beta2?: number;
  eps?: number;
  weightDecay?: number;
}

const bits = (x: number) => toBits(constant(x));

/** The bits of every real; bias corrections by products, since `Math.pow` differs between engines. */
export function trainStepsFrom(plain: PlainTraining): TrainStepsParams {
  const { steps, batch, lr, beta1 = 0.9, beta2 = 0.99, eps = 1e-8, weightDecay = 0.1 } = plain;
  const perStep = (f: (t: number) => number) => Array.from({ length: steps }, (_, i) => bits(f(i + 1)));
  const correction = (beta: number) => {
    let power = 1;
    return perStep(() => 1 / (1 - (power *= beta)));
  };
  const reals = { beta1: bits(beta1), beta2: bits(beta2), eps: bits(eps), weightDecay: bits(weightDecay) };
  return { steps, batch, lr: perStep(lr), bias1: correction(beta1), bias2: correction(beta2), ...reals };
}

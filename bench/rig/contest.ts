/** What Node tells a tab to do, and what it answers. Both sides import this; nothing here runs. */
import type { ModelConfig, Policy } from '#protocol/messages/model.ts';

/** f32 matrices A [M, K] and B [K, N] in, their product [M, N] out. */
export interface GemmTask {
  kind: 'gemm';
  contestant: string;
  M: number;
  N: number;
  K: number;
  policy?: Policy;
}

/** One step of AdamW on a GPT, and its loss read back. */
export interface TrainTask {
  kind: 'train';
  contestant: string;
  model: ModelConfig;
  batch: number;
  policy?: Policy;
}

export type Task = GemmTask | TrainTask;

/** What the tab verified before anything is timed. */
export interface Prepared {
  /** Of the device, in its own words. */
  label: string;
  /** SHA-256 of every result, one for each input: ours must equal the reference's. */
  digests: string[];
  /** GEMM: the largest error against a product in f64, relative to the root mean square of the product's elements. */
  maxError?: number;
  /** Training: the losses of the steps before timing. */
  losses?: number[];
}

/** One multiplier: `which` names one of two A matrices, so that nothing can be remembered. */
export interface Multiplier {
  label: string;
  multiply(which: 0 | 1): Promise<Float32Array>;
}

/** One trainer: a step on window set `index`, and the loss before the update. */
export interface Trainer {
  label: string;
  step(index: number): Promise<number>;
}

export interface Contest {
  prepare(task: Task): Promise<Prepared>;
  run(count: number): Promise<void>;
}

declare global {
  // eslint-disable-next-line no-var
  var contest: Contest;
}

/** What everybody trains: a GPT-2 without linear biases over bytes, its first weights and its windows of tokens, the same for all. */
import { initialWeights } from '#kernels/model/init.ts';
import { parameterLayout } from '#kernels/model/layout.ts';
import type { ModelConfig } from '#protocol/messages/model.ts';

export const model: ModelConfig = { L: 4, C: 128, NH: 4, T: 64, V: 256 };
export const batch = 8;
export const hyper = { lr: 1e-3, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1 };
export const windowSets = 4;

/** Windows of T + 1 tokens each; set `index` of `windowSets`. */
export function windows(config: ModelConfig, rows: number, index: number): Uint8Array {
  const size = rows * (config.T + 1);
  return Uint8Array.from({ length: size }, (_, i) => ((i + index * size) ** 2 * 31) % config.V);
}

/** Inputs and targets [rows * T] of a set, for those who take them apart. */
export function batchOf(config: ModelConfig, rows: number, index: number) {
  const all = windows(config, rows, index);
  const { T } = config;
  const at = (shift: number) =>
    Int32Array.from(
      { length: rows * T },
      (_, i) => all[Math.floor(i / T) * (T + 1) + (i % T) + shift] as number,
    );
  return { inputs: at(0), targets: at(1) };
}

export interface Weights {
  name: string;
  rows: number;
  cols: number;
  decay: boolean;
  values: Float32Array;
}

/** Parameters in our layout: matrices are [out, in]. */
export function firstWeights(config: ModelConfig): Weights[] {
  const all = initialWeights(config, 1);
  return parameterLayout(config).map(({ name, rows, cols, decay, offset }) => ({
    name,
    rows,
    cols,
    decay,
    values: all.slice(offset, offset + rows * cols),
  }));
}

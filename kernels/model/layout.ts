/**
 * The parameters of a GPT: names, shapes and order. Checkpoints and updates are the tensors' bytes in this order, without gaps.
 *
 * Weights are [out, in], so a row lies along the forward contraction. Linears have no bias; layer norms have gain and bias; the output
 * head is wte (tied).
 */
import type { ModelConfig } from '#protocol/messages/job.ts';

export interface ParameterSpec {
  name: string;
  rows: number;
  cols: number;
  /** Weight decay applies to matrices, not to gains and biases. */
  decay: boolean;
  /** How it starts: uniform(-a, a) with this standard deviation, or a constant. */
  init: { std: number } | { value: number };
  offset: number;
}

/** Parameters in storage order, with their offsets in elements. */
export function parameterLayout(model: ModelConfig): ParameterSpec[] {
  const { L, C, T, V } = model;
  const specs: ParameterSpec[] = [];
  let offset = 0;
  const add = (name: string, rows: number, cols: number, init: ParameterSpec['init']) => {
    specs.push({ name, rows, cols, decay: rows > 1, init, offset });
    offset += rows * cols;
  };
  // 0.018 at GPT-2's C = 768; a fixed 0.02 leaves narrow models at the unigram plateau for a hundred steps (decision 0005).
  const std = 0.5 / Math.sqrt(C);
  // GPT-2 scales what writes to the residual stream by 1/sqrt(2 L).
  const residualStd = std / Math.sqrt(2 * L);
  add('wte', V, C, { std });
  add('wpe', T, C, { std });
  for (let l = 0; l < L; l++) {
    add(`h${l}.ln1.gain`, 1, C, { value: 1 });
    add(`h${l}.ln1.bias`, 1, C, { value: 0 });
    add(`h${l}.attn.qkv`, 3 * C, C, { std });
    add(`h${l}.attn.proj`, C, C, { std: residualStd });
    add(`h${l}.ln2.gain`, 1, C, { value: 1 });
    add(`h${l}.ln2.bias`, 1, C, { value: 0 });
    add(`h${l}.mlp.up`, 4 * C, C, { std });
    add(`h${l}.mlp.down`, C, 4 * C, { std: residualStd });
  }
  add('lnf.gain', 1, C, { value: 1 });
  add('lnf.bias', 1, C, { value: 0 });
  return specs;
}

export function parameterCount(model: ModelConfig): number {
  const { L, C, T, V } = model;
  return (V + T) * C + L * (12 * C * C + 4 * C) + 2 * C;
}

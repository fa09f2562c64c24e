/** The parameters of a model: their order, shapes and initial scales. The order is part of what checkpoints mean. */
import type { ModelConfig } from '#protocol/messages/job.ts';
import { type Architecture, architectureOf, upRows } from './architecture.ts';

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

type Add = (name: string, rows: number, cols: number, init: ParameterSpec['init']) => void;

/** Parameters in storage order, with their offsets in elements. */
export function parameterLayout(model: ModelConfig): ParameterSpec[] {
  const shape = architectureOf(model);
  const { L, C, T, V } = shape;
  const specs: ParameterSpec[] = [];
  let offset = 0;
  const add: Add = (name, rows, cols, init) => {
    specs.push({ name, rows, cols, decay: rows > 1, init, offset });
    offset += rows * cols;
  };
  // 0.018 at GPT-2's C = 768; a fixed 0.02 leaves narrow models at the unigram plateau for a hundred steps (decision 0005).
  const std = 0.5 / Math.sqrt(C);
  add('wte', V, C, { std });
  if (shape.positions === 'learned') add('wpe', T, C, { std });
  for (let l = 0; l < L; l++) addLayer(shape, std, (name, ...rest) => add(`h${l}.${name}`, ...rest));
  addNorm(shape, 'lnf', add);
  if (!shape.tied) add('head', V, C, { std });
  return specs;
}

function addLayer(shape: Architecture, std: number, add: Add): void {
  const { L, C, NH, HD, QKV, HID, biases, experts } = shape;
  // GPT-2 scales what writes to the residual stream by 1/sqrt(2 L).
  const residualStd = std / Math.sqrt(2 * L);
  const linear = (name: string, rows: number, cols: number, deviation: number) => {
    add(name, rows, cols, { std: deviation });
    if (biases) add(`${name}.bias`, 1, rows, { value: 0 });
  };
  addNorm(shape, 'ln1', add);
  linear('attn.qkv', QKV, C, std);
  linear('attn.proj', C, NH * HD, residualStd);
  addNorm(shape, 'ln2', add);
  const E = experts?.E ?? 1;
  if (experts) linear('mlp.router', E, C, std);
  // Experts lie one below the other.
  linear('mlp.up', E * upRows(shape), C, std);
  linear('mlp.down', E * C, HID, residualStd);
}

function addNorm({ C, norm }: Architecture, name: string, add: Add): void {
  add(`${name}.gain`, 1, C, { value: 1 });
  if (norm === 'layer') add(`${name}.bias`, 1, C, { value: 0 });
}

export function parameterCount(model: ModelConfig): number {
  const last = parameterLayout(model).at(-1) as ParameterSpec;
  return last.offset + last.rows * last.cols;
}

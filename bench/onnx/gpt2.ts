/**
 * The GPT of kernels/model as an ONNX graph for generation: LayerNorm, GELU (tanh), learned positions, tied head, keys and values of
 * earlier positions as inputs and of all positions as outputs.
 *
 * Inputs: tokens [S], positions [S], mask [S, P + S] (added to scores), past.k.<l> and past.v.<l> [NH, P, HD]. Outputs: logits [1, V] of the last
 * position, present.k.<l> and present.v.<l> [NH, P + S, HD]. Weights are external data; matrices are [in, out], which onnxruntime packs at loading.
 */
import { parameterLayout } from '#kernels/model/layout.ts';
import type { ModelConfig } from '#protocol/messages/model.ts';
import { transposed } from '../kernel/inputs.ts';
import { OnnxGraph } from './model.ts';

export const dataFile = 'weights.bin';

export interface Gpt2Onnx {
  model: Uint8Array;
  /** What `dataFile` holds. */
  data: Uint8Array;
}

/** `weights` in layout order. Tables and the vectors of norms stay as they are. */
export function gpt2Onnx(config: ModelConfig, weights: Float32Array): Gpt2Onnx {
  const graph = new OnnxGraph();
  const data = new Float32Array(weights.length);
  for (const { name, rows, cols, offset } of parameterLayout(config)) {
    const values = weights.subarray(offset, offset + rows * cols);
    const isLinear = rows > 1 && name !== 'wte' && name !== 'wpe';
    data.set(isLinear ? transposed(values, rows, cols) : values, offset);
    const shape = rows === 1 ? [cols] : isLinear ? [cols, rows] : [rows, cols];
    graph.external(name, shape, dataFile, offset * 4, values.length * 4);
  }
  build(graph, config);
  return { model: graph.model(), data: new Uint8Array(data.buffer) };
}

function build(graph: OnnxGraph, config: ModelConfig): void {
  const { L, C, NH, V } = config;
  const HD = C / NH;
  graph.input('tokens', 'i64', ['S']);
  graph.input('positions', 'i64', ['S']);
  graph.input('mask', 'f32', ['S', 'A']);
  const norm = (x: string, name: string) =>
    graph.node('LayerNormalization', [x, `${name}.gain`, `${name}.bias`], {
      axis: -1,
      epsilon: { float: 1e-5 },
    });
  const linear = linearOf(graph, config);
  const attention = attentionOf(graph, config);
  let x = graph.node('Add', [
    graph.node('Gather', ['wte', 'tokens']),
    graph.node('Gather', ['wpe', 'positions']),
  ]);
  for (let l = 0; l < L; l++) {
    for (const part of ['k', 'v']) graph.input(`past.${part}.${l}`, 'f32', [NH, 'P', HD]);
    const mixed = attention(norm(x, `h${l}.ln1`), l);
    x = graph.node('Add', [x, linear(mixed, `h${l}.attn.proj`)]);
    const up = linear(norm(x, `h${l}.ln2`), `h${l}.mlp.up`);
    const act = graph.node('Gelu', [up], { approximate: 'tanh' });
    x = graph.node('Add', [x, linear(act, `h${l}.mlp.down`)]);
    for (const part of ['k', 'v']) graph.output(`present.${part}.${l}`, 'f32', [NH, 'A', HD]);
  }
  const last = graph.node('Gather', [x, graph.constant([-1], 'i64')], { axis: 0 });
  graph.node('Gemm', [norm(last, 'lnf'), 'wte'], { transB: 1 }, ['logits']);
  graph.output('logits', 'f32', [1, V]);
}

/** x W, and a bias where the model has them. */
function linearOf(graph: OnnxGraph, { biases }: ModelConfig): (x: string, name: string) => string {
  return (x, name) => {
    const product = graph.node('MatMul', [x, name]);
    return biases ? graph.node('Add', [product, `${name}.bias`]) : product;
  };
}

/** Causal attention of layer l over what was before and what is new. */
function attentionOf(graph: OnnxGraph, config: ModelConfig): (x: string, l: number) => string {
  const { C, NH } = config;
  const linear = linearOf(graph, config);
  const HD = C / NH;
  const headShape = graph.constant([-1, NH, HD], 'i64');
  const rowShape = graph.constant([-1, C], 'i64');
  const scale = graph.constant([1 / Math.sqrt(HD)], 'f32');
  const heads = (x: string) =>
    graph.node('Transpose', [graph.node('Reshape', [x, headShape])], { perm: [1, 0, 2] });
  return (x, l) => {
    const qkv = linear(x, `h${l}.attn.qkv`);
    const parts = ['q', 'k', 'v'].map((part) => `${part}${l}`);
    graph.node('Split', [qkv], { axis: -1, num_outputs: 3 }, parts);
    const [q, k, v] = parts.map(heads) as [string, string, string];
    const keys = graph.node('Concat', [`past.k.${l}`, k], { axis: 1 }, [`present.k.${l}`]);
    const values = graph.node('Concat', [`past.v.${l}`, v], { axis: 1 }, [`present.v.${l}`]);
    const scaled = graph.node('Mul', [q, scale]);
    const scores = graph.node('MatMul', [scaled, graph.node('Transpose', [keys], { perm: [0, 2, 1] })]);
    const p = graph.node('Softmax', [graph.node('Add', [scores, 'mask'])], { axis: -1 });
    const out = graph.node('Transpose', [graph.node('MatMul', [p, values])], { perm: [1, 0, 2] });
    return graph.node('Reshape', [out, rowShape]);
  };
}

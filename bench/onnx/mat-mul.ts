/** An ONNX graph of one MatMul: a [M, K], b [K, N] -> c [M, N]. */
import { OnnxGraph } from './model.ts';

export function matMulModel({ M, N, K }: { M: number; N: number; K: number }): Uint8Array {
  const graph = new OnnxGraph();
  graph.input('a', 'f32', [M, K]);
  graph.input('b', 'f32', [K, N]);
  graph.node('MatMul', ['a', 'b'], {}, ['c']);
  graph.output('c', 'f32', [M, N]);
  return graph.model();
}

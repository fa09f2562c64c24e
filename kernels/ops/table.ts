/**
 * One row an op: what it takes, what it costs, what its gradient is and where it comes from. For the conformance page, the docs and the bench.
 *
 * `flops` counts PF32 operations (a multiply-add of a product is two), functions by their recipes in NUMERICS.md; QUANT and moves count none.
 * `bytes` is each input read once and each output written once, at 4 bytes a word, 1 or 2 a mantissa: what no implementation can go below.
 * `counts` are the arguments that must be whole numbers from 1 on. An op without a row does not compile; vectors/twins.test.ts and bounds.test.ts hold the rest.
 */
import type { OpArgs, OpName } from '../device/device.ts';
import { batchCount, type Quantized, type View } from '../tensor/tensor.ts';
import { gemmShape, hasEpilogue } from './gemm/spec.ts';
import type { Bits } from './quantize/spec.ts';

export interface OpRow<A> {
  /** Folder of the twins below kernels/ops. */
  folder: string;
  shapes: string;
  counts: readonly (keyof A)[];
  flops: (args: A) => number;
  bytes: (args: A) => number;
  /** Name of the op that is its gradient, or `none: ` and why. */
  gradient: string;
  source: string;
}

/** Why no op has a CUDA twin yet. */
export const cudaAbsent = 'a later issue: native contributors run WebGPU or WebAssembly today';

/** PF32 operations of one call. */
const cost = { exp: 18, recip: 12, rsqrt: 16, sqrt: 17, ln: 27, tanh: 34, sigmoid: 31 } as const;

const viewSize = (view: View) => batchCount(view) * view.rows * view.cols;
const operandBytes = (q: Quantized, nb: Bits) => q.batch * q.rows * (q.cols * (nb === 7 ? 1 : 2) + 4);
const words = (count: number) => 4 * count;

export const opTable: { readonly [K in OpName]: OpRow<OpArgs[K]> } = {
  quantize: {
    folder: 'quantize',
    shapes: 'src: f32 view [batch][rows][cols] -> dst: integers of nb bits, an exponent a row',
    counts: [],
    flops: () => 0,
    bytes: ({ src, dst, nb }) => words(viewSize(src)) + operandBytes({ ...dst, rows: src.rows }, nb),
    gradient: 'none: straight through (decision 0003)',
    source: 'NUMERICS.md, QUANT',
  },
  gemm: {
    folder: 'gemm',
    shapes: 'a: int [batch][M][K], b: int [batch][N][K] -> dst: f32 view [batch][M][N]',
    counts: [],
    flops(args) {
      const { batch, M, N, K } = gemmShape(args);
      return batch * M * N * (2 * K + (hasEpilogue(args) ? cost.tanh : 0) + (args.residual ? 1 : 0));
    },
    bytes(args) {
      const { batch, M, N } = gemmShape(args);
      const stored = 1 + (args.residual ? 1 : 0) + (args.preactivation || args.activationGrad ? 1 : 0);
      const operands = operandBytes(args.a, args.nb) + operandBytes(args.b, args.nb);
      return operands + words(stored * batch * M * N + (args.bias ? N : 0));
    },
    gradient: 'none: two more products, of quantised gradients',
    source: 'NUMERICS.md, GEMM',
  },
  layerNorm: {
    folder: 'layer-norm',
    shapes: 'x: f32 [rows][cols], gain, bias: [cols] -> y: [rows][cols], mean, rstd: [rows]',
    counts: ['rows', 'cols'],
    flops: ({ rows, cols }) => rows * (8 * cols + cost.rsqrt + 3),
    bytes: ({ rows, cols }) => words(2 * rows * cols + 2 * cols + 2 * rows),
    gradient: 'layerNormGrad',
    source: 'Ba et al. 2016; karpathy/llm.c:train_gpt2.c',
  },
  layerNormGrad: {
    folder: 'layer-norm',
    shapes: 'dy, x: f32 [rows][cols], gain: [cols], mean, rstd: [rows] -> dx: [rows][cols]',
    counts: ['rows', 'cols'],
    flops: ({ rows, cols, residual }) => rows * (cols * (10 + (residual ? 1 : 0)) + 2),
    bytes: ({ rows, cols, residual }) => words(rows * cols * (residual ? 4 : 3) + cols + 2 * rows),
    gradient: 'none: a gradient itself',
    source: 'karpathy/llm.c:train_gpt2.c',
  },
  layerNormParamGrad: {
    folder: 'layer-norm',
    shapes: 'dy, x: f32 [rows][cols], mean, rstd: [rows] -> dgain, dbias: [cols]',
    counts: ['rows', 'cols'],
    flops: ({ rows, cols }) => 5 * rows * cols,
    bytes: ({ rows, cols }) => words(2 * rows * cols + 2 * rows + 2 * cols),
    gradient: 'none: a gradient itself',
    source: 'karpathy/llm.c:train_gpt2.c',
  },
  gelu: {
    folder: 'gelu',
    shapes: 'x: f32 [size] -> y: [size]',
    counts: ['size'],
    flops: ({ size }) => size * (8 + cost.tanh),
    bytes: ({ size }) => words(2 * size),
    gradient: 'geluGrad',
    source: 'Hendrycks and Gimpel 2016, the tanh form of GPT-2',
  },
  geluGrad: {
    folder: 'gelu',
    shapes: 'x, dy: f32 [size] -> dx: [size]',
    counts: ['size'],
    flops: ({ size }) => size * (18 + cost.tanh),
    bytes: ({ size }) => words(3 * size),
    gradient: 'none: a gradient itself',
    source: 'karpathy/llm.c:train_gpt2.c',
  },
  softmax: {
    folder: 'attention',
    shapes: 'scores: f32 [batch][rows][cols], in place',
    counts: ['batch', 'rows', 'cols'],
    flops: ({ batch, rows, cols }) => batch * rows * (cols * (4 + cost.exp) + cost.recip),
    bytes: ({ batch, rows, cols }) => words(2 * batch * rows * cols),
    gradient: 'softmaxGrad',
    source: 'Vaswani et al. 2017; masking skips terms, NUMERICS.md',
  },
  softmaxGrad: {
    folder: 'attention',
    shapes: 'probabilities: f32 [batch][rows][cols]; gradient: the same, in place',
    counts: ['batch', 'rows', 'cols'],
    flops: ({ batch, rows, cols }) => 5 * batch * rows * cols,
    bytes: ({ batch, rows, cols }) => words(3 * batch * rows * cols),
    gradient: 'none: a gradient itself',
    source: 'karpathy/llm.c:train_gpt2.c',
  },
  crossEntropy: {
    folder: 'cross-entropy',
    shapes: 'logits: f32 [rows][V], in place; targets: u32 [rows] -> losses: f32 [rows]',
    counts: ['rows', 'V'],
    flops: ({ rows, V, gradientScale }) =>
      rows * (V * (2 + cost.exp + (gradientScale === undefined ? 0 : 2)) + cost.ln + cost.recip + 2),
    bytes: ({ rows, V, gradientScale }) => words(rows * (V * (gradientScale === undefined ? 1 : 2) + 2)),
    gradient: 'none: it writes its gradient over the logits',
    source: 'karpathy/llm.c:train_gpt2.c',
  },
  rmsNorm: {
    folder: 'rms-norm',
    shapes: 'x: f32 [rows][cols], gain: [cols] -> y: [rows][cols], rstd: [rows]',
    counts: ['rows', 'cols'],
    flops: ({ rows, cols }) => rows * (4 * cols + cost.rsqrt + 2),
    bytes: ({ rows, cols }) => words(2 * rows * cols + cols + rows),
    gradient: 'rmsNormGrad',
    source: 'Zhang and Sennrich 2019',
  },
  rmsNormGrad: {
    folder: 'rms-norm',
    shapes: 'dy, x: f32 [rows][cols], gain: [cols], rstd: [rows] -> dx: [rows][cols]',
    counts: ['rows', 'cols'],
    flops: ({ rows, cols, residual }) => rows * (cols * (7 + (residual ? 1 : 0)) + 1),
    bytes: ({ rows, cols, residual }) => words(rows * cols * (residual ? 4 : 3) + cols + rows),
    gradient: 'none: a gradient itself',
    source: 'Zhang and Sennrich 2019',
  },
  rmsNormParamGrad: {
    folder: 'rms-norm',
    shapes: 'dy, x: f32 [rows][cols], rstd: [rows] -> dgain: [cols]',
    counts: ['rows', 'cols'],
    flops: ({ rows, cols }) => 3 * rows * cols,
    bytes: ({ rows, cols }) => words(2 * rows * cols + rows + cols),
    gradient: 'none: a gradient itself',
    source: 'Zhang and Sennrich 2019',
  },
  rotary: {
    folder: 'rotary',
    shapes: 'x: f32 view [rows][heads][HD], in place; cos, sin: [T][HD/2], positions: u32 [rows]',
    counts: ['rows', 'heads', 'HD'],
    flops: ({ rows, heads, HD }) => 3 * rows * heads * HD,
    bytes: ({ rows, heads, HD }) => words(rows * (2 * heads * HD + HD + 1)),
    gradient: 'rotary',
    source: 'Su et al. 2021; halves as in Llama',
  },
  swiglu: {
    folder: 'swiglu',
    shapes: 'gate, up: f32 views [rows][cols] -> y: [rows][cols]',
    counts: [],
    flops: ({ gate }) => viewSize(gate) * (2 + cost.sigmoid),
    bytes: ({ gate }) => words(3 * viewSize(gate)),
    gradient: 'swigluGrad',
    source: 'Shazeer 2020',
  },
  swigluGrad: {
    folder: 'swiglu',
    shapes: 'gate, up: f32 views [rows][cols], dy: [rows][cols] -> dgate, dup: views [rows][cols]',
    counts: [],
    flops: ({ gate }) => viewSize(gate) * (8 + cost.sigmoid),
    bytes: ({ gate }) => words(5 * viewSize(gate)),
    gradient: 'none: a gradient itself',
    source: 'Shazeer 2020',
  },
  columnSum: {
    folder: 'column-sum',
    shapes: 'src: f32 [rows][cols] -> dst: [cols]',
    counts: ['rows', 'cols'],
    flops: ({ rows, cols }) => rows * cols,
    bytes: ({ rows, cols, accumulate }) => words(rows * cols + cols * (accumulate ? 2 : 1)),
    gradient: 'none: it is the gradient of a bias',
    source: 'NUMERICS.md, Reductions',
  },
  embed: {
    folder: 'embedding',
    shapes: 'tokens: u32 [rows], wte: f32 [V][cols], wpe: [T][cols] -> x: [rows][cols]',
    counts: ['rows', 'cols', 'T'],
    flops: ({ rows, cols, wpe }) => (wpe ? rows * cols : 0),
    bytes: ({ rows, cols, wpe }) => words(rows * cols * (wpe ? 3 : 2) + rows),
    gradient: 'scatterAdd',
    source: 'Radford et al. 2019 (GPT-2)',
  },
  scatterAdd: {
    folder: 'embedding',
    shapes: 'q: int [C][positions], indices: u32 [positions] -> dst: f32 [V][C]',
    counts: [],
    flops: ({ q, dst, accumulate }) => q.rows * q.cols + (accumulate ? dst.size : 0),
    bytes: ({ q, dst, nb, accumulate }) =>
      operandBytes(q, nb) + words(q.cols + dst.size * (accumulate ? 2 : 1)),
    gradient: 'none: a gradient itself',
    source: 'NUMERICS.md, GEMM: integers, so that order does not matter',
  },
  adamw: {
    folder: 'adamw',
    shapes: 'p, g, m, v: f32 [size], scalars: [4], gradScale: [1]; p, m, v in place',
    counts: ['size'],
    flops: ({ size, gradScale }) => size * (14 + cost.sqrt + cost.recip + (gradScale ? 1 : 0)),
    bytes: ({ size }) => words(7 * size),
    gradient: 'none: an optimiser',
    source: 'Loshchilov and Hutter 2019',
  },
  elementwise: {
    folder: 'elementwise',
    shapes: 'a, b: f32 [size] -> dst: [size]',
    counts: ['size'],
    flops: ({ size, kind }) => size * (kind === 'sqrt' ? cost.sqrt : 1),
    bytes: ({ size, kind }) => words(size * (kind === 'add' || kind === 'sub' ? 3 : 2)),
    gradient: 'none: used between rounds, not in a model',
    source: 'NUMERICS.md, Values',
  },
  nesterov: {
    folder: 'elementwise',
    shapes: 'p, momentum: f32 [size], in place; delta: [size]',
    counts: ['size'],
    flops: ({ size }) => 6 * size,
    bytes: ({ size }) => words(5 * size),
    gradient: 'none: an optimiser',
    source: 'Douillard et al. 2023 (DiLoCo)',
  },
  sum: {
    folder: 'reduce',
    shapes: 'src: f32 [count] -> dst[at]',
    counts: ['count'],
    flops: ({ count }) => count + 1,
    bytes: ({ count }) => words(count + 1),
    gradient: 'none: for losses, outside a model',
    source: 'NUMERICS.md, Reductions',
  },
  encodeRows: {
    folder: 'rows',
    shapes: 'src, minus: f32 [rows][cols] -> codes: int8 [rows][cols], exponents: int8 [rows]',
    counts: ['rows', 'cols'],
    flops: ({ rows, cols, minus, sqrt }) => rows * cols * (minus ? 1 : sqrt ? cost.sqrt : 0),
    bytes: ({ rows, cols, minus }) => rows * cols * (minus ? 9 : 5) + rows,
    gradient: 'none: state at rest',
    source: 'decision 0004; NUMERICS.md, QUANT',
  },
  decodeRows: {
    folder: 'rows',
    shapes: 'codes: int8 [rows][cols], exponents: int8 [rows] -> dst: f32 [rows][cols]',
    counts: ['rows', 'cols'],
    flops: ({ rows, cols, square, addTo }) => rows * cols * (1 + (square ? 1 : 0) + (addTo ? 1 : 0)),
    bytes: ({ rows, cols, addTo }) => rows * cols * (addTo ? 9 : 5) + rows,
    gradient: 'none: state at rest',
    source: 'decision 0004',
  },
  sumSquares: {
    folder: 'clip',
    shapes: 'src: f32 [count] -> dst[at]',
    counts: ['count'],
    flops: ({ count }) => 2 * count,
    bytes: ({ count }) => words(count + 1),
    gradient: 'none: of the optimiser',
    source: 'pytorch:torch/nn/utils/clip_grad.py',
  },
  clipScale: {
    folder: 'clip',
    shapes: 'partials: f32 [count] -> dst: [1]',
    counts: ['count'],
    flops: ({ count }) => count + cost.sqrt + cost.recip + 1,
    bytes: ({ count }) => words(count + 1),
    gradient: 'none: of the optimiser',
    source: 'pytorch:torch/nn/utils/clip_grad.py',
  },
  route: {
    folder: 'moe',
    shapes:
      'logits: f32 [M][E] -> ids: u32 [M][k], gates: f32 [M][k], order, places: u32 [M * k], offsets: [E + 1]',
    counts: ['M', 'E', 'k'],
    flops: ({ M, k }) => M * (k * (3 + cost.exp) + cost.recip),
    bytes: ({ M, E, k }) => words(M * E + 4 * M * k + E + 1),
    gradient: 'routeGrad',
    source: 'Shazeer et al. 2017; Jiang et al. 2024 (Mixtral)',
  },
  routeGrad: {
    folder: 'moe',
    shapes: 'ids: u32 [M][k], gates, dgates: f32 [M][k] -> dlogits: [M][E]',
    counts: ['M', 'E', 'k'],
    flops: ({ M, k }) => 4 * M * k,
    bytes: ({ M, E, k }) => words(3 * M * k + M * E),
    gradient: 'none: a gradient itself',
    source: 'Shazeer et al. 2017',
  },
  gatherRows: {
    folder: 'moe',
    shapes: 'src: f32 [M][cols], order: u32 [M * k] -> dst: [M * k][cols]',
    counts: ['M', 'k', 'cols'],
    flops: () => 0,
    bytes: ({ M, k, cols }) => words(M * (k * (cols + 1) + cols)),
    gradient: 'combine',
    source: 'Gale et al. 2022 (MegaBlocks)',
  },
  combine: {
    folder: 'moe',
    shapes: 'rows: f32 [M * k][cols], places: u32 [M][k], gates: f32 [M][k] -> y: [M][cols]',
    counts: ['M', 'k', 'cols'],
    flops: ({ M, k, cols, gates, residual }) => M * cols * (k * (gates ? 2 : 1) + (residual ? 1 : 0)),
    bytes: ({ M, k, cols, residual }) => words(M * (k * (cols + 2) + cols * (residual ? 2 : 1))),
    gradient: 'combineGrad',
    source: 'Shazeer et al. 2017',
  },
  combineGrad: {
    folder: 'moe',
    shapes: 'dy: f32 [M][cols], rows: [M * k][cols], gates: [M][k] -> drows: [M * k][cols], dgates: [M][k]',
    counts: ['M', 'k', 'cols'],
    flops: ({ M, k, cols }) => 3 * M * k * cols,
    bytes: ({ M, k, cols }) => words(M * (cols + k * (2 * cols + 3))),
    gradient: 'none: a gradient itself',
    source: 'Shazeer et al. 2017',
  },
  groupedGemm: {
    folder: 'moe',
    shapes:
      "'rows': a: int [R][K], b: int [E][N][K] -> dst: f32 [R][N]; 'contraction': a: int [M][R], b: int [N][R] -> dst: f32 [E][M][N]",
    counts: [],
    flops: ({ a, b }) => 2 * a.rows * b.rows * a.cols,
    bytes: ({ a, b, nb, dst, residual }) =>
      operandBytes(a, nb) + operandBytes(b, nb) + words(dst.size * (residual ? 2 : 1)),
    gradient: "none: two more products, 'rows' for the input and 'contraction' for the weights",
    source: 'Gale et al. 2022 (MegaBlocks); NUMERICS.md, GEMM',
  },
  sample: {
    folder: 'sample',
    shapes: 'logits: f32 [rows][V], temperature: [1], scalars: [1] -> dst: u32 [rows]',
    counts: ['rows', 'V'],
    flops: ({ rows, V }) => rows * V * (3 + 2 * cost.ln),
    bytes: ({ rows, V }) => words(rows * V + rows + 2),
    gradient: 'none: a draw has none',
    source: 'Gumbel-max: Maddison et al. 2014',
  },
};

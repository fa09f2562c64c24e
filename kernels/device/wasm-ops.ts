/**
 * From an op's arguments to calls of WASM kernels. Records are written as tensor/wasm.ts and the ops' wasm.ts declare them, field by field.
 */
import { AtollError } from '#protocol/errors.ts';
import type { AdamwArgs } from '../ops/adamw/spec.ts';
import type { SoftmaxArgs, SoftmaxGradArgs } from '../ops/attention/spec.ts';
import type { ClipScaleArgs, SumSquaresArgs } from '../ops/clip/spec.ts';
import type { ElementwiseArgs } from '../ops/elementwise/spec.ts';
import type { ScatterAddArgs } from '../ops/embedding/spec.ts';
import { causalReach, type GemmArgs, gemmShape } from '../ops/gemm/spec.ts';
import { constant } from '../ops/math/cpu.ts';
import type { RmsNormArgs, RmsNormGradArgs, RmsNormParamGradArgs } from '../ops/rms-norm/spec.ts';
import { type RotaryArgs, tableRows } from '../ops/rotary/spec.ts';
import * as moe from '../ops/moe/spec.ts';
import { dstRowOf, type QuantizeArgs } from '../ops/quantize/spec.ts';
import type { DecodeRowsArgs, EncodeRowsArgs } from '../ops/rows/spec.ts';
import type { SampleArgs } from '../ops/sample/spec.ts';
import type { Quantized, Tensor, View } from '../tensor/tensor.ts';
import type { OpArgs, OpName } from './device.ts';
import type { Account } from './wasm-memory.ts';

export interface WasmTensor extends Tensor {
  /** Address. */
  readonly at: number;
}

/** Mantissas in panels: see tensor/wasm.ts. */
export interface WasmOperand extends Quantized {
  readonly mantissas: WasmTensor;
  readonly exponents: WasmTensor;
  /** Lines along the contraction and their length. */
  readonly lines: number;
  readonly length: number;
  readonly panelBytes: number;
  /** Address of the operand's record. */
  readonly record: number;
}

/** One kernel call. Scratch, part and parts follow the arguments. */
export interface Call {
  kernel: string;
  args: readonly number[];
  scratchBytes: number;
}

export const at = (tensor: Tensor): number => (tensor as WasmTensor).at;
const atOrNone = (tensor: Tensor | null | undefined): number => (tensor ? at(tensor) : 0);
const recordOf = (q: Quantized): number => (q as WasmOperand).record;
const f32 = (value: number) => ({ f32: value });
const call = (kernel: string, args: readonly number[], scratchBytes = 0): Call[] => [
  { kernel, args, scratchBytes },
];

/** Of gemm/wasm.ts: two records, a row of scales, 16 bytes for every element of a block of 32 x 128 and for each of its rows, two rows, and GELU's. */
const gemmScratchBytes = 112 + 128 * 4 + 32 * 128 * 16 + 32 * 16 + 2 * 512 + 512;

/** Of quantizeAcross: a record, and a vector of scales for each panel of a chunk. */
const acrossBytes = 64 + 192 * 16;

/** Numbers of gemm/wasm.ts. */
const activations = { gelu: 1, silu: 2 };

/** A row of `count` words with room to write whole vectors. */
const rowBytes = (count: number) => count * 4 + 32;

/** What `sumRow` takes. */
function sumBytes(count: number): number {
  let bytes = 128;
  for (let n = count; n > 4096;) {
    n = Math.ceil(n / 4096);
    bytes += Math.ceil(n / 64) * 256;
  }
  return bytes;
}

function viewRecord(view: View, account: Account): number {
  const { tensor, offset, batch, rows, rowStride, cols, colStride } = view;
  return account.record([at(tensor), offset, ...batch, rows, rowStride, cols, colStride]);
}

function quantize(a: QuantizeArgs, account: Account): Call[] {
  const { src, dst, nb, stochastic, foldScale, dstRow } = a;
  const scalars = atOrNone(stochastic?.scalars);
  const common = [viewRecord(src, account), recordOf(dst), nb, scalars, stochastic?.site ?? 0];
  const fold = [atOrNone(foldScale?.exponents), foldScale?.rows ?? 0];
  const plain = foldScale === undefined;
  const rows = 256 + 4 * rowBytes(src.cols);
  if (dstRow !== undefined || (dst.transposed && !(src.colStride === 1 && plain))) {
    const { row, tensor } = dstRowOf(a);
    return call('quantizeScattered', [...common, ...fold, row, atOrNone(tensor)], rows);
  }
  if (dst.transposed) {
    return call('quantizeAcross', common, 64 + rowBytes(src.rows));
  }
  // One row is read faster along itself, whatever its stride.
  const across = !dst.narrow && src.rowStride === 1 && src.rows > 1 && src.colStride !== 1 && plain;
  if (across) return call('quantizeAcross', common, acrossBytes);
  // A narrow panel is first made as a wide one.
  const panel = dst.narrow ? Math.ceil(src.cols / 8) * 64 : 0;
  return call('quantizeRows', [...common, ...fold], rows + panel);
}

function gemm(a: GemmArgs, account: Account): Call[] {
  const record = account.record([
    recordOf(a.a),
    recordOf(a.b),
    viewRecord(a.dst, account),
    atOrNone(a.residual),
    a.nb,
    causalReach(a),
    gemmShape(a).K,
    atOrNone(a.bias),
    a.activation ? activations[a.activation] : a.activationGrad ? 2 + activations[a.activationGrad.kind] : 0,
    atOrNone(a.preactivation),
    atOrNone(a.activationGrad?.x),
  ]);
  return call('gemm', [record], gemmScratchBytes);
}

function scatterAdd(a: ScatterAddArgs, account: Account): Call[] {
  const { q, dst } = a;
  const rows = dst.size / q.rows;
  const sums = account.allocate(Math.ceil(q.rows / 4) * rows * 16);
  return call('scatterAdd', [recordOf(q), at(a.indices), at(dst), rows, a.nb, a.accumulate ? 1 : 0, sums]);
}

function adamw(a: AdamwArgs, account: Account): Call[] {
  const { p, g, m, v, scalars, size, beta1, beta2, eps, weightDecay } = a;
  const tensors = [p, g, m, v, scalars].map(at);
  const scale = atOrNone(a.gradScale);
  const record = [...tensors, size, f32(beta1), f32(beta2), f32(eps), f32(weightDecay), scale];
  return call('adamw', [account.record(record)]);
}

function sumSquares(a: SumSquaresArgs, account: Account): Call[] {
  const count = Math.ceil(a.count / 4096);
  const blocks = account.allocate(count * 4);
  return [
    ...call('squareBlocks', [at(a.src), a.count, blocks], sumBytes(4096) + rowBytes(4096)),
    ...call('sum', [blocks, count, 1, at(a.dst) + a.at * 4], sumBytes(count)),
  ];
}

function clipScale(a: ClipScaleArgs): Call[] {
  return call('clipScale', [at(a.partials), a.count, a.max, at(a.dst)], sumBytes(a.count));
}

function elementwise(a: ElementwiseArgs): Call[] {
  const [from, to] = [at(a.a), at(a.dst)];
  if (a.kind === 'scale') return call('elementwiseScale', [from, a.factor, to, a.size]);
  if (a.kind === 'sqrt') return call('elementwiseSqrt', [from, to, a.size]);
  return call(a.kind === 'add' ? 'elementwiseAdd' : 'elementwiseSub', [from, at(a.b), to, a.size]);
}

/** The record of all three LayerNorm kernels; what one does not use is 0. */
function layerNormRecord(
  a: OpArgs['layerNorm'] | OpArgs['layerNormGrad'] | OpArgs['layerNormParamGrad'],
  account: Account,
): number {
  const t = a as unknown as Partial<Record<string, Tensor>>;
  const names = ['x', 'gain', 'bias', 'y', 'dy', 'dx', 'residual', 'dgain', 'dbias', 'mean', 'rstd'];
  const tensors = names.map((name) => atOrNone(t[name]));
  return account.record([...tensors, a.rows, a.cols, f32(constant(1 / a.cols))]);
}

function softmaxShape({
  batch,
  rows,
  cols,
  offset,
  position,
  scale,
}: SoftmaxArgs | SoftmaxGradArgs): number[] {
  return [batch, rows, cols, offset, atOrNone(position), scale];
}

function encodeRows(a: EncodeRowsArgs): Call[] {
  const kind = a.minus ? 1 : a.sqrt ? 2 : 0;
  return call('encodeRows', [
    at(a.src),
    atOrNone(a.minus),
    kind,
    at(a.codes),
    at(a.exponents),
    a.rows,
    a.cols,
  ]);
}

function route(a: OpArgs['route']): Call[] {
  const { M, E, k } = a;
  const [ids, slots] = [at(a.ids), M * k];
  return [
    ...call('routeTokens', [at(a.logits), M, E, k, ids, at(a.gates)]),
    ...call('routeSlots', [ids, slots, E, at(a.order), at(a.places), at(a.offsets)], E * 4),
  ];
}

function routeGrad(a: OpArgs['routeGrad']): Call[] {
  return call('routeGrad', [...[a.ids, a.gates, a.dgates, a.dlogits].map(at), a.M, a.E, a.k]);
}

function gatherRows(a: OpArgs['gatherRows']): Call[] {
  return call('gatherRows', [...[a.src, a.order, a.dst].map(at), a.M, a.k, a.cols]);
}

function combine(a: OpArgs['combine']): Call[] {
  const tensors = [a.rows, a.places, a.gates, a.residual, a.y].map(atOrNone);
  return call('combine', [...tensors, a.M, a.k, a.cols]);
}

function combineGrad(a: OpArgs['combineGrad']): Call[] {
  const tensors = [a.dy, a.rows, a.places, a.gates, a.drows, a.dgates].map(at);
  return call('combineGrad', [...tensors, a.M, a.k, a.cols], sumBytes(a.cols) + rowBytes(a.cols));
}

/** Records of one expert's product come first: see moe/grouped/wasm.ts. */
function groupedGemm(a: OpArgs['groupedGemm'], account: Account): Call[] {
  const operands = [recordOf(a.a), recordOf(a.b)];
  const tensors = [at(a.offsets), at(a.dst), atOrNone(a.residual)];
  const copy = a.kind === 'contraction' ? account.allocate((a.a.mantissas as WasmTensor).size * 4) : 0;
  const record = account.record([...operands, ...tensors, moe.groupedShape(a).E, a.nb, copy]);
  const kernel = a.kind === 'rows' ? 'groupedRows' : 'groupedContraction';
  return call(kernel, [record], 256 + gemmScratchBytes);
}

function sample(a: SampleArgs, account: Account): Call[] {
  const topK = a.topK !== undefined && a.topK < a.V ? a.topK : 0;
  const tensors = [a.logits, a.temperature, a.scalars, a.dst].map(at);
  return call('sample', [account.record([...tensors, a.rows, a.V, topK, a.site])], 1024);
}

function decodeRows(a: DecodeRowsArgs): Call[] {
  const options = [a.halfStep ? 1 : 0, a.square ? 1 : 0, atOrNone(a.addTo)];
  return call('decodeRows', [at(a.codes), at(a.exponents), at(a.dst), a.rows, a.cols, ...options]);
}

/** The record of all three RMSNorm kernels; what one does not use is 0. */
function rmsNormRecord(a: RmsNormArgs | RmsNormGradArgs | RmsNormParamGradArgs, account: Account): number {
  const t = a as unknown as Partial<Record<string, Tensor>>;
  const names = ['x', 'gain', 'y', 'dy', 'dx', 'residual', 'dgain', 'rstd'];
  const tensors = names.map((name) => atOrNone(t[name]));
  return account.record([...tensors, a.rows, a.cols, f32(constant(1 / a.cols))]);
}

function rotary(a: RotaryArgs, account: Account): Call[] {
  const { x, offset, rowStride, heads, headStride, rows, HD, cos, sin, positions, inverse } = a;
  const places = [at(x), offset, rowStride, heads, headStride, rows, HD / 2];
  const tables = [at(cos), at(sin), at(positions), tableRows(a), inverse ? 1 : 0];
  return call('rotary', [account.record([...places, ...tables])]);
}

/** How each op is called. */
export const wasmOps: { [K in OpName]: (args: OpArgs[K], account: Account) => Call[] } = {
  quantize,
  gemm,
  scatterAdd,
  adamw,
  elementwise,
  sumSquares,
  clipScale,
  sample,
  route,
  routeGrad,
  gatherRows,
  combine,
  combineGrad,
  groupedGemm,
  encodeRows,
  decodeRows,
  layerNorm: (a, account) =>
    call('layerNorm', [layerNormRecord(a, account)], sumBytes(a.cols) + rowBytes(a.cols)),
  layerNormGrad: (a, account) =>
    call('layerNormGrad', [layerNormRecord(a, account)], sumBytes(a.cols) + 3 * rowBytes(a.cols)),
  layerNormParamGrad(a, account) {
    const blocks = Math.ceil(a.rows / 4096);
    // Partials of partials would be needed beyond.
    if (blocks > 4096) throw new AtollError('bad_input', 'layerNormParamGrad: too many rows.');
    return call('layerNormParamGrad', [layerNormRecord(a, account)], 8192 + blocks * 128);
  },
  rmsNorm(a, account) {
    return call('rmsNorm', [rmsNormRecord(a, account)], sumBytes(a.cols) + rowBytes(a.cols));
  },
  rmsNormGrad(a, account) {
    return call('rmsNormGrad', [rmsNormRecord(a, account)], sumBytes(a.cols) + rowBytes(a.cols));
  },
  rmsNormParamGrad(a, account) {
    return call('rmsNormParamGrad', [rmsNormRecord(a, account)], 4096 + Math.ceil(a.rows / 4096) * 64);
  },
  rotary,
  swiglu(a, account) {
    return call('swiglu', [viewRecord(a.gate, account), viewRecord(a.up, account), at(a.y)]);
  },
  swigluGrad(a, account) {
    const [gate, up, dgate, dup] = [a.gate, a.up, a.dgate, a.dup].map((view) => viewRecord(view, account));
    return call('swigluGrad', [gate, up, at(a.dy), dgate, dup] as number[]);
  },
  gelu: (a) => call('gelu', [at(a.x), at(a.y), a.size], 512),
  geluGrad: (a) => call('geluGrad', [at(a.x), at(a.dy), at(a.dx), a.size], 512),
  softmax(a) {
    return call('softmax', [at(a.scores), ...softmaxShape(a)], sumBytes(a.cols) + rowBytes(a.cols));
  },
  softmaxGrad(a) {
    const args = [at(a.probabilities), at(a.gradient), ...softmaxShape(a)];
    return call('softmaxGrad', args, sumBytes(a.cols) + rowBytes(a.cols));
  },
  crossEntropy(a) {
    const tensors = [at(a.logits), at(a.targets), at(a.losses)];
    const train = a.gradientScale === undefined ? 0 : 1;
    const args = [...tensors, a.rows, a.V, train, a.gradientScale ?? 0];
    return call('crossEntropy', args, sumBytes(a.V) + rowBytes(a.V));
  },
  embed(a) {
    const tensors = [at(a.tokens), at(a.wte), atOrNone(a.wpe), atOrNone(a.positions), at(a.x)];
    return call('embed', [...tensors, a.rows, a.cols, a.T]);
  },
  columnSum(a) {
    const args = [at(a.src), at(a.dst), a.rows, a.cols, a.accumulate ? 1 : 0];
    return call('columnSum', args, 4096 + Math.ceil(a.rows / 4096) * 64);
  },
  nesterov: (a) => call('nesterov', [at(a.p), at(a.momentum), at(a.delta), a.size, a.lr, a.mu]),
  sum: (a) => call('sum', [at(a.src), a.count, a.factor, at(a.dst) + a.at * 4], sumBytes(a.count)),
};

/**
 * The reference device: every op in TypeScript, on one thread. It defines the bits; the other backends are compared with it.
 */
import { AtollError } from '#protocol/errors.ts';
import type { DeviceInfo } from '#protocol/messages/frames.ts';
import * as adamw from '../ops/adamw/cpu.ts';
import { scalarWords } from '../ops/adamw/spec.ts';
import * as attention from '../ops/attention/cpu.ts';
import { checkOp } from '../ops/checks.ts';
import * as clip from '../ops/clip/cpu.ts';
import { columnSum } from '../ops/column-sum/cpu.ts';
import * as crossEntropy from '../ops/cross-entropy/cpu.ts';
import * as elementwise from '../ops/elementwise/cpu.ts';
import type { ElementwiseArgs } from '../ops/elementwise/spec.ts';
import * as embedding from '../ops/embedding/cpu.ts';
import * as gelu from '../ops/gelu/cpu.ts';
import * as gemm from '../ops/gemm/cpu.ts';
import { causalReach, gemmShape } from '../ops/gemm/spec.ts';
import * as layerNorm from '../ops/layer-norm/cpu.ts';
import { mul } from '../ops/math/cpu.ts';
import * as rmsNorm from '../ops/rms-norm/cpu.ts';
import { rotary } from '../ops/rotary/cpu.ts';
import * as swiglu from '../ops/swiglu/cpu.ts';
import * as moe from '../ops/moe/cpu.ts';
import * as quantize from '../ops/quantize/cpu.ts';
import { dstRowOf } from '../ops/quantize/spec.ts';
import { sum } from '../ops/reduce/cpu.ts';
import * as rows from '../ops/rows/cpu.ts';
import * as sampling from '../ops/sample/cpu.ts';
import { checkNarrow, type Quantized, type Tensor, type View } from '../tensor/tensor.ts';
import type { Device, OpName, Ops, Recording } from './device.ts';

class CpuTensor implements Tensor {
  readonly words: Uint32Array;
  readonly data: Float32Array;

  constructor(size: number) {
    this.words = new Uint32Array(size);
    this.data = new Float32Array(this.words.buffer);
  }

  get size(): number {
    return this.words.length;
  }
}

/** Mantissas are doubles here, exponents i32; the `Tensor`s of the interface are never used as such. */
export class CpuOperand implements Quantized, quantize.CpuQuantized {
  readonly batch: number;
  readonly rows: number;
  readonly cols: number;
  readonly transposed: boolean;
  readonly narrow: boolean;
  readonly mantissas: Float64Array & Tensor;
  readonly exponents: Int32Array & Tensor;

  constructor(batch: number, rows: number, cols: number, transposed: boolean, narrow: boolean) {
    this.batch = batch;
    this.rows = rows;
    this.cols = cols;
    this.transposed = transposed;
    this.narrow = narrow;
    checkNarrow(this);
    const size = batch * rows * cols;
    this.mantissas = Object.assign(new Float64Array(size), { size });
    this.exponents = Object.assign(new Int32Array(batch * rows), { size: batch * rows });
  }
}

interface CpuRecording extends Recording {
  readonly steps: readonly (() => void)[];
}

const f = (tensor: Tensor) => (tensor as CpuTensor).data;
const fOrNull = (tensor: Tensor | undefined) => (tensor ? f(tensor) : null);
const u = (tensor: Tensor) => (tensor as CpuTensor).words;
/** The words of one of this device's tensors, in place. */
export const words = u;
const rowsOf = (view: View) => ({ data: f(view.tensor), view });
type Four<T> = [T, T, T, T];
const q = (operand: Quantized) => operand as CpuOperand;

/** What an op adds to its offset when it runs. */
const position = (a: { position?: Tensor }) => (a.position ? (u(a.position)[0] as number) : 0);

/** One closure an op: what it does each time the recording runs. */
export type CpuOps = { [K in OpName]: (args: Parameters<Ops[K]>[0]) => () => void };

const cpuOps: CpuOps = {
  quantize(a) {
    const { row, tensor } = dstRowOf(a);
    return () => {
      const seed = a.stochastic
        ? quantize.siteSeed(u(a.stochastic.scalars)[scalarWords.seed] as number, a.stochastic.site)
        : null;
      const fold = a.foldScale ? q(a.foldScale) : null;
      const dstRow = tensor ? (u(tensor)[0] as number) : row;
      quantize.quantize(u(a.src.tensor), a.src, q(a.dst), a.nb, seed, fold, dstRow);
    };
  },
  gemm(a) {
    const options = {
      nb: a.nb,
      reach: causalReach(a),
      K: gemmShape(a).K,
      bias: fOrNull(a.bias),
      activation: a.activation ?? null,
      preactivation: fOrNull(a.preactivation),
      activationGrad: a.activationGrad ? { kind: a.activationGrad.kind, x: f(a.activationGrad.x) } : null,
      residual: fOrNull(a.residual),
    };
    return () => gemm.gemm(q(a.a), q(a.b), f(a.dst.tensor), a.dst, options);
  },
  layerNorm: (a) => () =>
    layerNorm.layerNorm(f(a.x), f(a.gain), f(a.bias), f(a.y), f(a.mean), f(a.rstd), a.rows, a.cols),
  layerNormGrad: (a) => () => {
    const residual = a.residual ? f(a.residual) : null;
    layerNorm.layerNormGrad(
      f(a.dy),
      f(a.x),
      f(a.gain),
      f(a.mean),
      f(a.rstd),
      residual,
      f(a.dx),
      a.rows,
      a.cols,
    );
  },
  layerNormParamGrad: (a) => () =>
    layerNorm.layerNormParamGrad(
      f(a.dy),
      f(a.x),
      f(a.mean),
      f(a.rstd),
      f(a.dgain),
      f(a.dbias),
      a.rows,
      a.cols,
    ),
  rmsNorm(a) {
    return () => rmsNorm.rmsNorm(f(a.x), f(a.gain), f(a.y), f(a.rstd), a.rows, a.cols);
  },
  rmsNormGrad(a) {
    const inputs = [f(a.dy), f(a.x), f(a.gain), f(a.rstd)] as const;
    return () => rmsNorm.rmsNormGrad(...inputs, fOrNull(a.residual), f(a.dx), a.rows, a.cols);
  },
  rmsNormParamGrad(a) {
    return () => rmsNorm.rmsNormParamGrad(f(a.dy), f(a.x), f(a.rstd), f(a.dgain), a.rows, a.cols);
  },
  rotary(a) {
    return () => rotary(f(a.x), f(a.cos), f(a.sin), u(a.positions), a);
  },
  swiglu(a) {
    return () => swiglu.swiglu(rowsOf(a.gate), rowsOf(a.up), f(a.y));
  },
  swigluGrad(a) {
    const [gate, up, dgate, dup] = [a.gate, a.up, a.dgate, a.dup].map(rowsOf) as Four<swiglu.Rows>;
    return () => swiglu.swigluGrad(gate, up, f(a.dy), dgate, dup);
  },
  gelu: (a) => () => gelu.gelu(f(a.x), f(a.y), a.size),
  geluGrad: (a) => () => gelu.geluGrad(f(a.x), f(a.dy), f(a.dx), a.size),
  softmax(a) {
    return () => attention.softmax(f(a.scores), a, a.offset + position(a));
  },
  softmaxGrad(a) {
    return () => attention.softmaxGrad(f(a.probabilities), f(a.gradient), a, a.offset + position(a));
  },
  crossEntropy: (a) => () =>
    crossEntropy.crossEntropy(f(a.logits), u(a.targets), f(a.losses), a.rows, a.V, a.gradientScale ?? null),
  embed(a) {
    const [wpe, positions] = [fOrNull(a.wpe), a.positions ? u(a.positions) : null];
    return () => embedding.embed(u(a.tokens), f(a.wte), wpe, positions, f(a.x), a.rows, a.cols, a.T);
  },
  columnSum(a) {
    return () => columnSum(f(a.src), f(a.dst), a.rows, a.cols, a.accumulate ?? false);
  },
  scatterAdd(a) {
    return () => embedding.scatterAdd(q(a.q), u(a.indices), f(a.dst), a.nb, a.accumulate);
  },
  adamw: (a) => () => {
    const scalars = f(a.scalars);
    const [lr, bias1, bias2] = [scalarWords.lr, scalarWords.bias1, scalarWords.bias2].map(
      (word) => scalars[word] as number,
    ) as [number, number, number];
    const gradScale = a.gradScale ? (f(a.gradScale)[0] as number) : 1;
    adamw.adamw(f(a.p), f(a.g), f(a.m), f(a.v), a.size, { ...a, lr, bias1, bias2, gradScale });
  },
  elementwise: (a) => () => runElementwise(a),
  nesterov: (a) => () => elementwise.nesterov(f(a.p), f(a.momentum), f(a.delta), a.size, a.lr, a.mu),
  sum: (a) => () => {
    f(a.dst)[a.at] = mul(sum(f(a.src), 0, a.count), a.factor);
  },
  sumSquares(a) {
    return () => {
      f(a.dst)[a.at] = clip.sumSquares(f(a.src), a.count);
    };
  },
  clipScale(a) {
    return () => {
      f(a.dst)[0] = clip.clipScale(f(a.partials), a.count, a.max);
    };
  },
  route(a) {
    const out = { ids: u(a.ids), gates: f(a.gates), order: u(a.order), places: u(a.places) };
    return () => moe.route(f(a.logits), a.M, a.E, a.k, { ...out, offsets: u(a.offsets) });
  },
  routeGrad(a) {
    return () => moe.routeGrad(u(a.ids), f(a.gates), f(a.dgates), f(a.dlogits), a.M, a.E, a.k);
  },
  gatherRows(a) {
    return () => moe.gatherRows(f(a.src), u(a.order), f(a.dst), a.M, a.k, a.cols);
  },
  combine(a) {
    const [gates, residual] = [a.gates ? f(a.gates) : null, a.residual ? f(a.residual) : null];
    return () => moe.combine(f(a.rows), u(a.places), gates, residual, f(a.y), a.M, a.k, a.cols);
  },
  combineGrad(a) {
    const [dy, rows, gates] = [f(a.dy), f(a.rows), f(a.gates)];
    const [drows, dgates] = [f(a.drows), f(a.dgates)];
    return () => moe.combineGrad(dy, rows, u(a.places), gates, drows, dgates, a.M, a.k, a.cols);
  },
  groupedGemm(a) {
    const [x, w, offsets, dst] = [q(a.a), q(a.b), u(a.offsets), f(a.dst)];
    if (a.kind === 'rows') return () => moe.groupedRows(x, w, offsets, dst, a.nb);
    const residual = a.residual ? f(a.residual) : null;
    return () => moe.groupedContraction(x, w, offsets, dst, residual, a.nb);
  },
  sample(a) {
    return () => {
      const [temperature, stepSeed] = [u(a.temperature)[0] as number, u(a.scalars)[0] as number];
      const options = { temperature, topK: a.topK ?? a.V, stepSeed, site: a.site };
      sampling.sample(f(a.logits), u(a.dst), a.rows, a.V, options);
    };
  },
  encodeRows(a) {
    const minus = a.minus ? f(a.minus) : null;
    return () =>
      rows.encodeRows(f(a.src), minus, a.sqrt ?? false, u(a.codes), u(a.exponents), a.rows, a.cols);
  },
  decodeRows(a) {
    const addTo = a.addTo ? f(a.addTo) : null;
    const options = { halfStep: a.halfStep ?? false, square: a.square ?? false, addTo };
    return () => rows.decodeRows(u(a.codes), u(a.exponents), f(a.dst), a.rows, a.cols, options);
  },
};

function runElementwise(a: ElementwiseArgs): void {
  if (a.kind === 'scale') elementwise.scale(f(a.a), a.factor, f(a.dst), a.size);
  else if (a.kind === 'sqrt') elementwise.root(f(a.a), f(a.dst), a.size);
  else elementwise.binary(a.kind, f(a.a), f(a.b), f(a.dst), a.size);
}

const info: DeviceInfo = { backend: 'reference', label: 'TypeScript reference', vendor: '', software: true };

/** Words one device may hold: beyond this a Float64Array operand would not fit a 32-bit address space of a tab. */
const tensorWordsMax = 2 ** 29;

/** `replaced` ops stand in for the reference's own: for tests that ask what a definition costs. */
export function createCpuDevice(replaced: Partial<CpuOps> = {}): Device {
  const table: CpuOps = { ...cpuOps, ...replaced };
  return {
    info,
    lost: new Promise(() => {}),
    tensor: (size) => new CpuTensor(checkSize(size)),
    quantized: (batch, rows, cols, transposed = false, narrow = false) =>
      new CpuOperand(batch, rows, checkSize(batch * rows * cols) / batch / rows, transposed, narrow),
    write(tensor, words, at = 0) {
      u(tensor).set(new Uint32Array(words.buffer, words.byteOffset, words.length), at);
    },
    read: (tensor) => Promise.resolve(f(tensor).slice()),
    readQuantized: (operand) =>
      Promise.resolve({
        mantissas: Int32Array.from(q(operand).mantissas),
        exponents: Int32Array.from(q(operand).exponents),
      }),
    record(build) {
      const steps: (() => void)[] = [];
      const ops = Object.fromEntries(
        Object.entries(table).map(([name, op]) => [
          name,
          (args: never) => {
            checkOp(name as OpName, args);
            steps.push((op as (a: never) => () => void)(args));
          },
        ]),
      ) as unknown as Ops;
      build(ops);
      return { ops: steps.length, steps } as CpuRecording;
    },
    run(recording) {
      for (const step of (recording as CpuRecording).steps) step();
      return Promise.resolve();
    },
    scope: () => createCpuDevice(replaced),
    destroy() {},
  };
}

function checkSize(size: number): number {
  if (Number.isSafeInteger(size) && size > 0 && size <= tensorWordsMax) return size;
  throw new AtollError('out_of_memory', `A tensor of ${size} elements does not fit this device.`);
}

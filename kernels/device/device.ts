/**
 * A device: memory and the ops, recorded once and run many times. Every backend gives the same bits.
 *
 * A model builds its step by calling ops inside `record`; shapes are checked there, and backends may compile and bind there. `run` then executes the
 * recording on what the tensors hold at that moment, in order. What differs from step to step (seed, learning rate, tokens) is written into
 * tensors before `run`.
 */
import type { AtollError } from '#protocol/errors.ts';
import type { DeviceInfo } from '#protocol/messages/frames.ts';
import type { AdamwArgs } from '../ops/adamw/spec.ts';
import type { SoftmaxArgs, SoftmaxGradArgs } from '../ops/attention/spec.ts';
import type { ClipScaleArgs, SumSquaresArgs } from '../ops/clip/spec.ts';
import type { ColumnSumArgs } from '../ops/column-sum/spec.ts';
import type { CrossEntropyArgs } from '../ops/cross-entropy/spec.ts';
import type { ElementwiseArgs, NesterovArgs, SumArgs } from '../ops/elementwise/spec.ts';
import type { EmbedArgs, ScatterAddArgs } from '../ops/embedding/spec.ts';
import type { GeluArgs, GeluGradArgs } from '../ops/gelu/spec.ts';
import type { GemmArgs } from '../ops/gemm/spec.ts';
import type { LayerNormArgs, LayerNormGradArgs, LayerNormParamGradArgs } from '../ops/layer-norm/spec.ts';
import type { RmsNormArgs, RmsNormGradArgs, RmsNormParamGradArgs } from '../ops/rms-norm/spec.ts';
import type { RotaryArgs } from '../ops/rotary/spec.ts';
import type { SwigluArgs, SwigluGradArgs } from '../ops/swiglu/spec.ts';
import type {
  CombineArgs,
  CombineGradArgs,
  GatherRowsArgs,
  GroupedGemmArgs,
  RouteArgs,
  RouteGradArgs,
} from '../ops/moe/spec.ts';
import type { QuantizeArgs } from '../ops/quantize/spec.ts';
import type { DecodeRowsArgs, EncodeRowsArgs } from '../ops/rows/spec.ts';
import type { SampleArgs } from '../ops/sample/spec.ts';
import type { Quantized, Tensor } from '../tensor/tensor.ts';

/** Every op and what it takes. A backend that lacks one does not compile. */
export interface OpArgs {
  quantize: QuantizeArgs;
  gemm: GemmArgs;
  layerNorm: LayerNormArgs;
  layerNormGrad: LayerNormGradArgs;
  layerNormParamGrad: LayerNormParamGradArgs;
  rmsNorm: RmsNormArgs;
  rmsNormGrad: RmsNormGradArgs;
  rmsNormParamGrad: RmsNormParamGradArgs;
  rotary: RotaryArgs;
  swiglu: SwigluArgs;
  swigluGrad: SwigluGradArgs;
  gelu: GeluArgs;
  geluGrad: GeluGradArgs;
  softmax: SoftmaxArgs;
  softmaxGrad: SoftmaxGradArgs;
  crossEntropy: CrossEntropyArgs;
  columnSum: ColumnSumArgs;
  embed: EmbedArgs;
  scatterAdd: ScatterAddArgs;
  adamw: AdamwArgs;
  elementwise: ElementwiseArgs;
  nesterov: NesterovArgs;
  sum: SumArgs;
  encodeRows: EncodeRowsArgs;
  decodeRows: DecodeRowsArgs;
  sumSquares: SumSquaresArgs;
  clipScale: ClipScaleArgs;
  sample: SampleArgs;
  route: RouteArgs;
  routeGrad: RouteGradArgs;
  gatherRows: GatherRowsArgs;
  combine: CombineArgs;
  combineGrad: CombineGradArgs;
  groupedGemm: GroupedGemmArgs;
}
export type OpName = keyof OpArgs;
export type Ops = { [K in OpName]: (args: OpArgs[K]) => void };

/** An opaque list of op calls made by `record`, owned by its device. */
export interface Recording {
  readonly ops: number;
}

/** What a piece of work takes of a device's memory. */
export interface MemoryNeed {
  buffers: number;
  bytes: number;
  largestBytes: number;
}

export interface Device {
  readonly info: DeviceInfo;
  /** Resolves with a retryable `device_lost` error when the device goes away; never rejects. */
  readonly lost: Promise<AtollError>;

  /** `size` words, all zero. Throws `out_of_memory` before anything is allocated when it cannot fit. */
  tensor(size: number): Tensor;
  /** `narrow`: see tensor.ts; not together with `transposed`. */
  quantized(batch: number, rows: number, cols: number, transposed?: boolean, narrow?: boolean): Quantized;
  /** Copies f32 or u32 words into a tensor from word `at` on. */
  write(tensor: Tensor, words: Float32Array | Uint32Array, at?: number): void;
  /** The words of a tensor as f32; views of the same bits as u32 are the caller's to make. */
  read(tensor: Tensor): Promise<Float32Array>;
  /** Mantissas in the operand's own layout, and exponents. */
  readQuantized(q: Quantized): Promise<{ mantissas: Int32Array; exponents: Int32Array }>;

  record(build: (ops: Ops) => void): Recording;
  /** Resolves when the recording has been handed over, in the order of the calls; `read` waits for its results. Await the first run before the next write. */
  run(recording: Recording): Promise<void>;

  /**
   * Counts what `build` would allocate, on a device of the same kind and limits that allocates nothing; throws what `build` would throw. Backends that
   * allocate from one memory, and so refuse at once, have no need of it.
   */
  rehearse?(build: (dry: Device) => void): MemoryNeed;

  /** The same device with an account of memory of its own: its `destroy` frees what was made through it and leaves the device be. */
  scope(): Device;
  /** Frees all memory. Tensors and recordings are dead afterwards. */
  destroy(): void;
}

/** Rotary positions: turns the heads of q and k inside the fused [M, QKV] projection, in place. */
import type { Ops } from '../device/device.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { ModelContext } from './context.ts';
import { rotaryTable } from './rotary-table.ts';

/** Cosines and sines on the device. */
export interface RotaryTensors {
  cos: Tensor;
  sin: Tensor;
}

export function rotaryTensors({ device, shape }: ModelContext): RotaryTensors {
  const { cos, sin } = rotaryTable(shape.T, shape.HD, shape.ropeTheta);
  const tensors = { cos: device.tensor(cos.length), sin: device.tensor(sin.length) };
  device.write(tensors.cos, cos);
  device.write(tensors.sin, sin);
  return tensors;
}

export class Rotary {
  private readonly context: ModelContext;
  private readonly tensors: RotaryTensors;
  private readonly positions: Tensor;

  /** `positions` [M] u32. */
  constructor(context: ModelContext, tensors: RotaryTensors, positions: Tensor) {
    this.context = context;
    this.tensors = tensors;
    this.positions = positions;
  }

  /** Forward, or back (`inverse`) for gradients. */
  apply(ops: Ops, qkv: Tensor, inverse: boolean): void {
    const { shape, M } = this.context;
    const { NH, NKV, HD, QKV } = shape;
    // The heads of q come first, those of k behind them.
    const heads = { x: qkv, offset: 0, rowStride: QKV, heads: NH + NKV, headStride: HD };
    const table = { ...this.tensors, positions: this.positions };
    ops.rotary({ ...heads, rows: M, HD, ...table, inverse });
  }
}

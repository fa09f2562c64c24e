/** Rotary positions: turns the heads of q and k inside the fused [M, QKV] projection, in place. */
import type { Ops } from '../device/device.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { ModelContext } from './context.ts';
import { rotaryTable } from './rotary-table.ts';

export class Rotary {
  private readonly context: ModelContext;
  private readonly positions: Tensor;
  private readonly cos: Tensor;
  private readonly sin: Tensor;

  /** `positions` [M] u32. */
  constructor(context: ModelContext, positions: Tensor) {
    const { T, HD, ropeTheta } = context.shape;
    this.context = context;
    this.positions = positions;
    const { cos, sin } = rotaryTable(T, HD, ropeTheta);
    this.cos = context.device.tensor(cos.length);
    this.sin = context.device.tensor(sin.length);
    context.device.write(this.cos, cos);
    context.device.write(this.sin, sin);
  }

  /** Forward, or back (`inverse`) for gradients. */
  apply(ops: Ops, qkv: Tensor, inverse: boolean): void {
    const { shape, M } = this.context;
    const { NH, NKV, HD, QKV } = shape;
    // The heads of q come first, those of k behind them.
    const heads = { x: qkv, offset: 0, rowStride: QKV, heads: NH + NKV, headStride: HD };
    const table = { cos: this.cos, sin: this.sin, positions: this.positions };
    ops.rotary({ ...heads, rows: M, HD, ...table, inverse });
  }
}

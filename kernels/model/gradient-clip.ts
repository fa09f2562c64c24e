/** Clipping by the global norm: squares of every gradient are summed, and one factor scales them all inside AdamW. */
import type { Ops } from '../device/device.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { ModelContext } from './context.ts';

export class GradientClip {
  /** Word 0 is the factor. */
  readonly scale: Tensor;
  private readonly context: ModelContext;
  private readonly partials: Tensor;
  private readonly max: number;

  /** `max`: PF32, above 0. */
  constructor(context: ModelContext, max: number) {
    this.context = context;
    this.max = max;
    this.partials = context.device.tensor(context.parameters.list.length);
    this.scale = context.device.tensor(1);
  }

  record(ops: Ops): void {
    const { list } = this.context.parameters;
    list.forEach(({ spec, grad }, at) => {
      ops.sumSquares({ src: grad as Tensor, count: spec.rows * spec.cols, dst: this.partials, at });
    });
    ops.clipScale({ partials: this.partials, count: list.length, max: this.max, dst: this.scale });
  }
}

/** The dense MLP of a block: down(gelu(up(x))), or down(silu(gate(x)) * up(x)) with gate and up as the halves of one matrix. */
import type { Ops } from '../device/device.ts';
import { matrix, type Tensor, type View } from '../tensor/tensor.ts';
import { upRows } from './architecture.ts';
import type { ModelContext } from './context.ts';
import { Linear } from './linear.ts';

export interface MlpActivations {
  /** [M, HID], or [M, 2 HID] with the gate first. */
  up: Tensor;
  /** [M, HID]. */
  act: Tensor;
}

/** One kind of MLP, as a block uses it. Activations and gradients are the kind's own business. */
export interface Mlp<A, G> {
  activations(): A;
  gradients(): G;
  /** out = residual + mlp(x); everything but that when `out` is null. Shapes: x, out, residual [M, C]. */
  forward(ops: Ops, x: Tensor, a: A, out: Tensor | null, residual: Tensor): void;
  /** dx [M, C] of x. */
  backward(ops: Ops, dy: Tensor, x: Tensor, a: A, g: G, dx: Tensor): void;
}

export class DenseMlp implements Mlp<MlpActivations, MlpActivations> {
  private readonly context: ModelContext;
  private readonly up: Linear;
  private readonly down: Linear;

  constructor(context: ModelContext, layer: string) {
    this.context = context;
    this.up = new Linear(context, `${layer}.mlp.up`);
    this.down = new Linear(context, `${layer}.mlp.down`);
  }

  activations(): MlpActivations {
    const { device, shape, M } = this.context;
    return { up: device.tensor(M * upRows(shape)), act: device.tensor(M * shape.HID) };
  }

  gradients(): MlpActivations {
    return this.activations();
  }

  forward(ops: Ops, x: Tensor, { up, act }: MlpActivations, out: Tensor | null, residual: Tensor): void {
    if (this.context.shape.mlp === 'gelu') {
      this.up.forward(ops, x, act, { activation: 'gelu', preactivation: up });
    } else {
      this.up.forward(ops, x, up);
      ops.swiglu({ gate: this.half(up, 0), up: this.half(up, 1), y: act });
    }
    if (out) this.down.forward(ops, act, out, { residual });
  }

  backward(ops: Ops, dy: Tensor, x: Tensor, a: MlpActivations, g: MlpActivations, dx: Tensor): void {
    if (this.context.shape.mlp === 'gelu') {
      this.down.backward(ops, dy, a.act, g.up, { activationGrad: { kind: 'gelu', x: a.up } });
    } else {
      this.down.backward(ops, dy, a.act, g.act);
      const halves = { gate: this.half(a.up, 0), up: this.half(a.up, 1) };
      ops.swigluGrad({ ...halves, dy: g.act, dgate: this.half(g.up, 0), dup: this.half(g.up, 1) });
    }
    this.up.backward(ops, g.up, x, dx);
  }

  private half(tensor: Tensor, index: 0 | 1): View {
    const { shape, M } = this.context;
    return { ...matrix(tensor, M, shape.HID, index * shape.HID), rowStride: 2 * shape.HID };
  }
}

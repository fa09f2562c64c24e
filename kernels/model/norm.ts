/** LayerNorm or RMSNorm of the rows of an activation, as the model's config says. */
import type { Ops } from '../device/device.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { ModelContext } from './context.ts';
import type { Parameter } from './parameters.ts';

/** What a norm leaves behind: its output and what its backward pass needs. */
export interface NormState {
  /** [rows, C]. */
  y: Tensor;
  /** [rows]; LayerNorm only. */
  mean: Tensor | null;
  /** [rows]. */
  rstd: Tensor;
}

export function normState({ device, shape, M }: ModelContext): NormState {
  const mean = shape.norm === 'layer' ? device.tensor(M) : null;
  return { y: device.tensor(M * shape.C), mean, rstd: device.tensor(M) };
}

export class Norm {
  private readonly gain: Parameter;
  /** LayerNorm's; null for RMSNorm. */
  private readonly bias: Parameter | null;
  private readonly shape: { rows: number; cols: number };

  constructor({ parameters, shape, M }: ModelContext, name: string) {
    this.gain = parameters.get(`${name}.gain`);
    this.bias = parameters.find(`${name}.bias`);
    this.shape = { rows: M, cols: shape.C };
  }

  /** x [rows, C] -> state. */
  forward(ops: Ops, x: Tensor, { y, mean, rstd }: NormState): void {
    const common = { x, gain: this.gain.value, y, rstd, ...this.shape };
    if (this.bias) ops.layerNorm({ ...common, bias: this.bias.value, mean: mean as Tensor });
    else ops.rmsNorm(common);
  }

  /** dy -> gradients of gain and bias, and dx, which is added to what `dx` holds when `accumulate`. */
  backward(
    ops: Ops,
    dy: Tensor,
    x: Tensor,
    { mean, rstd }: NormState,
    dx: Tensor,
    accumulate: boolean,
  ): void {
    const common = { dy, x, rstd, ...this.shape };
    const dgain = this.gain.grad as Tensor;
    const input = { gain: this.gain.value, dx, ...(accumulate ? { residual: dx } : {}) };
    if (this.bias) {
      const layer = { ...common, mean: mean as Tensor };
      ops.layerNormParamGrad({ ...layer, dgain, dbias: this.bias.grad as Tensor });
      ops.layerNormGrad({ ...layer, ...input });
    } else {
      ops.rmsNormParamGrad({ ...common, dgain });
      ops.rmsNormGrad({ ...common, ...input });
    }
  }
}

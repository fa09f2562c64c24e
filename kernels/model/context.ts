/** What the parts of a model share while they record: device, shape, precision, scratch. */
import type { ModelConfig, Policy } from '#protocol/messages/model.ts';
import type { Device } from '../device/device.ts';
import { scalarCount } from '../ops/adamw/spec.ts';
import type { QuantizeArgs } from '../ops/quantize/spec.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type Architecture, architectureOf } from './architecture.ts';
import { OperandPool } from './operand-pool.ts';
import type { Parameters } from './parameters.ts';
import { type Precision, precisionOf } from './policy.ts';

export interface ModelContext {
  readonly device: Device;
  readonly shape: Architecture;
  /** Rows of activations that pass at a time: B * T when training. */
  readonly M: number;
  readonly precision: Precision;
  readonly pool: OperandPool;
  readonly parameters: Parameters;
  /** Seed and learning rates of the step. */
  readonly scalars: Tensor;
}

export function modelContext(
  device: Device,
  model: ModelConfig,
  policy: Policy,
  M: number,
  parameters: Parameters,
): ModelContext {
  return {
    device,
    shape: architectureOf(model),
    M,
    precision: precisionOf[policy],
    pool: new OperandPool(device),
    parameters,
    scalars: device.tensor(scalarCount),
  };
}

/** The `stochastic` option of a gradient operand at this site; nothing under a policy that rounds to nearest. */
export function stochasticAt(
  { precision, scalars }: Pick<ModelContext, 'precision' | 'scalars'>,
  site: number | null,
): Pick<QuantizeArgs, 'stochastic'> {
  return site !== null && precision.stochastic ? { stochastic: { site, scalars } } : {};
}

/**
 * The parameters of a model on a device.
 *
 * A gradient is used up as soon as its parameter has been updated, so layers share gradients unless all of them are wanted at once (`gradients: 'kept'`:
 * for clipping by the global norm, and for tests).
 */
import type { ModelConfig } from '#protocol/messages/model.ts';
import type { Device } from '../device/device.ts';
import type { Quantized, Tensor } from '../tensor/tensor.ts';
import { type ParameterSpec, parameterLayout } from './layout.ts';
import type { Precision } from './policy.ts';

/** One parameter on the device. Gradient and moments exist only when training. */
export interface Parameter {
  spec: ParameterSpec;
  /** Its place in the layout. */
  index: number;
  value: Tensor;
  /** The weights as they enter y = x w^T, where they never change; `value` is then kept only for embeddings, gains and biases. */
  frozen: Quantized | null;
  grad: Tensor | null;
  m: Tensor | null;
  v: Tensor | null;
}

export type GradientStorage = 'none' | 'shared' | 'kept';

/** Stands for values that are not kept: too short for any op. */
const absent: Tensor = { size: 0 };

/** The parameters of a model that only computes: matrices as operands, tensors for the rest. Values are the caller's to write. */
export function frozenParameters(device: Device, model: ModelConfig, { nb }: Precision): Parameters {
  const isLookup = (name: string) => name === 'wte' || name === 'wpe';
  const hasProducts = (name: string) => name !== 'wpe' && (name !== 'wte' || model.tied !== false);
  return new Parameters(
    parameterLayout(model).map((spec, index) => {
      const { name, rows, cols } = spec;
      const isMatrix = rows > 1;
      const value = isMatrix && !isLookup(name) ? absent : device.tensor(rows * cols);
      const experts = /\.mlp\.(up|down)$/.test(name) ? (model.experts?.E ?? 1) : 1;
      // Experts are matrices of their own, which only one-batch products take in bytes.
      const operand = () => device.quantized(experts, rows / experts, cols, false, nb === 7 && experts === 1);
      const frozen = isMatrix && hasProducts(name) ? operand() : null;
      return { spec, index, value, frozen, grad: null, m: null, v: null };
    }),
  );
}

export function trainableParameters(
  device: Device,
  model: ModelConfig,
  gradients: GradientStorage,
): Parameters {
  const shared = new Map<string, Tensor>();
  return new Parameters(
    parameterLayout(model).map((spec, index) => {
      const make = () => device.tensor(spec.rows * spec.cols);
      const trained = () => (gradients === 'none' ? null : make());
      const value = make();
      const grad = gradients === 'shared' ? sharedGradient(shared, spec.name, make) : trained();
      return { spec, index, value, frozen: null, grad, m: trained(), v: trained() };
    }),
  );
}

export class Parameters {
  readonly list: readonly Parameter[];
  private readonly byName: ReadonlyMap<string, Parameter>;

  constructor(list: readonly Parameter[]) {
    this.list = list;
    this.byName = new Map(list.map((parameter) => [parameter.spec.name, parameter]));
  }

  find(name: string): Parameter | null {
    return this.byName.get(name) ?? null;
  }

  get(name: string): Parameter {
    const parameter = this.byName.get(name);
    if (!parameter) throw new Error(`This model has no parameter ${name}.`);
    return parameter;
  }

  /** The parameters whose names begin with `prefix`. */
  within(prefix: string): Parameter[] {
    return this.list.filter(({ spec }) => spec.name.startsWith(prefix));
  }
}

/** Parameters of equal role in different layers share one. */
function sharedGradient(shared: Map<string, Tensor>, name: string, make: () => Tensor): Tensor {
  const role = name.replace(/^h\d+\./, 'h.');
  const tensor = shared.get(role) ?? make();
  shared.set(role, tensor);
  return tensor;
}

/**
 * The parameters of a model on a device.
 *
 * A gradient is used up as soon as its parameter has been updated, so layers share gradients unless all of them are wanted at once (`gradients: 'kept'`:
 * for clipping by the global norm, and for tests).
 */
import type { ModelConfig } from '#protocol/messages/model.ts';
import type { Device } from '../device/device.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type ParameterSpec, parameterLayout } from './layout.ts';

/** One parameter on the device. Gradient and moments exist only when training. */
export interface Parameter {
  spec: ParameterSpec;
  /** Its place in the layout. */
  index: number;
  value: Tensor;
  grad: Tensor | null;
  m: Tensor | null;
  v: Tensor | null;
}

export type GradientStorage = 'none' | 'shared' | 'kept';

export class Parameters {
  readonly list: readonly Parameter[];
  private readonly byName: ReadonlyMap<string, Parameter>;

  constructor(device: Device, model: ModelConfig, gradients: GradientStorage) {
    const shared = new Map<string, Tensor>();
    this.list = parameterLayout(model).map((spec, index) => {
      const make = () => device.tensor(spec.rows * spec.cols);
      const trained = () => (gradients === 'none' ? null : make());
      const value = make();
      const grad = gradients === 'shared' ? sharedGradient(shared, spec.name, make) : trained();
      return { spec, index, value, grad, m: trained(), v: trained() };
    });
    this.byName = new Map(this.list.map((parameter) => [parameter.spec.name, parameter]));
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

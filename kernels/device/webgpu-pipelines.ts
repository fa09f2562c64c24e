/** Shader modules, bind group layouts and pipelines of a WebGPU device: each made once, compiled in the background. */
import { AtollError } from '#protocol/errors.ts';
import type { Faults } from './webgpu-faults.ts';
import type { Kernel } from './webgpu-pass.ts';

/** GPUShaderStage.COMPUTE, which is no global in Node. */
const compute = 4;

export class Pipelines {
  private readonly device: GPUDevice;
  private readonly faults: Faults;
  private readonly prelude: string;
  private readonly modules = new Map<Kernel, GPUShaderModule>();
  private readonly layouts = new Map<string, GPUBindGroupLayout>();
  private readonly pipelines = new Map<string, Promise<GPUComputePipeline>>();

  /** `prelude` comes before every kernel. */
  constructor(device: GPUDevice, faults: Faults, prelude: string) {
    this.device = device;
    this.faults = faults;
    this.prelude = prelude;
  }

  /** Names of every kernel and override set that was asked for so far. */
  get names(): string[] {
    return [...this.pipelines.keys()];
  }

  /** Binding 0 is the uniform struct, 1 the zero word, then `access`: see webgpu-pass.ts. */
  layout(access: string): GPUBindGroupLayout {
    let layout = this.layouts.get(access);
    if (!layout) {
      const own = Array.from(access, (letter) => (letter === 'r' ? 'read-only-storage' : 'storage'));
      const types: GPUBufferBindingType[] = ['uniform', 'storage', ...(own as GPUBufferBindingType[])];
      const entries = types.map((type, binding) => ({ binding, visibility: compute, buffer: { type } }));
      layout = this.device.createBindGroupLayout({ label: access, entries });
      this.layouts.set(access, layout);
    }
    return layout;
  }

  pipeline(kernel: Kernel, constants: Readonly<Record<string, number>>): Promise<GPUComputePipeline> {
    const key = `${kernel.label} ${JSON.stringify(constants)}`;
    let pipeline = this.pipelines.get(key);
    if (!pipeline) {
      const layout = this.device.createPipelineLayout({ bindGroupLayouts: [this.layout(kernel.access)] });
      const stage = { module: this.module(kernel), entryPoint: 'main', constants };
      pipeline = this.device.createComputePipelineAsync({ label: key, layout, compute: stage });
      // Whoever runs the recording gets the error; nobody needs to run it.
      pipeline.catch(() => {});
      this.pipelines.set(key, pipeline);
    }
    return pipeline;
  }

  private module(kernel: Kernel): GPUShaderModule {
    let module = this.modules.get(kernel);
    if (!module) {
      module = this.device.createShaderModule({
        label: kernel.label,
        code: `${kernel.enable ? `enable ${kernel.enable};\n` : ''}${this.prelude}\n${kernel.code}`,
      });
      this.modules.set(kernel, module);
    }
    return module;
  }

  /** Waits for pipelines. Throws `internal` when one does not compile. */
  async ready(pipelines: readonly Promise<GPUComputePipeline>[]): Promise<GPUComputePipeline[]> {
    try {
      return await Promise.all(pipelines);
    } catch (error) {
      await this.faults.settle();
      const message = `A kernel did not compile: ${(error as Error).message.slice(0, 1000)}`;
      throw new AtollError('internal', message, { cause: error });
    }
  }
}

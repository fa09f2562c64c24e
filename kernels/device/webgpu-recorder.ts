/**
 * Recordings of a WebGPU device: pipelines are compiled, bind groups made and uniforms written once; a run only encodes and submits.
 *
 * Pipelines are cached by kernel and override values and compile in the background; `run` waits for those of its recording.
 */
import { AtollError } from '#protocol/errors.ts';
import type { Recording } from './device.ts';
import type { Faults } from './webgpu-faults.ts';
import { GPUBufferUsageFlags, type Memory } from './webgpu-memory.ts';
import { type GpuTensor, gridOf, type Kernel, type Pass } from './webgpu-pass.ts';

/** Dispatches in one submit: short enough that a slow GPU's watchdog and the page's own drawing are not starved. */
const dispatchesPerSubmit = 128;

interface Step {
  readonly label: string;
  readonly pipeline: Promise<GPUComputePipeline>;
  readonly bindGroup: GPUBindGroup;
  readonly grid: readonly [x: number, y: number];
}

export class GpuRecording implements Recording {
  readonly ops: number;
  readonly steps: readonly Step[];
  /** Set once every pipeline is there. */
  pipelines: readonly GPUComputePipeline[] | null = null;

  constructor(ops: number, steps: readonly Step[]) {
    this.ops = ops;
    this.steps = steps;
  }
}

export class Recorder {
  private readonly device: GPUDevice;
  private readonly memory: Memory;
  private readonly faults: Faults;
  private readonly modules = new Map<Kernel, GPUShaderModule>();
  private readonly layouts = new Map<string, GPUBindGroupLayout>();
  private readonly pipelines = new Map<string, Promise<GPUComputePipeline>>();

  constructor(device: GPUDevice, memory: Memory, faults: Faults) {
    this.device = device;
    this.memory = memory;
    this.faults = faults;
  }

  /** Names of every kernel and override set that was asked for so far. */
  get compiled(): string[] {
    return [...this.pipelines.keys()];
  }

  record(ops: number, all: readonly Pass[]): GpuRecording {
    this.faults.check();
    const passes = all.filter(({ workgroups }) => workgroups > 0);
    if (passes.length === 0) return new GpuRecording(ops, []);
    return this.faults.guard(() => {
      const slot = this.device.limits.minUniformBufferOffsetAlignment;
      const uniforms = this.uniformBuffer(passes, slot);
      const steps = passes.map((pass, i) => this.step(pass, uniforms, i * slot));
      return new GpuRecording(ops, steps);
    });
  }

  private uniformBuffer(passes: readonly Pass[], slot: number): GPUBuffer {
    const words = new Uint32Array((passes.length * slot) / 4);
    passes.forEach((pass, i) => words.set(pass.uniforms, (i * slot) / 4));
    const usage = GPUBufferUsageFlags.uniform | GPUBufferUsageFlags.copyDst;
    const buffer = this.device.createBuffer({ size: words.byteLength, usage });
    this.device.queue.writeBuffer(buffer, 0, words);
    return buffer;
  }

  private step(pass: Pass, uniforms: GPUBuffer, offset: number): Step {
    const { kernel, constants = {}, workgroups } = pass;
    const buffers = pass.buffers.map((tensor) => ((tensor ?? this.memory.unused) as GpuTensor).buffer);
    const entries: GPUBindGroupEntry[] = [
      { binding: 0, resource: { buffer: uniforms, offset, size: pass.uniforms.length * 4 } },
      ...[this.memory.zero.buffer, ...buffers].map((buffer, i) => ({
        binding: i + 1,
        resource: { buffer },
      })),
    ];
    const layout = this.layout(kernel.access);
    return {
      label: kernel.label,
      pipeline: this.pipeline(kernel, constants),
      bindGroup: this.device.createBindGroup({ label: kernel.label, layout, entries }),
      grid: gridOf(workgroups),
    };
  }

  private layout(access: string): GPUBindGroupLayout {
    let layout = this.layouts.get(access);
    if (!layout) {
      const types: GPUBufferBindingType[] = [
        'uniform',
        'storage',
        ...Array.from(access, (letter) => (letter === 'r' ? 'read-only-storage' : 'storage') as const),
      ];
      const entries = types.map((type, binding) => ({ binding, visibility: compute, buffer: { type } }));
      layout = this.device.createBindGroupLayout({ label: access, entries });
      this.layouts.set(access, layout);
    }
    return layout;
  }

  private pipeline(kernel: Kernel, constants: Readonly<Record<string, number>>): Promise<GPUComputePipeline> {
    const key = `${kernel.label} ${JSON.stringify(constants)}`;
    let pipeline = this.pipelines.get(key);
    if (!pipeline) {
      const layout = this.device.createPipelineLayout({ bindGroupLayouts: [this.layout(kernel.access)] });
      const compute = { module: this.module(kernel), entryPoint: 'main', constants };
      pipeline = this.device.createComputePipelineAsync({ label: key, layout, compute });
      // Whoever runs the recording gets the error; nobody needs to run it.
      pipeline.catch(() => {});
      this.pipelines.set(key, pipeline);
    }
    return pipeline;
  }

  private module(kernel: Kernel): GPUShaderModule {
    let module = this.modules.get(kernel);
    if (!module) {
      module = this.device.createShaderModule({ label: kernel.label, code: kernel.code });
      this.modules.set(kernel, module);
    }
    return module;
  }

  /** Encodes and submits. Synchronous once the recording is warm, so that writes made after the call come after it. */
  async run(recording: GpuRecording): Promise<void> {
    this.faults.check();
    const pipelines = recording.pipelines ?? (await this.compile(recording));
    this.faults.guard(() => this.submit(recording, pipelines));
  }

  private async compile(recording: GpuRecording): Promise<readonly GPUComputePipeline[]> {
    try {
      recording.pipelines = await Promise.all(recording.steps.map(({ pipeline }) => pipeline));
    } catch (error) {
      await this.faults.settle();
      const message = `A kernel did not compile: ${(error as Error).message.slice(0, 1000)}`;
      throw new AtollError('internal', message, { cause: error });
    }
    await this.faults.settle();
    return recording.pipelines;
  }

  private submit({ steps }: GpuRecording, pipelines: readonly GPUComputePipeline[]): void {
    for (let at = 0; at < steps.length; at += dispatchesPerSubmit) {
      const encoder = this.device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      steps.slice(at, at + dispatchesPerSubmit).forEach((step, i) => {
        pass.setPipeline(pipelines[at + i] as GPUComputePipeline);
        pass.setBindGroup(0, step.bindGroup);
        pass.dispatchWorkgroups(...step.grid);
      });
      pass.end();
      this.device.queue.submit([encoder.finish()]);
    }
  }
}

/** GPUShaderStage.COMPUTE, which is no global in Node. */
const compute = 4;

/**
 * Recordings of a WebGPU device: bind groups are made and uniforms written once; a run only encodes and submits.
 *
 * Pipelines compile in the background from `record` on; the first `run` waits for them.
 */
import type { Recording } from './device.ts';
import type { Faults } from './webgpu-faults.ts';
import { bufferUsage, type Memory } from './webgpu-memory.ts';
import { type GpuTensor, gridOf, type Pass } from './webgpu-pass.ts';
import type { Pipelines } from './webgpu-pipelines.ts';

/** Dispatches in one submit: short enough that neither a watchdog nor the page's own drawing is starved. */
const dispatchesPerSubmit = 128;

interface Step {
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
  private readonly pipelines: Pipelines;
  private readonly faults: Faults;

  constructor(device: GPUDevice, memory: Memory, pipelines: Pipelines, faults: Faults) {
    this.device = device;
    this.memory = memory;
    this.pipelines = pipelines;
    this.faults = faults;
  }

  record(ops: number, all: readonly Pass[]): GpuRecording {
    this.memory.check();
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
    const buffer = this.memory.buffer(words.byteLength, bufferUsage.uniform | bufferUsage.copyDst);
    this.device.queue.writeBuffer(buffer, 0, words);
    return buffer;
  }

  private step(pass: Pass, uniforms: GPUBuffer, offset: number): Step {
    const { kernel, constants = {}, workgroups } = pass;
    const { zero, unused } = this.memory.shared;
    const own = pass.buffers.map((tensor) => ((tensor ?? unused) as GpuTensor).buffer);
    const entries = [
      { binding: 0, resource: { buffer: uniforms, offset, size: pass.uniforms.length * 4 } },
      ...[zero.buffer, ...own].map((buffer, i) => ({ binding: i + 1, resource: { buffer } })),
    ];
    const layout = this.pipelines.layout(kernel.access);
    return {
      pipeline: this.pipelines.pipeline(kernel, constants),
      bindGroup: this.device.createBindGroup({ label: kernel.label, layout, entries }),
      grid: gridOf(workgroups),
    };
  }

  /** Encodes and submits: at once when the recording ran before, so that writes made after the call come after it. */
  async run(recording: GpuRecording): Promise<void> {
    this.memory.check();
    if (!recording.pipelines) {
      recording.pipelines = await this.pipelines.ready(recording.steps.map(({ pipeline }) => pipeline));
      await this.faults.settle();
      this.memory.check();
    }
    this.faults.guard(() => this.submit(recording));
  }

  private submit({ steps, pipelines }: GpuRecording): void {
    for (let at = 0; at < steps.length; at += dispatchesPerSubmit) {
      const encoder = this.device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      steps.slice(at, at + dispatchesPerSubmit).forEach((step, i) => {
        pass.setPipeline(pipelines?.[at + i] as GPUComputePipeline);
        pass.setBindGroup(0, step.bindGroup);
        pass.dispatchWorkgroups(...step.grid);
      });
      pass.end();
      this.device.queue.submit([encoder.finish()]);
    }
  }
}

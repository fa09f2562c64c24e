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

/** What one submit holds at most: short enough that neither a watchdog nor the page's own drawing is starved. */
const submitMax = { dispatches: 256, work: 2 ** 33 } as const;

interface Step {
  readonly pipeline: Promise<GPUComputePipeline>;
  readonly bindGroup: GPUBindGroup;
  readonly grid: readonly [x: number, y: number];
  /** A submit begins here. */
  readonly first: boolean;
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
  /** Ends when every run that had to wait was submitted; null when none waits. */
  private waiting: Promise<void> | null = null;

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
      const first = submitStarts(passes);
      const steps = passes.map((pass, i) => this.step(pass, uniforms, i * slot, first[i] ?? false));
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

  private step(pass: Pass, uniforms: GPUBuffer, offset: number, first: boolean): Step {
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
      first,
    };
  }

  /**
   * Encodes and submits: at once when the recording ran before, so that writes made after the call come after it. While an earlier run still waits for
   * its pipelines, later ones wait behind it: runs are submitted in the order of their calls.
   */
  run(recording: GpuRecording): Promise<void> {
    const turn = this.take(recording, this.waiting);
    if (!this.waiting && recording.pipelines) return turn;
    const waiting = turn
      .catch(() => {})
      .then(() => {
        if (this.waiting === waiting) this.waiting = null;
      });
    this.waiting = waiting;
    return turn;
  }

  private async take(recording: GpuRecording, before: Promise<void> | null): Promise<void> {
    this.memory.check();
    if (before) await before;
    if (!recording.pipelines) {
      recording.pipelines = await this.pipelines.ready(recording.steps.map(({ pipeline }) => pipeline));
      await this.faults.settle();
    }
    this.memory.check();
    this.faults.guard(() => this.submit(recording));
  }

  private submit({ steps, pipelines }: GpuRecording): void {
    for (let at = 0; at < steps.length;) {
      const next = steps.findIndex(({ first }, i) => first && i > at);
      const end = next < 0 ? steps.length : next;
      const encoder = this.device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (; at < end; at++) {
        const { bindGroup, grid } = steps[at] as Step;
        pass.setPipeline(pipelines?.[at] as GPUComputePipeline);
        pass.setBindGroup(0, bindGroup);
        pass.dispatchWorkgroups(...grid);
      }
      pass.end();
      this.device.queue.submit([encoder.finish()]);
    }
  }
}

/** Which passes begin a submit. */
function submitStarts(passes: readonly Pass[]): boolean[] {
  let [dispatches, work] = [0, 0];
  return passes.map((pass, i) => {
    dispatches++;
    work += pass.work ?? 0;
    if (i > 0 && dispatches <= submitMax.dispatches && work <= submitMax.work) return false;
    [dispatches, work] = [1, pass.work ?? 0];
    return true;
  });
}

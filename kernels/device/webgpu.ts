/**
 * The WebGPU device: the same ops and bits as the reference, on a GPU. Runs wherever a `GPU` object is: a page, a worker, Dawn for Node.
 *
 * A software adapter (SwiftShader, lavapipe) is refused unless asked for: it is slower than the CPU backends. The adapter's own buffer limits are
 * requested; 8 storage buffers a stage, the default, are enough.
 */
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { DeviceInfo } from '#protocol/messages/frames.ts';
import { checkOp } from '../ops/checks.ts';
import { tunedText } from '../ops/gemm/gpu.ts';
import { passBuilders } from './webgpu-ops.ts';
import type { Device, OpName, Ops, Recording } from './device.ts';
import { Faults } from './webgpu-faults.ts';
import { Memory } from './webgpu-memory.ts';
import type { Pass, PassBuilder, PassContext } from './webgpu-pass.ts';
import { dryGpu } from './webgpu-rehearsal.ts';
import { Pipelines } from './webgpu-pipelines.ts';
import { type Arithmetic, preludeOf } from './webgpu-prelude.ts';
import { forcedChoice, type GemmChoice, usualChoice } from './webgpu-gemm-configs.ts';
import { buildId, tune, type TuningPort } from './webgpu-tuning.ts';
import { type GpuRecording, Recorder } from './webgpu-recorder.ts';

export interface WebGpuOptions {
  gpu: GPU;
  /** Accept an adapter that runs on the CPU: for tests. */
  allowSoftware: boolean;
  /** Use the kernels and workgroup shapes of this kind of adapter whatever the adapter is: for tests, so that both are tested. */
  shapes?: 'hardware' | 'software';
  /** How PF32 is computed: `plain` on SwiftShader and `barrier` on any other adapter, unless given. */
  arithmetic?: Arithmetic | { wgsl: string };
  /** Where the choice of GEMM's kernels is kept; without it the usual ones are used, untried. */
  tuning?: TuningPort;
  /** GEMM's configuration on a real GPU, by name, instead of the usual or a tuned one: for tests. */
  gemm?: string;
  /** Leave this feature of the adapter alone: for tests. */
  without?: 'subgroups';
  signal?: AbortSignal;
}

/** A device and what tests want to know of it. */
export interface WebGpuDevice extends Device {
  /** Every kernel and override set that recordings asked for. */
  compiled(): string[];
  /** Records passes that are no op: a prelude's functions by themselves. */
  recordPasses(passes: readonly Pass[]): Recording;
  scope(): WebGpuDevice;
}

/** Throws `no_device` with what to do about it, or `cancelled`. */
export async function createWebGpuDevice(options: WebGpuOptions): Promise<WebGpuDevice> {
  const { signal } = options;
  const adapter = await findAdapter(options);
  checkSignal(signal);
  const info = describe(adapter);
  if (info.software && !options.allowSoftware) {
    throw new AtollError(
      'no_device',
      `WebGPU here runs on the CPU (${info.label}), slower than our own CPU code. Turn on hardware acceleration or use another backend.`,
    );
  }
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const device = await adapter
    .requestDevice({
      requiredFeatures:
        adapter.features.has('subgroups') && options.without !== 'subgroups' ? ['subgroups'] : [],
      requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
    })
    .catch((error: unknown) => {
      throw new AtollError('no_device', 'The GPU refused to open. Close other pages that use it.', {
        cause: error,
      });
    });
  if (signal?.aborted) device.destroy();
  checkSignal(signal);
  const software = options.shapes ? options.shapes === 'software' : info.software;
  const arithmetic = options.arithmetic ?? (software && doesNotFuse(info) ? 'plain' : 'barrier');
  const told = arithmetic === 'soft' ? { ...info, label: softLabel(info.label) } : info;
  const f32 = arithmetic !== 'soft';
  // Absent where the language has no extensions yet.
  const features = options.gpu.wgslLanguageFeatures as WGSLLanguageFeatures | undefined;
  const packed = features?.has('packed_4x8_integer_dot_product') ?? false;
  const choice = options.gemm ? forcedChoice(options.gemm, packed) : { ...usualChoice };
  const opened = wrap(device, told, { software, f32, choice }, preludeOf(arithmetic));
  if (!options.tuning || options.gemm || software) return opened;
  try {
    for (const nb of [10, 7, 15] as const) {
      await tune({
        device: opened,
        nb,
        packed,
        use: (config) => (choice[nb] = config),
        key: `gemm ${nb} ${adapterName(adapter)} ${buildId(tunedText)}`,
        port: options.tuning,
        ...(signal ? { signal } : {}),
      });
    }
  } catch (error) {
    // A kernel that this implementation refuses leaves a device unusable: another one, which never sees it.
    opened.destroy();
    checkSignal(signal);
    const { tuning, ...untuned } = options;
    tuning.failed?.(error);
    return createWebGpuDevice(untuned);
  }
  return opened;
}

/** What a tuned choice is good for. */
function adapterName({ info }: GPUAdapter): string {
  return [info.vendor, info.architecture, info.device, info.description].join('/');
}

async function findAdapter({ gpu, allowSoftware }: WebGpuOptions): Promise<GPUAdapter> {
  const adapter =
    (await gpu.requestAdapter({ powerPreference: 'high-performance' })) ??
    (allowSoftware ? await gpu.requestAdapter({ forceFallbackAdapter: true }) : null);
  if (adapter) return adapter;
  throw new AtollError(
    'no_device',
    'WebGPU is here but finds no GPU. In a browser, turn on hardware acceleration or try another one; in Node and everywhere, check the graphics driver.',
  );
}

function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AtollError('cancelled', 'The device is no longer wanted.');
}

/** Tells that elementwise ops compute f32 by integers. */
function softLabel(label: string): string {
  const suffix = ' (integers for f32)';
  return label.slice(0, limits.labelCharsMax - suffix.length) + suffix;
}

/** The adapter's own words. A software adapter is known by its flag or by its name. */
function describe({ info }: GPUAdapter): DeviceInfo {
  const words = [info.description, info.device, info.architecture, info.vendor].map((word) => word ?? '');
  const software =
    info.isFallbackAdapter === true ||
    /swiftshader|llvmpipe|lavapipe|softpipe|warp|basic render/i.test(words.join(' '));
  const [description, , architecture, vendor] = words as [string, string, string, string];
  const label = description || [vendor, architecture].filter(Boolean).join(' ') || 'WebGPU';
  const shorten = (text: string) => text.slice(0, limits.labelCharsMax);
  return { backend: 'webgpu', label: shorten(label), vendor: shorten(vendor), software };
}

/** SwiftShader compiles f32 as it stands. Mesa's lavapipe does not: it reassociates products with constants, and GELU comes out by a bit. */
function doesNotFuse({ label, vendor }: DeviceInfo): boolean {
  return /swiftshader/i.test(`${label} ${vendor}`);
}

function wrap(device: GPUDevice, info: DeviceInfo, kind: AdapterKind, prelude: string): WebGpuDevice {
  const faults = new Faults(device);
  const pipelines = new Pipelines(device, faults, prelude);
  const root = new Memory(device, faults);
  const close = () => {
    faults.close();
    root.free();
    device.destroy();
  };
  return scoped({ device, info, faults, pipelines, ...kind }, root, close);
}

interface AdapterKind {
  /** Workgroup shapes are those for adapters that run on the CPU. */
  software: boolean;
  /** f32 operations round to nearest: PF32 is not computed on integers. */
  f32: boolean;
  /** GEMM's kernels, for recordings made from now on. */
  choice: GemmChoice;
}

interface Shared extends AdapterKind {
  device: GPUDevice;
  info: DeviceInfo;
  faults: Faults;
  pipelines: Pipelines;
}

function scoped(shared: Shared, memory: Memory, destroy: () => void): WebGpuDevice {
  const { device, info, faults, pipelines, software, f32 } = shared;
  const recorder = new Recorder(device, memory, pipelines, faults);
  const context: PassContext = {
    scratch: (name, words) => memory.scratch(name, words),
    software,
    f32,
    subgroups: device.features.has('subgroups'),
    gemm: (nb) => shared.choice[nb],
  };
  return {
    info,
    lost: faults.lost,
    compiled: () => pipelines.names,
    tensor: (size) => memory.tensor(size),
    quantized: (batch, rows, cols, transposed = false, narrow = false) =>
      memory.operand(batch, rows, cols, transposed, narrow),
    write: (tensor, words, at = 0) => memory.write(tensor, words, at),
    read: (tensor) => memory.read(tensor),
    readQuantized: (q) => memory.readQuantized(q),
    record(build) {
      const { ops, passes, count } = collector(context);
      build(ops);
      return recorder.record(count(), passes);
    },
    rehearse(build) {
      const { device: dry, need } = dryGpu(device);
      const faultless = new Faults(dry);
      const pipelines = new Pipelines(dry, faultless, '');
      const empty = { ...shared, device: dry, faults: faultless, pipelines };
      build(scoped(empty, new Memory(dry, faultless, memory.shared), () => {}));
      return need();
    },
    recordPasses: (passes) => recorder.record(passes.length, passes),
    run: (recording) => recorder.run(recording as GpuRecording),
    scope() {
      const inner = new Memory(device, faults, memory.shared);
      return scoped(shared, inner, () => inner.free());
    },
    destroy,
  };
}

/** Ops that append their passes to a list. */
export function collector(context: PassContext): { ops: Ops; passes: Pass[]; count: () => number } {
  const passes: Pass[] = [];
  let count = 0;
  const ops = Object.fromEntries(
    Object.entries(passBuilders).map(([name, build]) => [
      name,
      (args: never) => {
        checkOp(name as OpName, args);
        count++;
        passes.push(...(build as PassBuilder<never>)(args, context));
      },
    ]),
  ) as unknown as Ops;
  return { ops, passes, count: () => count };
}

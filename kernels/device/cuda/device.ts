/**
 * The CUDA device: the same ops and bits as the reference, on a GPU of NVIDIA's. Runs over a `CudaDriver`: the real one in a node, the processor in tests.
 *
 * Kernels are twins of their own, launched by each op's cuda.ts; a recording is one CUDA graph. No browser ever loads this file.
 */
import { limits } from '#protocol/limits.ts';
import type { DeviceInfo } from '#protocol/messages/frames.ts';
import { checkOp } from '../../ops/checks.ts';
import type { Device, OpName, Ops, Recording } from '../device.ts';
import { Arena, type Blocks, CountedBlocks } from './arena.ts';
import type { CudaDriver, DriverInfo } from './driver.ts';
import type { Launch, LaunchBuilder, LaunchContext } from './launch.ts';
import { CudaMemory } from './memory.ts';
import { launchBuilders } from './ops.ts';
import { CudaRecorder, type CudaRecording, Modules } from './recorder.ts';

/** A device and what tests want to know of it. */
export interface CudaDevice extends Device {
  readonly driver: DriverInfo;
  /** Records launches that are no op: a kernel's functions by themselves. */
  recordLaunches(launches: readonly Launch[]): Recording;
  scope(): CudaDevice;
}

/** A device over this driver, which it owns: `destroy` ends both. Its memory is an arena, unless a test gives another. */
export function createCudaDeviceOn(driver: CudaDriver, blocks: Blocks = new Arena(driver)): CudaDevice {
  const { name, emulated } = driver.info;
  const info: DeviceInfo = {
    backend: 'cuda',
    label: name.slice(0, limits.labelCharsMax),
    vendor: 'nvidia',
    software: emulated,
  };
  return scoped({ driver, info, modules: new Modules(driver), blocks }, true);
}

interface Shared {
  readonly driver: CudaDriver;
  readonly info: DeviceInfo;
  readonly modules: Modules;
  readonly blocks: Blocks;
}

/** The device itself, or a scope of it: `destroy` ends the driver only with the device. */
function scoped(shared: Shared, isWhole: boolean): CudaDevice {
  const { driver, info, modules, blocks } = shared;
  const memory = new CudaMemory(driver, blocks);
  const recorder = new CudaRecorder(driver, memory, modules);
  const { multiprocessors, capability, sharedMax } = driver.info;
  const context: LaunchContext = {
    scratch: (name, words) => memory.scratch(name, words),
    multiprocessors,
    capability,
    sharedMax,
  };
  return {
    info,
    driver: driver.info,
    lost: driver.lost,
    tensor: (size) => memory.tensor(size),
    quantized: (batch, rows, cols, transposed = false, narrow = false) =>
      memory.operand(batch, rows, cols, transposed, narrow),
    write: (tensor, words, at = 0) => memory.write(tensor, words, at),
    read: (tensor) => memory.read(tensor),
    readQuantized: (q) => memory.readQuantized(q),
    record(build) {
      const { ops, launches, count } = collector(context);
      build(ops);
      return recorder.record(count(), launches);
    },
    rehearse(build) {
      const counted = new CountedBlocks(driver.info.memoryBytes);
      build(
        scoped({ ...shared, driver: dry(driver), modules: new Modules(dry(driver)), blocks: counted }, false),
      );
      const { buffers, bytes, largestBytes } = counted;
      return { buffers, bytes, largestBytes };
    },
    recordLaunches: (launches) => recorder.record(launches.length, launches),
    run: (recording) => recorder.run(recording as CudaRecording),
    scope: () => scoped(shared, false),
    destroy() {
      recorder.free();
      memory.free();
      if (isWhole) driver.destroy();
    },
  };
}

/** A driver of the same kind that does nothing: for counting. */
function dry({ info, lost }: CudaDriver): CudaDriver {
  const nothing = () => {};
  return {
    info,
    lost,
    allocate: () => 0n,
    release: nothing,
    zero: nothing,
    write: nothing,
    read: (_address, bytes) => Promise.resolve(new Uint8Array(bytes)),
    load: (_source, entries) => Promise.resolve(new Map(entries.map((entry) => [entry, { entry }]))),
    graph: () => ({ free: nothing }),
    launch: nothing,
    destroy: nothing,
  };
}

/** Ops that append their launches to a list. */
function collector(context: LaunchContext): { ops: Ops; launches: Launch[]; count: () => number } {
  const launches: Launch[] = [];
  let count = 0;
  const ops = Object.fromEntries(
    Object.entries(launchBuilders).map(([name, build]) => [
      name,
      (args: never) => {
        checkOp(name as OpName, args);
        count++;
        launches.push(...(build as LaunchBuilder<never>)(args, context));
      },
    ]),
  ) as unknown as Ops;
  return { ops, launches, count: () => count };
}

/**
 * A CUDA graph of kernel nodes, one after the other, and how their parameters are laid out in memory for the driver to copy.
 *
 * The layout is that of CUDA_KERNEL_NODE_PARAMS_v2 in cuda.h (72 bytes on every 64-bit platform).
 */
import koffi from 'koffi';
import { AtollError } from '#protocol/errors.ts';
import type { BoundLaunch, CudaFunction, CudaGraph } from './driver.ts';
import type { Host } from './native-staging.ts';
import { cudaSuccess } from './native-errors.ts';

/** A kernel of a loaded module. */
export interface NativeFunction extends CudaFunction {
  readonly handle: bigint;
  /** Bytes of each parameter, where the driver tells them. */
  readonly parameters: readonly number[] | null;
  /** Dynamic shared memory that it may take as things are. */
  shared: number;
}

const nodeBytes = 72;
const offsets = { func: 0, grid: 8, block: 20, shared: 32, kernelParams: 40 } as const;
/** Parameters of a kernel at most. */
const argsMax = 64;
/** Dynamic shared memory that needs no leave, and the number of CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES. */
const sharedFree = 48 * 1024;
const sharedAttribute = 8;

/** Memory that stays where it is, for the values of one node's parameters and the pointers to them. */
export class ParameterSpace {
  readonly values: bigint;
  readonly pointers: bigint;
  private readonly view: DataView;

  constructor() {
    const base = koffi.alloc('uint64', 2 * argsMax) as bigint;
    this.values = base;
    this.pointers = base + BigInt(8 * argsMax);
    this.view = new DataView(koffi.view(base, 16 * argsMax));
    for (let i = 0; i < argsMax; i++) {
      this.view.setBigUint64(8 * (argsMax + i), this.values + BigInt(8 * i), true);
    }
  }

  fill(args: BoundLaunch['args']): void {
    args.forEach((arg, i) => {
      if (typeof arg === 'bigint') this.view.setBigUint64(8 * i, arg, true);
      else this.view.setUint32(8 * i, arg >>> 0, true);
    });
  }

  free(): void {
    koffi.free(this.values);
  }
}

/** Throws `internal` when a launch's arguments are not what its kernel takes. */
export function makeGraph(host: Host, launches: readonly BoundLaunch[], space: ParameterSpace): CudaGraph {
  const graph = host.make('cuGraphCreate', 0);
  try {
    let before: BigUint64Array | null = null;
    for (const launch of launches) {
      const node: BigUint64Array = new BigUint64Array(1);
      prepare(host, launch);
      space.fill(launch.args);
      host.call('cuGraphAddKernelNode_v2', node, graph, before, before ? 1 : 0, nodeOf(launch, space));
      before = node;
    }
    const handle = host.take('cuGraphExecDestroy', 'cuGraphInstantiateWithFlags', graph, 0);
    return new NativeGraph(host, handle);
  } finally {
    if (host.alive) host.call('cuGraphDestroy', graph);
  }
}

export class NativeGraph implements CudaGraph {
  handle: bigint | null;
  private readonly host: Host;

  constructor(host: Host, handle: bigint) {
    this.host = host;
    this.handle = handle;
  }

  free(): void {
    const { handle } = this;
    this.handle = null;
    if (handle !== null) this.host.give(handle);
  }
}

function prepare(host: Host, { fn, args, shared }: BoundLaunch): void {
  const native = fn as NativeFunction;
  const { entry, parameters } = native;
  const sizes = args.map((arg) => (typeof arg === 'bigint' ? 8 : 4));
  if (args.length > argsMax || (parameters && parameters.join() !== sizes.join())) {
    throw new AtollError('internal', `The kernel ${entry} takes other parameters than it is given.`, {
      details: { takes: parameters?.join() ?? `at most ${argsMax}`, given: sizes.join() },
    });
  }
  if (shared <= sharedFree || shared <= native.shared) return;
  host.call('cuFuncSetAttribute', native.handle, sharedAttribute, shared);
  native.shared = shared;
}

function nodeOf({ fn, grid, block, shared }: BoundLaunch, space: ParameterSpace): Uint8Array {
  const bytes = new Uint8Array(nodeBytes);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(offsets.func, (fn as NativeFunction).handle, true);
  grid.forEach((blocks, i) => view.setUint32(offsets.grid + 4 * i, blocks, true));
  block.forEach((threads, i) => view.setUint32(offsets.block + 4 * i, threads, true));
  view.setUint32(offsets.shared, shared, true);
  view.setBigUint64(offsets.kernelParams, space.pointers, true);
  return bytes;
}

/** Bytes of each of a kernel's parameters; null where the driver is too old to tell. */
export function parametersOf({ api }: Host, handle: bigint): number[] | null {
  if (!api.has('cuFuncGetParamInfo')) return null;
  const sizes: number[] = [];
  const [offset, size] = [new BigUint64Array(1), new BigUint64Array(1)];
  while (sizes.length <= argsMax) {
    // Past the last one it is an invalid value.
    if (api.result('cuFuncGetParamInfo', handle, sizes.length, offset, size) !== cudaSuccess) break;
    sizes.push(Number(size[0]));
  }
  return sizes;
}

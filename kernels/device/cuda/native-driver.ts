/**
 * The CUDA driver of a real GPU: memory, copies, modules and graphs of one primary context, by NVIDIA's driver library.
 *
 * Everything computes on one stream, in the order of the calls; reads are copied out on another. An error that the driver cannot recover from is the loss of
 * the device: `lost` tells, and every later call throws it.
 */
import { createHash } from 'node:crypto';
import { AtollError } from '#protocol/errors.ts';
import type { BoundLaunch, CudaDriver, CudaFunction, CudaGraph, DriverInfo } from './driver.ts';
import type { CudaSource } from './launch.ts';
import { type CudaApi, openCudaApi } from './native-api.ts';
import { chooseGpu, type CudaGpu, cudaGpus } from './native-devices.ts';
import { cudaError, cudaSuccess, isSticky, openingError } from './native-errors.ts';
import {
  makeGraph,
  type NativeFunction,
  type NativeGraph,
  ParameterSpace,
  parametersOf,
} from './native-graph.ts';
import { Events, type FreeName, type Host, Reads, WriteRing } from './native-staging.ts';

/** Turns a source into what `cuModuleLoadData` takes. */
export interface CudaCompiler {
  compile(source: CudaSource, signal: AbortSignal): Promise<Uint8Array>;
}

export interface NativeDriverOptions {
  /** Number or UUID; the first unless given. */
  gpu?: string | number;
  /** The compiler for this GPU on this driver. Throws `no_device` where there is none. */
  compiler: (gpu: CudaGpu, driverVersion: number) => Promise<CudaCompiler> | CudaCompiler;
  /** The driver library's file instead of the system's own: for tests. */
  library?: string;
}

/** CU_CTX_SCHED_BLOCKING_SYNC: a wait sleeps. CU_STREAM_NON_BLOCKING: nothing waits for the legacy stream. */
const [blockingSync, nonBlocking] = [4, 1];
/** CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, and what the pool of snapshots may keep between them. */
const [releaseThreshold, poolBytes] = [4, 64n * 2n ** 20n];
/** Runs under way before `pace` waits: enough that the GPU never does. */
const launchesMax = 4;

/** Throws `no_device` with what to do about it. */
export async function openNativeDriver({ gpu, compiler, library }: NativeDriverOptions): Promise<CudaDriver> {
  const api = openCudaApi(library);
  const chosen = chooseGpu(cudaGpus(library), gpu);
  return new NativeDriver(api, chosen, await compiler(chosen, api.version));
}

class NativeDriver implements CudaDriver, Host {
  readonly info: DriverInfo;
  readonly api: CudaApi;
  readonly lost: Promise<AtollError>;
  readonly pools: boolean;
  readonly compute: bigint;
  readonly copies: bigint;
  private readonly gpu: CudaGpu;
  private readonly context: bigint;
  private readonly compiler: CudaCompiler;
  private readonly events: Events;
  private readonly launches: bigint[] = [];
  private readonly ring: WriteRing;
  private readonly reads: Reads;
  private readonly space = new ParameterSpace();
  private readonly modules = new Map<string, Promise<bigint>>();
  /** The driver may load a kernel from its image as late as its first use. */
  private readonly images: Uint8Array[] = [];
  private readonly ended = new AbortController();
  private readonly tellLost: (error: AtollError) => void;
  /** Set once the device was lost or destroyed: what every call throws. */
  private gone: AtollError | null = null;
  private destroyed = false;
  /** All that is to be given back, and by which function: the context outlives this driver where another one shares it. */
  private readonly owned = new Map<bigint, FreeName>();

  constructor(api: CudaApi, gpu: CudaGpu, compiler: CudaCompiler) {
    const { promise, resolve } = Promise.withResolvers<AtollError>();
    [this.lost, this.tellLost] = [promise, resolve];
    [this.api, this.gpu, this.compiler] = [api, gpu, compiler];
    this.info = gpu;
    this.pools = gpu.pools;
    this.context = retain(api, gpu);
    this.enter();
    this.compute = this.take('cuStreamDestroy_v2', 'cuStreamCreate', nonBlocking);
    this.copies = this.take('cuStreamDestroy_v2', 'cuStreamCreate', nonBlocking);
    if (this.pools) this.keepPool();
    this.events = new Events(this);
    this.ring = new WriteRing(this, this.events);
    this.reads = new Reads(this, this.events);
  }

  private keepPool(): void {
    const pool = this.make('cuDeviceGetDefaultMemPool', this.gpu.handle);
    this.call('cuMemPoolSetAttribute', pool, releaseThreshold, new BigUint64Array([poolBytes]));
  }

  get alive(): boolean {
    return this.gone === null;
  }

  enter(): void {
    if (this.gone) throw this.gone;
    this.call('cuCtxSetCurrent', this.context);
  }

  call: CudaApi['call'] = (name, ...args) => this.check(this.api.result(name, ...args), name);

  make: Host['make'] = (name, ...args) => {
    const out = new BigUint64Array(1);
    this.call(name, out, ...args);
    return out[0] as bigint;
  };

  take: Host['take'] = (free, name, ...args) => {
    const handle = this.make(name, ...args);
    this.owned.set(handle, free);
    return handle;
  };

  give(handle: bigint): void {
    const free = this.owned.get(handle);
    if (!free || !this.alive) return;
    this.enter();
    this.owned.delete(handle);
    this.call(free, handle);
  }

  check(result: number, call: string): void {
    if (result === cudaSuccess) return;
    if (this.gone) throw this.gone;
    const error = cudaError(result, call, this.api.said(result));
    if (isSticky(result)) {
      this.gone = error;
      this.ended.abort(error);
      this.tellLost(error);
    }
    throw error;
  }

  allocate(bytes: number): bigint {
    this.enter();
    return this.take('cuMemFree_v2', 'cuMemAlloc_v2', bytes);
  }

  release(address: bigint): void {
    this.give(address);
  }

  zero(address: bigint, bytes: number): void {
    this.enter();
    this.call('cuMemsetD8Async', address, 0, bytes, this.compute);
  }

  write(address: bigint, bytes: Uint8Array): void {
    this.enter();
    this.ring.write(address, bytes);
  }

  async read(address: bigint, bytes: number): Promise<Uint8Array> {
    this.enter();
    return this.reads.read(address, bytes);
  }

  async load(source: CudaSource, entries: readonly string[]): Promise<Map<string, CudaFunction>> {
    const key = createHash('sha256').update(JSON.stringify(source.parts)).digest('hex');
    let loading = this.modules.get(key);
    if (!loading) {
      loading = this.module(source);
      this.modules.set(key, loading);
      loading.catch(() => this.modules.delete(key));
    }
    const module = await loading;
    this.enter();
    return new Map(entries.map((entry) => [entry, this.entry(module, source, entry)]));
  }

  private async module(source: CudaSource): Promise<bigint> {
    this.enter();
    const image = await this.compiler.compile(source, this.ended.signal);
    this.enter();
    this.images.push(image);
    return this.take('cuModuleUnload', 'cuModuleLoadData', image);
  }

  private entry(module: bigint, { label }: CudaSource, entry: string): NativeFunction {
    const out = new BigUint64Array(1);
    const result = this.api.result('cuModuleGetFunction', out, module, entry);
    if (result === 500) throw new AtollError('internal', `The CUDA source ${label} has no kernel ${entry}.`);
    this.check(result, 'cuModuleGetFunction');
    const handle = out[0] as bigint;
    return { entry, handle, parameters: parametersOf(this, handle), shared: 0 };
  }

  graph(launches: readonly BoundLaunch[]): CudaGraph {
    this.enter();
    return makeGraph(this, launches, this.space);
  }

  launch(graph: CudaGraph): void {
    this.enter();
    const { handle } = graph as NativeGraph;
    if (handle === null) throw new AtollError('device_lost', 'The recording was freed.');
    this.call('cuGraphLaunch', handle, this.compute);
    this.launches.push(this.events.record(this.compute));
  }

  async pace(): Promise<void> {
    while (this.launches.length > launchesMax) await this.events.done(this.launches.shift() as bigint);
  }

  /** Waits for what runs, then gives everything back. */
  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    const wasLost = this.gone !== null;
    if (!wasLost) this.giveAll();
    this.gone ??= new AtollError('device_lost', 'The device was destroyed.');
    this.ended.abort(this.gone);
    this.space.free();
    this.api.result('cuCtxSetCurrent', 0n);
    // A context that failed is of no use to the next device either.
    if (wasLost) this.api.result('cuDevicePrimaryCtxReset_v2', this.gpu.handle);
    this.api.result('cuDevicePrimaryCtxRelease_v2', this.gpu.handle);
  }

  /** Results do not matter any more. */
  private giveAll(): void {
    this.api.result('cuCtxSetCurrent', this.context);
    for (const stream of [this.compute, this.copies]) this.api.result('cuStreamSynchronize', stream);
    for (const [handle, free] of [...this.owned].reverse()) this.api.result(free, handle);
    this.owned.clear();
  }
}

function retain(api: CudaApi, { handle }: CudaGpu): bigint {
  // Refused where the context is in use already; then it stays as it is.
  api.result('cuDevicePrimaryCtxSetFlags_v2', handle, blockingSync);
  const out = new BigUint64Array(1);
  const result = api.result('cuDevicePrimaryCtxRetain', out, handle);
  if (result !== cudaSuccess) throw openingError(result, api.said(result));
  return out[0] as bigint;
}

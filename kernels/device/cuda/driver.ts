/**
 * What the CUDA device needs of a driver, so that the same device runs over NVIDIA's own driver (native-driver.ts) and, in tests, over the processor
 * (testing/emulated-driver.ts). Addresses are device addresses; everything given to one driver happens in the order of the calls.
 */
import type { AtollError } from '#protocol/errors.ts';
import type { CudaSource } from './launch.ts';

export interface DriverInfo {
  /** Such as `NVIDIA H200`. */
  readonly name: string;
  /** Such as `GPU-4f…` or `MIG-…`; empty for the emulation. */
  readonly uuid: string;
  /** 10 * major + minor. */
  readonly capability: number;
  readonly multiprocessors: number;
  readonly memoryBytes: number;
  /** Dynamic shared memory of a block at most, in bytes. */
  readonly sharedMax: number;
  readonly emulated: boolean;
}

/** A kernel that was compiled and loaded. */
export type CudaFunction = { readonly entry: string };

/** A launch with its parameters packed: what a graph is made of. */
export interface BoundLaunch {
  readonly fn: CudaFunction;
  /** A device address, or a 32-bit word. */
  readonly args: readonly (bigint | number)[];
  readonly grid: readonly [number, number, number];
  readonly block: readonly [number, number, number];
  readonly shared: number;
}

/** Launches in order, instantiated once and run many times. */
export interface CudaGraph {
  free(): void;
}

/** Each call throws `out_of_memory`, `device_lost` or `nonconforming` where the driver says so. */
export interface CudaDriver {
  readonly info: DriverInfo;
  readonly lost: Promise<AtollError>;
  allocate(bytes: number): bigint;
  release(address: bigint): void;
  zero(address: bigint, bytes: number): void;
  /** Copies before it returns: the caller may reuse `bytes`. */
  write(address: bigint, bytes: Uint8Array): void;
  /** What memory holds once everything before this call has run; calls after it may run meanwhile. */
  read(address: bigint, bytes: number): Promise<Uint8Array>;
  /** Compiles (or takes from the cache) one source for this device. Throws `internal` with the compiler's log when it does not compile. */
  load(source: CudaSource, entries: readonly string[]): Promise<Map<string, CudaFunction>>;
  graph(launches: readonly BoundLaunch[]): CudaGraph;
  launch(graph: CudaGraph): void;
  /** Resolves when no more than a few launches are under way, so that whoever launches step by step neither fills the GPU's queue nor starves the thread. */
  pace?(): Promise<void>;
  destroy(): void;
}

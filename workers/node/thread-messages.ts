/** What the compute thread and its host may call of each other. */
import type { Problem } from '#protocol/errors.ts';
import type { DeviceInfo } from '#protocol/messages/frames.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import type { Result } from '#protocol/messages/workunit.ts';
import type { Hex } from 'viem';
import type { KernelBackend } from '../runtime/kernel-compute.ts';

export interface ThreadOptions {
  backend: KernelBackend;
  allowSoftware: boolean;
  /** Threads of a WASM device. */
  threads: number;
  /** Where a GPU's tuned shapes are kept; nowhere unless given. */
  tuningFile?: string;
  /** CUDA's GPU: number or UUID; the first unless given. */
  gpu?: string;
  /** NVRTC's file or folder, in place of a search. */
  nvrtc?: string;
  /** Where CUDA's compiled kernels are kept; nowhere unless given. */
  kernelDir?: string;
}

export interface Opened {
  info: DeviceInfo;
  why: string;
  programs: string[];
  probeDigest: Hex;
}

export interface ThreadMethods {
  open(): Promise<Opened>;
  probe(): Promise<Hex>;
  /** `unit` is canonical bytes. */
  execute(job: number, unit: Uint8Array): Promise<Result>;
  abort(job: number): void;
  close(): Promise<void>;
}

export interface HostMethods {
  get(job: number, cid: Cid): Promise<Uint8Array>;
  put(job: number, bytes: Uint8Array, code: number | undefined): Promise<Cid>;
  progress(job: number, done: number, total: number): void;
  lost(problem: Problem): void;
  /** Something failed that stops nothing. */
  warn(problem: Problem): void;
}

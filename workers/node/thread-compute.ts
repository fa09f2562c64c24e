/**
 * The compute port over a thread of its own, so that the socket is answered while a step blocks for seconds.
 *
 * Closing ends the thread whatever it is at. A thread that dies by itself is a lost device.
 */
import { Worker } from 'node:worker_threads';
import { AtollError, fromProblem } from '#protocol/errors.ts';
import { encodeWorkunit } from '#protocol/messages/workunit.ts';
import type { KernelBackend } from '../runtime/kernel-compute.ts';
import type { Compute, ComputeDevice, ExecuteOptions, Logger } from '../runtime/ports.ts';
import { orAborted } from '../runtime/timing.ts';
import { Rpc } from './rpc.ts';
import type { HostMethods, ThreadMethods, ThreadOptions } from './thread-messages.ts';

/** Time a GPU is given to let go of its memory. */
const closeMsMax = 1_000;

export interface ThreadComputeOptions {
  backend: KernelBackend;
  allowSoftware?: boolean;
  /** Threads of a WASM device; 1 unless given. */
  threads?: number;
  /** Put before the device's own label, where people see it. */
  name?: string;
  /** Where a GPU's tuned shapes are kept; nowhere unless given. */
  tuningFile?: string;
  /** CUDA's GPU: number or UUID; the first unless given. */
  gpu?: string;
  /** NVRTC's file or folder, in place of a search. */
  nvrtc?: string;
  /** Where CUDA's compiled kernels are kept; nowhere unless given. */
  kernelDir?: string;
  log?: Logger;
}

export function threadCompute(options: ThreadComputeOptions): Compute {
  return {
    async open(signal) {
      const thread = new ComputeThread(options);
      try {
        return await orAborted(thread.open(), signal);
      } catch (error) {
        await thread.close();
        throw error;
      }
    },
  };
}

class ComputeThread {
  readonly #options: ThreadComputeOptions;
  readonly #worker: Worker;
  readonly #rpc: Rpc<ThreadMethods>;
  readonly #lost = Promise.withResolvers<AtollError>();
  #job: { id: number; options: ExecuteOptions } | null = null;
  #jobs = 0;
  #isGpu = false;
  #closing = false;

  constructor(options: ThreadComputeOptions) {
    this.#options = options;
    const { backend, allowSoftware = false, threads = 1, tuningFile, gpu, nvrtc, kernelDir } = options;
    const workerData: ThreadOptions = {
      backend,
      allowSoftware,
      threads,
      ...(tuningFile ? { tuningFile } : {}),
      ...(gpu ? { gpu } : {}),
      ...(nvrtc ? { nvrtc } : {}),
      ...(kernelDir ? { kernelDir } : {}),
    };
    this.#worker = new Worker(new URL('./compute-thread.ts', import.meta.url), {
      workerData,
    });
    this.#rpc = new Rpc<ThreadMethods>(this.#worker, {
      get: (job: number, cid: string) => this.#of(job).blocks.get(cid),
      put: (job: number, bytes: Uint8Array, code?: number) => this.#of(job).blocks.put(bytes, code),
      progress: (job: number, done: number, total: number) => this.#of(job).progress(done, total),
      lost: (problem: Parameters<HostMethods['lost']>[0]) => this.#lost.resolve(fromProblem(problem)),
      warn: ({ code, detail }: Parameters<HostMethods['warn']>[0]) => options.log?.warn({ code }, detail),
    });
    this.#worker.on('error', (error) => this.#onGone(error));
    this.#worker.on('exit', () => this.#onGone(null));
  }

  async open(): Promise<ComputeDevice> {
    const { info, why, programs, probeDigest } = await this.#rpc.call('open');
    this.#isGpu = info.backend === 'webgpu' || info.backend === 'cuda';
    const { name } = this.#options;
    return {
      info: name ? { ...info, label: `${name}: ${info.label}` } : info,
      why,
      programs,
      probeDigest,
      lost: this.#lost.promise,
      probe: (signal) => orAborted(this.#rpc.call('probe'), signal),
      execute: (unit, options) => this.#execute(encodeWorkunit(unit), options),
      close: () => this.close(),
    };
  }

  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#isGpu) {
      const patience = new Promise((resolve) => setTimeout(resolve, closeMsMax).unref());
      await Promise.race([this.#rpc.call('close').catch(() => {}), patience]);
    }
    await this.#worker.terminate();
  }

  async #execute(unit: Uint8Array, options: ExecuteOptions): ReturnType<ComputeDevice['execute']> {
    const id = ++this.#jobs;
    this.#job = { id, options };
    const { signal } = options;
    const onAbort = () => void this.#rpc.call('abort', id).catch(() => {});
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const execution = this.#rpc.call('execute', id, unit);
      if (signal.aborted) onAbort();
      return await execution;
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#job = null;
    }
  }

  #of(job: number): ExecuteOptions {
    if (this.#job?.id !== job) throw new AtollError('cancelled', 'The unit is not in hand any more.');
    return this.#job.options;
  }

  #onGone(error: Error | null): void {
    const isMemory = (error as NodeJS.ErrnoException | null)?.code === 'ERR_WORKER_OUT_OF_MEMORY';
    const gone = isMemory
      ? new AtollError('out_of_memory', 'The compute thread ran out of memory.')
      : new AtollError('device_lost', 'The compute thread ended unexpectedly.', { cause: error });
    this.#rpc.fail(gone);
    if (!this.#closing) this.#lost.resolve(gone);
  }
}

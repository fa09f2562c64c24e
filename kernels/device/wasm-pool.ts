/**
 * The threads of a WASM device. The thread that owns the device is part 0 and computes too; the others are workers that it starts here.
 *
 * Work is split into fixed shares, with a barrier after every kernel; what a share is cannot change a bit.
 */
import { AtollError } from '#protocol/errors.ts';
import { Barrier } from './wasm-barrier.ts';
import type { BoundCall } from './wasm-program.ts';
import type { ThreadStart } from './wasm-thread.ts';

/** Most threads of a device: memory bandwidth ends the gain long before. */
export const threadsMax = 16;

/** What Node's workers and the Web's have in common here. */
interface Thread {
  postMessage(message: ThreadStart): void;
  terminate(): unknown;
}

/** Whether this place can share memory between threads: Node can, a page when it is cross-origin isolated. */
export function canShareMemory(): boolean {
  if (typeof SharedArrayBuffer === 'undefined') return false;
  return inNode() || globalThis.crossOriginIsolated;
}

function inNode(): boolean {
  return globalThis.process?.getBuiltinModule !== undefined;
}

interface Listeners {
  ready: () => void;
  gone: (cause: unknown) => void;
}

function startThread({ ready, gone }: Listeners): Thread {
  if (inNode()) {
    const { Worker: NodeWorker } = process.getBuiltinModule('node:worker_threads');
    const worker = new NodeWorker(new URL('./wasm-thread.ts', import.meta.url));
    // A device that nobody destroyed must not keep the process, once its threads are ready.
    worker.once('message', () => (worker.unref(), ready()));
    return worker.on('error', gone).on('exit', gone);
  }
  const worker = new Worker(new URL('./wasm-thread.ts', import.meta.url), { type: 'module' });
  worker.addEventListener('message', ready, { once: true });
  worker.addEventListener('error', gone);
  return worker;
}

export class ThreadPool {
  /** Resolves when a thread died. */
  readonly lost: Promise<AtollError>;
  private readonly barrier: Barrier;
  private readonly threads: readonly Thread[];
  private readonly ready: Promise<unknown>;
  private closed = false;

  /** Starts `parts - 1` workers. */
  constructor(module: WebAssembly.Module, memory: WebAssembly.Memory, control: number, parts: number) {
    this.barrier = new Barrier(memory.buffer, control, parts);
    const { epoch } = this.barrier;
    const lost = Promise.withResolvers<AtollError>();
    this.lost = lost.promise;
    const readies: Promise<void>[] = [];
    this.threads = Array.from({ length: parts - 1 }, (_, i) => {
      const ready = Promise.withResolvers<void>();
      readies.push(ready.promise);
      const thread = startThread({
        ready: ready.resolve,
        gone: (cause) => {
          const error = new AtollError('device_lost', 'A compute thread ended unexpectedly.', { cause });
          ready.reject(error);
          if (!this.closed) lost.resolve(error);
          this.barrier.fail();
        },
      });
      thread.postMessage({ module, memory, control, part: i + 1, parts, epoch });
      return thread;
    });
    this.ready = Promise.all(readies);
  }

  /** Resolves when every thread listens: from then on this thread may block. Throws `device_lost`. */
  async start(): Promise<void> {
    await this.ready;
  }

  /** Runs the program at an address on all threads, of which `calls` are this one's part. Throws `device_lost` when one failed. */
  run(program: number, calls: readonly BoundCall[]): void {
    this.barrier.release(program);
    for (const { kernel, args } of calls) {
      kernel(...args);
      if (!this.barrier.meet()) this.barrier.fail();
      if (this.barrier.failed) throw new AtollError('device_lost', 'A compute thread failed.');
    }
  }

  close(): void {
    this.closed = true;
    // Out of its wait a thread ends at once; asleep in it, a browser gives it two seconds.
    this.barrier.release(0);
    for (const thread of this.threads) void thread.terminate();
  }
}

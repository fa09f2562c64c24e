/**
 * One thread of a WASM device: a worker that waits for programs in shared memory and runs its part of each. Runs in worker_threads and in Web Workers.
 *
 * It is sent one message, with the module and the memory, answers "ready", and then lives inside `serve` until it is released with nothing to run.
 */
import { Barrier } from './wasm-barrier.ts';
import type { Kernels } from './wasm-module.ts';
import { type BoundCall, decodeProgram, kernelNames } from './wasm-program.ts';

export interface ThreadStart {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  /** Address of the control block. */
  control: number;
  part: number;
  parts: number;
  /** Runs that had been released before this thread started. */
  epoch: number;
}

/** Programs that a thread keeps decoded: those of a few models. */
const programsMax = 64;

function serve({ module, memory, control, part, parts, epoch: from }: ThreadStart, ready: () => void): void {
  const barrier = new Barrier(memory.buffer, control, parts);
  const kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Kernels;
  const peek = kernels['peek'] as unknown as (at: number) => number;
  const names = kernelNames(module);
  const known = new Map<number, BoundCall[]>();
  ready();
  for (let epoch = from; ; epoch++) {
    const program = barrier.awaitRelease(epoch);
    if (program === 0) return;
    const id = peek(program);
    let calls = known.get(id);
    if (!calls) {
      if (known.size >= programsMax) known.clear();
      calls = decodeProgram(peek, program, names, kernels, part, parts);
      known.set(id, calls);
    }
    for (const { kernel, args } of calls) {
      try {
        kernel(...args);
      } catch {
        barrier.fail();
      }
      barrier.meet();
    }
  }
}

const nodePort = globalThis.process?.getBuiltinModule?.('node:worker_threads').parentPort;
if (nodePort) {
  nodePort.once('message', (start: ThreadStart) => serve(start, () => nodePort.postMessage('ready')));
} else {
  addEventListener('message', ({ data }) => serve(data as ThreadStart, () => postMessage('ready')));
}

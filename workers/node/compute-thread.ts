/**
 * The thread that computes: a device and nothing else. Blocks come from and go to the host, so there is one cache and one network.
 */
import { totalmem } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { AtollError, toProblem } from '#protocol/errors.ts';
import { decodeWorkunit } from '#protocol/messages/workunit.ts';
import { kernelCompute } from '../runtime/kernel-compute.ts';
import type { ComputeDevice } from '../runtime/ports.ts';
import { Rpc, type RpcPort } from './rpc.ts';
import type { HostMethods, ThreadMethods, ThreadOptions } from './thread-messages.ts';
import { nodeCuda } from './node-cuda.ts';
import { nodeGpu } from './node-gpu.ts';
import { fileTuning } from './tuning-file.ts';

const options = workerData as ThreadOptions;
const life = new AbortController();
let device: ComputeDevice | null = null;
let current: { job: number; abort: AbortController } | null = null;

const methods: ThreadMethods = {
  async open() {
    const { backend, allowSoftware, threads, tuningFile } = options;
    const warn = (error: unknown) => void host.call('warn', toProblem(error));
    const tuning = tuningFile ? { tuning: fileTuning(tuningFile, warn) } : {};
    const ports = { gpu: nodeGpu, cuda: nodeCuda(options, warn), ...tuning };
    const compute = kernelCompute(backend, { allowSoftware, threads, ...ports }, totalmem());
    device = await compute.open(life.signal);
    void device.lost.then((error) => host.call('lost', toProblem(error)));
    const { info, why = '', programs, probeDigest } = device;
    return { info, why, programs: [...programs], probeDigest };
  },

  probe: () => opened().probe(life.signal),

  async execute(job, unit) {
    const abort = new AbortController();
    current = { job, abort };
    try {
      return await opened().execute(decodeWorkunit(unit), {
        signal: abort.signal,
        blocks: {
          get: (cid) => host.call('get', job, cid),
          // A copy: what is posted must not drag the buffer it is a view of along.
          put: (bytes, code) => host.call('put', job, bytes.slice(), code),
        },
        progress: (done, total) => void host.call('progress', job, done, total),
      });
    } finally {
      current = null;
    }
  },

  abort(job) {
    if (current?.job === job) current.abort.abort(new AtollError('cancelled', 'The unit was cancelled.'));
  },

  async close() {
    life.abort();
    await device?.close();
    device = null;
  },
};

const host = new Rpc<HostMethods>(
  parentPort as RpcPort,
  methods as unknown as Record<string, (...args: never[]) => unknown>,
);

function opened(): ComputeDevice {
  if (!device) throw new AtollError('no_device', 'The device is not open.');
  return device;
}

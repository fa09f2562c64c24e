/**
 * A process of its own for one part of the 124M measurement, so that its peak memory (VmHWM) is that part's alone. Forked by large.ts with a JSON request
 * as its argument; prints one line of JSON.
 *
 * `prepare` writes the first checkpoint and the tokens into a folder of blocks; `step` runs one train.steps unit of one step from that folder with the
 * program as contributors run it; `profile` does the same on a device whose recordings are run op by op with a clock in between.
 */
import { readFileSync } from 'node:fs';
import { openBlobs } from '#coordinator/storage/blobs.ts';
import type { Device, OpName, Ops, Recording } from '#kernels/device/device.ts';
import { createWasmDevice } from '#kernels/device/wasm.ts';
import { initialCheckpoint } from '#kernels/model/init.ts';
import { constant, lowbias32, toBits } from '#kernels/ops/math/cpu.ts';
import { executeWorkunit } from '#kernels/programs/registry.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import type { ModelConfig, Policy } from '#protocol/messages/model.ts';
import { resultDigest, type Workunit } from '#protocol/messages/workunit.ts';
import { hyper } from './shape.ts';

export interface LargeRequest {
  mode: 'prepare' | 'step' | 'profile';
  dir: string;
  model: ModelConfig;
  batch: number;
  policy: Policy;
  threads: number;
  /** From `prepare`. */
  checkpoint?: Cid;
  tokens?: Cid;
}

export interface LargeAnswer {
  checkpoint?: Cid;
  tokens?: Cid;
  /** Of the result: the same for `step` and `profile`. */
  digest?: string;
  /** Mean loss of the step. */
  loss?: number;
  seconds?: number;
  cpuSeconds?: number;
  peakBytes: number;
  /** Seconds in each op of the recordings, when profiled. */
  ops?: Partial<Record<OpName, number>>;
}

/** Little-endian tokens, as wide as the vocabulary asks. */
function tokenBytes(model: ModelConfig, batch: number): Uint8Array {
  const width = model.V <= 256 ? 1 : model.V <= 65536 ? 2 : 4;
  const count = batch * (model.T + 1);
  const bytes = new Uint8Array(count * width);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i++) {
    const token = lowbias32(i) % model.V;
    if (width === 1) view.setUint8(i, token);
    else if (width === 2) view.setUint16(i * 2, token, true);
    else view.setUint32(i * 4, token, true);
  }
  return bytes;
}

/** The device, but every recording runs op by op, and the time of each kind of op is added to `seconds`. */
function timed(device: Device, seconds: Partial<Record<OpName, number>>): Device {
  const record = (build: (ops: Ops) => void): Recording => {
    const parts: { name: OpName; recording: Recording }[] = [];
    const ops = new Proxy({} as Ops, {
      get: (_, name: OpName) => (args: never) => {
        const recording = device.record((own) => (own[name] as (a: never) => void)(args));
        parts.push({ name, recording });
      },
    });
    build(ops);
    return { ops: parts.length, parts } as Recording;
  };
  const run = async (recording: Recording) => {
    const { parts } = recording as Recording & { parts: { name: OpName; recording: Recording }[] };
    for (const { name, recording: own } of parts) {
      const start = performance.now();
      await device.run(own);
      seconds[name] = (seconds[name] ?? 0) + (performance.now() - start) / 1e3;
    }
  };
  return { ...device, record, run, scope: () => timed(device.scope(), seconds) };
}

const bits = (x: number) => toBits(constant(x));

function unitOf({ policy, batch, checkpoint, tokens }: LargeRequest): Workunit {
  return {
    v: 1,
    program: `train.steps@1+${policy}`,
    inputs: { checkpoint: checkpoint as Cid, tokens: tokens as Cid },
    params: {
      steps: 1,
      batch,
      lr: [bits(hyper.lr)],
      bias1: [bits(1 / (1 - hyper.beta1))],
      bias2: [bits(1 / (1 - hyper.beta2))],
      beta1: bits(hyper.beta1),
      beta2: bits(hyper.beta2),
      eps: bits(hyper.eps),
      weightDecay: bits(hyper.weightDecay),
    },
    seed: 1,
  };
}

/** The most this process ever had in memory. */
function peakBytes(): number {
  const line = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'));
  return Number(line?.[1]) * 1024;
}

async function answer(request: LargeRequest): Promise<LargeAnswer> {
  const { mode, dir, model, batch, threads } = request;
  const blocks = await openBlobs(dir);
  if (mode === 'prepare') {
    const tokens = await blocks.put(tokenBytes(model, batch));
    return { checkpoint: await initialCheckpoint(model, 1, blocks), tokens, peakBytes: peakBytes() };
  }
  const ops: Partial<Record<OpName, number>> = {};
  const plain = await createWasmDevice({ threads });
  const device = mode === 'profile' ? timed(plain, ops) : plain;
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  const result = await executeWorkunit(unitOf(request), { device, blocks });
  const seconds = (performance.now() - start) / 1e3;
  const { user, system } = process.cpuUsage(cpu);
  const losses = await blocks.get(result.outputs['losses'] as Cid);
  const loss = new DataView(losses.buffer, losses.byteOffset).getFloat32(0, true);
  plain.destroy();
  const figures = { digest: resultDigest(result), loss, seconds, cpuSeconds: (user + system) / 1e6 };
  return { ...figures, peakBytes: peakBytes(), ...(mode === 'profile' ? { ops } : {}) };
}

if (import.meta.main) {
  const request = JSON.parse(process.argv[2] ?? '') as LargeRequest;
  console.log(JSON.stringify(await answer(request)));
}

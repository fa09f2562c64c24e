/**
 * What a contributor that comes back downloads a round: it holds checkpoint r and fetches what it takes to have r + 1, for every round of a real training, with one
 * lane, two and four. Counted is every byte of every block that it asks for, and the hint that names them; the checkpoint that it makes must be the one of the round.
 */
import { parameterCount } from '#kernels/model/layout.ts';
import { initialCheckpoint } from '#kernels/model/init.ts';
import { constant, toBits } from '#kernels/ops/math/cpu.ts';
import { runJob } from '#coordinator/planner/run-job.ts';
import { encodeCanonical } from '#protocol/codec/cbor.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import { writeFile } from '#protocol/messages/file.ts';
import type { SyncHint } from '#protocol/messages/frames.ts';
import type { Job } from '#protocol/messages/job.ts';
import type { BenchRow } from '#scripts/bench.ts';
import { ensureWasm } from '#scripts/build-wasm.ts';
import { generateCorpus } from '#scripts/corpus/generate.ts';
import { threadCompute } from '#workers/node/thread-compute.ts';
import { MemoryBlockCache } from '#workers/runtime/block-cache.ts';
import { catchUp, filesOf, holdsWhole } from '#workers/runtime/catch-up.ts';
import type { ComputeDevice } from '#workers/runtime/ports.ts';
import { systemClock } from '#workers/transport/platform.ts';
import { bounded, information } from '../rig/duel.ts';
import type { Say } from './suite.ts';

const bits = (x: number) => toBits(constant(x));
const quiet = () => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

function jobOf(lanes: number, quick: boolean): Omit<Job, 'corpus'> {
  return {
    v: 1,
    kind: 'train',
    name: 'returning',
    // 1.02 million parameters.
    model: quick ? { L: 1, C: 64, NH: 4, T: 32, V: 256 } : { L: 5, C: 128, NH: 4, T: 32, V: 256 },
    policy: 'i10sr',
    training: {
      lanes,
      ...{ steps: 8, batch: 4, lr: bits(1e-3), warmup: 4 },
      ...{ beta1: bits(0.9), beta2: bits(0.99), eps: bits(1e-8), weightDecay: bits(0.1) },
      ...{ outerLr: bits(0.7), outerMomentum: bits(0.9), heldOut: 8 },
    },
    seed: 5,
  };
}

export async function returningRows(say: Say, quick: boolean): Promise<BenchRow[]> {
  await ensureWasm();
  const device = await threadCompute({ backend: 'wasm' }).open(new AbortController().signal);
  try {
    const shares = new Map<number, number[]>();
    for (const lanes of [1, 2, 4]) {
      const found = await sharesOf(jobOf(lanes, quick), device);
      say(
        `  ${lanes} lanes: ${found.map((share) => share.toFixed(2)).join(', ')} bytes a parameter, by round`,
      );
      shares.set(lanes, found);
    }
    const worst = (of: readonly number[]) => Math.max(...of);
    return [
      bounded(
        'bytes a returning contributor downloads a round / parameters, worst round of 1, 2 and 4 lanes',
        worst([...shares.values()].flat()),
        'bytes',
        { atMost: 3.3, aim: 2 },
      ),
      ...[...shares].map(([lanes, found]) =>
        information(`the same with ${lanes} lanes`, worst(found), 'bytes'),
      ),
      information('parameters of that model', parameterCount(jobOf(1, quick).model), ''),
    ];
  } finally {
    await device.close();
  }
}

/** Bytes a parameter, for each round of a training. */
async function sharesOf(given: Omit<Job, 'corpus'>, device: ComputeDevice): Promise<number[]> {
  const rounds = 3;
  const blocks = new MemoryBlocks();
  const signal = new AbortController().signal;
  const job = {
    ...given,
    corpus: await writeFile(blocks, generateCorpus({ bytes: 256 << 10, seed: 1 }).text),
  };
  const hints: { hint: SyncHint; checkpoint: Cid }[] = [];
  let from = await initialCheckpoint(job.model, job.seed, blocks);
  const { steps, outerLr, outerMomentum } = job.training;
  const execute = (unit: Parameters<ComputeDevice['execute']>[0]) =>
    device.execute(unit, { blocks, signal, progress: quiet });
  await runJob(job, rounds, blocks, execute, {
    initial: initialCheckpoint,
    onUnit: ({ slot, outputs }) => {
      if (slot.kind !== 'outer') return;
      const { update, packed, checkpoint } = outputs as { update: Cid; packed: Cid; checkpoint: Cid };
      hints.push({
        hint: { from, updates: [{ update, packed }], steps, outerLr, outerMomentum },
        checkpoint,
      });
      from = checkpoint;
    },
  });
  const parameters = parameterCount(job.model);
  const shares: number[] = [];
  for (const each of hints) shares.push((await downloaded(blocks, device, each)) / parameters);
  return shares;
}

/** Bytes that a contributor fetches that holds what the hint begins with and nothing else. Throws unless it has the checkpoint whole afterwards. */
async function downloaded(
  blocks: MemoryBlocks,
  device: ComputeDevice,
  { hint, checkpoint }: { hint: SyncHint; checkpoint: Cid },
): Promise<number> {
  const cache = new MemoryBlockCache();
  const document = await blocks.get(hint.from);
  await cache.add(hint.from, document);
  for (const file of filesOf(hint.from, document))
    for (const cid of file.blocks) await cache.add(cid, await blocks.get(cid));
  let bytes = encodeCanonical(hint).byteLength;
  const source = {
    async fetch(cid: Cid) {
      const block = await blocks.get(cid);
      bytes += block.byteLength;
      return block;
    },
  };
  const ports = { cache, source, clock: systemClock, log, randomBytes: (n: number) => new Uint8Array(n) };
  const signal = new AbortController().signal;
  const isThere = await catchUp(ports, { hint, checkpoint, device, signal, onBytes: quiet });
  if (!isThere || !(await holdsWhole(cache, checkpoint)))
    throw new Error('The checkpoint was not made from its update.');
  return bytes;
}

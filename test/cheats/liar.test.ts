/** The lie in real numbers: other bits, but blocks, manifests and results that every program reads as if they were true. */
import { expect, it } from 'vitest';
import { runJob } from '#coordinator/planner/run-job.ts';
import { testJob, testText } from '#coordinator/testing/fake-programs.ts';
import { initialCheckpoint } from '#kernels/model/init.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import { writeFile } from '#protocol/messages/file.ts';
import { kernelCompute } from '#workers/runtime/kernel-compute.ts';
import type { Compute } from '#workers/runtime/ports.ts';
import { lyingCompute } from './liar.ts';

const never = new AbortController().signal;

async function train(compute: Compute) {
  const device = await compute.open(never);
  expect(await device.probe(never)).toBe(device.probeDigest);
  const blocks = new MemoryBlocks();
  const corpus = await writeFile(blocks, testText());
  return runJob(
    { ...testJob(), corpus },
    1,
    blocks,
    (unit) => device.execute(unit, { blocks, signal: never, progress: () => {} }),
    { initial: initialCheckpoint },
  );
}

it('lies about every unit, passes the probe, and its outputs are usable as inputs', async () => {
  const honest = await train(kernelCompute('reference'));
  const lies = await train(lyingCompute(kernelCompute('reference')));
  expect(lies.units).toHaveLength(honest.units.length);
  const first = honest.units.filter(({ slot }) => slot.kind === 'first' || slot.kind === 'train');
  for (const { unit, digest } of first) {
    const lie = lies.units.find((record) => record.unit === unit);
    expect(lie?.unit).toBe(unit);
    expect(lie?.digest).not.toBe(digest);
  }
  expect(lies.checkpoints).not.toEqual(honest.checkpoints);
});

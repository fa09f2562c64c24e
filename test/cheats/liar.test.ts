/** The lie in real numbers: other bits, but blocks, manifests and results that every program reads as if they were true. */
import { expect, it } from 'vitest';
import { runJob } from '#coordinator/planner/run-job.ts';
import { testJob, testText } from '#coordinator/testing/fake-programs.ts';
import { initialCheckpoint } from '#kernels/model/init.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import { writeFile } from '#protocol/messages/file.ts';
import { type Result, resultDigest, type Workunit } from '#protocol/messages/workunit.ts';
import { kernelCompute } from '#workers/runtime/kernel-compute.ts';
import { lyingCompute } from './liar.ts';

const never = new AbortController().signal;
const honest = await kernelCompute('reference').open(never);
const liar = await lyingCompute(kernelCompute('reference')).open(never);

type Execute = (unit: Workunit, options: Parameters<typeof honest.execute>[1]) => Promise<Result>;

async function train(execute: Execute) {
  const blocks = new MemoryBlocks();
  const corpus = await writeFile(blocks, testText());
  const options = { blocks, signal: never, progress: () => {} };
  return runJob({ ...testJob(), corpus }, 1, blocks, (unit) => execute(unit, options), {
    initial: initialCheckpoint,
  });
}

it('passes the probe, since the device is not at fault', async () => {
  expect(await liar.probe(never)).toBe(honest.probeDigest);
});

it('gives every unit a digest that differs from the honest one', async () => {
  let lies = 0;
  await train(async (unit, options) => {
    const truth = await honest.execute(unit, options);
    const lie = await liar.execute(unit, options);
    expect(lie.unit).toBe(truth.unit);
    expect(Object.keys(lie.outputs).sort()).toEqual(Object.keys(truth.outputs).sort());
    for (const [name, cid] of Object.entries(truth.outputs)) expect(lie.outputs[name]).not.toBe(cid);
    expect(resultDigest(lie)).not.toBe(resultDigest(truth));
    lies++;
    return truth;
  });
  expect(lies).toBe(5);
});

it('would change the model, were it believed: its updates are merged without complaint', async () => {
  const truth = await train((unit, options) => honest.execute(unit, options));
  const believed = await train((unit, options) =>
    (unit.program.startsWith('train.steps') ? liar : honest).execute(unit, options),
  );
  expect(believed.checkpoints).toHaveLength(1);
  expect(believed.checkpoints).not.toEqual(truth.checkpoints);
});

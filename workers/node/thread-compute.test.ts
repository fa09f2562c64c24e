/** The real kernels in the real thread, on the reference device. */
import { afterEach, describe, expect, it } from 'vitest';
import { createDevice, executeWorkunit } from '#kernels/index.ts';
import { initialCheckpoint } from '#kernels/model/init.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import type { Workunit } from '#protocol/messages/workunit.ts';
import type { ComputeDevice } from '../runtime/ports.ts';
import { threadCompute } from './thread-compute.ts';

const model = { L: 1, C: 16, NH: 2, T: 16, V: 256 };
const never = new AbortController().signal;
const noProgress = () => {};
let device: ComputeDevice | null = null;
afterEach(() => device?.close());

async function open(name?: string): Promise<ComputeDevice> {
  device = await threadCompute({ backend: 'reference', ...(name ? { name } : {}) }).open(never);
  return device;
}

/** A unit that takes `sequences` steps. */
async function evalUnit(blocks: MemoryBlocks, sequences: number): Promise<Workunit> {
  const checkpoint = await initialCheckpoint(model, 1, blocks);
  const tokens = await blocks.put(new Uint8Array(sequences * (model.T + 1)).map((_, i) => i * 7));
  return {
    v: 1,
    program: 'eval.loss@1+i10sr',
    inputs: { checkpoint, tokens },
    params: { sequences, batch: 1 },
    seed: 3,
  };
}

describe('threadCompute', () => {
  it('passes the probe and gives the bits that this thread gives', async () => {
    const opened = await open('local-1');
    expect(opened.info.label).toMatch(/^local-1: /);
    expect(opened.programs).toContain('eval.loss@1+i10sr');
    expect(await opened.probe(never)).toBe(opened.probeDigest);
    const here = new MemoryBlocks();
    const unit = await evalUnit(here, 4);
    const expected = await executeWorkunit(unit, { device: await createDevice('reference'), blocks: here });
    const there = new MemoryBlocks();
    await evalUnit(there, 4);
    const progress: number[] = [];
    const result = await opened.execute(unit, {
      blocks: there,
      signal: never,
      progress: (done) => progress.push(done),
    });
    expect(result).toEqual(expected);
    const loss = expected.outputs['loss'] as string;
    expect(await there.get(loss)).toEqual(await here.get(loss));
    expect(progress.at(-1)).toBe(4);
  });

  it('stops between steps when told to, and is good for the next unit', async () => {
    const opened = await open();
    const blocks = new MemoryBlocks();
    const abort = new AbortController();
    const long = await evalUnit(blocks, 5_000);
    let steps = 0;
    const progress = () => void (++steps === 2 && abort.abort());
    const execution = opened.execute(long, { blocks, signal: abort.signal, progress });
    await expect(execution).rejects.toMatchObject({ code: 'cancelled' });
    expect(steps).toBeLessThan(5_000);
    const short = await evalUnit(blocks, 1);
    expect(
      (await opened.execute(short, { blocks, signal: never, progress: noProgress })).outputs,
    ).toHaveProperty('loss');
  });

  it('carries errors of programs and of the block store with their code', async () => {
    const opened = await open();
    const blocks = new MemoryBlocks();
    const unit = await evalUnit(blocks, 2);
    const wrong = { ...unit, params: { sequences: 2, batch: 3 } };
    const options = { blocks, signal: never, progress: noProgress };
    await expect(opened.execute(wrong, options)).rejects.toMatchObject({
      code: expect.stringMatching(/^bad_/),
    });
    const empty = { ...options, blocks: new MemoryBlocks() };
    await expect(opened.execute(unit, empty)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('ends at once when closed, whatever it is at', async () => {
    const opened = await open();
    const blocks = new MemoryBlocks();
    const started = Promise.withResolvers<void>();
    const long = await evalUnit(blocks, 60_000);
    const execution = opened.execute(long, { blocks, signal: never, progress: () => started.resolve() });
    const outcome = execution.catch((error: unknown) => error);
    await started.promise;
    await opened.close();
    expect(await outcome).toMatchObject({ code: 'device_lost' });
    await expect(Promise.race([opened.lost, Promise.resolve('not lost')])).resolves.toBe('not lost');
  });

  it('does not open when it is no longer wanted', async () => {
    const signal = AbortSignal.abort();
    await expect(threadCompute({ backend: 'reference' }).open(signal)).rejects.toMatchObject({
      code: 'cancelled',
    });
  });
});

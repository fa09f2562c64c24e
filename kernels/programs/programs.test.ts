/** Programs on the reference device: the committed digests, and clear errors for units that nobody could run. */
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import type { ModelConfig } from '#protocol/messages/model.ts';
import type { Workunit } from '#protocol/messages/workunit.ts';
import { createCpuDevice } from '../device/cpu.ts';
import { readCheckpoint, writeCheckpoint } from '../model/checkpoint.ts';
import { initialCheckpoint } from '../model/init.ts';
import { runProgramVectors } from '../vectors/programs.ts';
import { executeWorkunit, programIds } from './registry.ts';

const device = createCpuDevice();
const model: ModelConfig = { L: 1, C: 8, NH: 2, T: 4, V: 16 };

async function evalUnit(change: Partial<Workunit> = {}): Promise<[Workunit, MemoryBlocks]> {
  const blocks = new MemoryBlocks();
  const checkpoint = await initialCheckpoint(model, 1, blocks);
  const tokens = await blocks.put(new Uint8Array(2 * (model.T + 1)));
  const unit: Workunit = {
    v: 1,
    program: 'eval.loss@1+i15',
    inputs: { checkpoint, tokens },
    params: { sequences: 2, batch: 1 },
    seed: 0,
  };
  return [{ ...unit, ...change }, blocks];
}

describe('programs', () => {
  it('give the committed digests', async () => {
    const committed = JSON.parse(
      await readFile(new URL('../vectors/programs.json', import.meta.url), 'utf8'),
    );
    expect(await runProgramVectors(device)).toEqual(committed);
  });

  it('are listed with their policies', () => {
    expect(programIds()).toContain('train.steps@1+i10sr');
    expect(programIds()).toContain('train.outer@2');
  });

  it('count steps in the checkpoint and start from zero moments', async () => {
    const blocks = new MemoryBlocks();
    const { step, m, weights } = await readCheckpoint(blocks, await initialCheckpoint(model, 1, blocks));
    expect(step).toBe(0);
    expect(m.codes.every((code) => code === 0)).toBe(true);
    expect(new Set(weights).size).toBeGreaterThan(100);
  });

  it.each<[string, Partial<Workunit>, string]>([
    ['an unknown program', { program: 'mine.bitcoin@1' }, 'unknown_program'],
    ['a policy where there is none', { program: 'train.outer@2+i15' }, 'unknown_program'],
    ['no policy where one is due', { program: 'eval.loss@1' }, 'unknown_program'],
    ['a wrong parameter', { params: { sequences: 2, batch: 0 } }, 'bad_request'],
    ['an extra parameter', { params: { sequences: 2, batch: 1, debug: true } }, 'bad_request'],
    ['tokens of the wrong size', { params: { sequences: 3, batch: 1 } }, 'bad_input'],
    ['a missing input', { inputs: {} }, 'bad_input'],
  ])('refuse %s', async (_, change, code) => {
    const [unit, blocks] = await evalUnit(change);
    await expect(executeWorkunit(unit, { device, blocks })).rejects.toMatchObject({ code });
  });

  it('refuse a token beyond the vocabulary', async () => {
    const [unit, blocks] = await evalUnit();
    const tokens = await blocks.put(new Uint8Array(2 * (model.T + 1)).fill(model.V));
    const bad = { ...unit, inputs: { ...unit.inputs, tokens } };
    await expect(executeWorkunit(bad, { device, blocks })).rejects.toMatchObject({ code: 'bad_input' });
  });

  it('refuse a checkpoint that holds what no device may store', async () => {
    const [unit, blocks] = await evalUnit();
    const checkpoint = await readCheckpoint(blocks, unit.inputs['checkpoint'] as string);
    checkpoint.weights[3] = Number.NaN;
    const bad = {
      ...unit,
      inputs: { ...unit.inputs, checkpoint: await writeCheckpoint(blocks, checkpoint) },
    };
    await expect(executeWorkunit(bad, { device, blocks })).rejects.toMatchObject({ code: 'bad_input' });
  });

  it('stop between steps when cancelled', async () => {
    const [unit, blocks] = await evalUnit();
    const controller = new AbortController();
    const run = executeWorkunit(unit, {
      device,
      blocks,
      signal: controller.signal,
      progress: () => controller.abort(),
    });
    await expect(run).rejects.toMatchObject({ code: 'cancelled' });
  });
});

/** Catching up by updates: the CIDs of the checkpoints that train.outer made, from plain and packed updates, over one round and several. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Cid } from '#protocol/codec/cid.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import type { Param } from '#protocol/messages/workunit.ts';
import { createCpuDevice } from '../../device/cpu.ts';
import { initialCheckpoint } from '../../model/init.ts';
import { executeWorkunit } from '../registry.ts';
import { outerStep, type TrainedRound, trainedRounds } from '../testing/trained-rounds.ts';

const device = createCpuDevice();
const model = { L: 1, C: 8, NH: 2, T: 4, V: 16 };
const rounds = 3;
const blocks = new MemoryBlocks();
let made: TrainedRound[] = [];

beforeAll(async () => {
  made = await trainedRounds(blocks, model, rounds);
});

async function execute(program: string, inputs: Record<string, Cid>, params: Record<string, Param>) {
  const unit = { v: 1 as const, program, inputs, params, seed: 3 };
  return (await executeWorkunit(unit, { device, blocks })).outputs as Record<string, Cid>;
}

async function apply(from: number, to: number, packed: boolean): Promise<Cid> {
  const updates = made.slice(from, to).map((round) => (packed ? round.packed : round.update));
  const inputs = Object.fromEntries(updates.map((cid, i) => [`update${i}`, cid]));
  const checkpoint = made[from]?.before as Cid;
  const params = { rounds: to - from, packed, ...outerStep };
  return (await execute('train.apply@1', { checkpoint, ...inputs }, params))['checkpoint'] as Cid;
}

describe('train.apply', () => {
  it.each([true, false])(
    'makes the checkpoint of every round from the one before (packed: %s)',
    async (packed) => {
      for (let r = 0; r < rounds; r++) expect(await apply(r, r + 1, packed)).toBe(made[r]?.checkpoint);
    },
  );

  it.each([true, false])('catches up on several rounds (packed: %s)', async (packed) => {
    expect(await apply(0, rounds, packed)).toBe(made[rounds - 1]?.checkpoint);
  });

  it('fetches no moments of rounds in between', async () => {
    const asked: Cid[] = [];
    const watched = {
      put: (bytes: Uint8Array, code?: number) => blocks.put(bytes, code),
      get: (cid: Cid) => (asked.push(cid), blocks.get(cid)),
    };
    const inputs = {
      checkpoint: made[0]?.before as Cid,
      update0: made[0]?.update as Cid,
      update1: made[1]?.update as Cid,
    };
    const unit = {
      v: 1 as const,
      program: 'train.apply@1',
      inputs,
      params: { rounds: 2, packed: false, ...outerStep },
      seed: 0,
    };
    const { outputs } = await executeWorkunit(unit, { device, blocks: watched });
    expect(outputs['checkpoint']).toBe(made[1]?.checkpoint);
    // Documents and delta of both, m and s of the last; four files and the document of the checkpoint.
    expect(asked).toHaveLength(2 + 4 + 5);
  });

  it('comes to another CID with a false update, and says no to one of another model', async () => {
    const params = { rounds: 1, packed: false, ...outerStep };
    const inputs = { checkpoint: made[0]?.before as Cid, update0: made[1]?.update as Cid };
    expect((await execute('train.apply@1', inputs, params))['checkpoint']).not.toBe(made[0]?.checkpoint);
    const foreign = await initialCheckpoint({ ...model, L: 2 }, 4, blocks);
    await expect(execute('train.apply@1', { ...inputs, checkpoint: foreign }, params)).rejects.toMatchObject({
      code: 'bad_input',
    });
  });

  it('is not asked of old rounds: train.outer@1 still makes what it made', async () => {
    const { before, checkpoint } = made[0] as (typeof made)[number];
    const unit = { checkpoint: before, update0: (made[0] as (typeof made)[number]).update };
    const outputs = await execute('train.outer@1', unit, { lanes: 1, ...outerStep });
    expect(Object.keys(outputs)).toEqual(['checkpoint', 'update']);
    expect(outputs['checkpoint']).toBe(checkpoint); // the mean of one lane is that lane
  });
});

/** A few rounds of a small model with one lane, on the reference: what there was before each round, and what its train.outer made. For tests. */
import type { Cid } from '#protocol/codec/cid.ts';
import type { BlockStore } from '#protocol/messages/file.ts';
import { encodeTokens, type ModelConfig } from '#protocol/messages/model.ts';
import { createCpuDevice } from '../../device/cpu.ts';
import { initialCheckpoint } from '../../model/init.ts';
import { constant, lowbias32, toBits } from '../../ops/math/cpu.ts';
import { executeWorkunit } from '../registry.ts';
import { trainStepsFrom } from '../train-steps/params.ts';

export interface TrainedRound {
  before: Cid;
  checkpoint: Cid;
  update: Cid;
  packed: Cid;
}

export const outerStep = {
  outerLr: toBits(constant(0.9)),
  outerMomentum: toBits(constant(0.7)),
  steps: 2,
};

export async function trainedRounds(
  blocks: BlockStore,
  model: ModelConfig,
  rounds: number,
): Promise<TrainedRound[]> {
  const device = createCpuDevice();
  const run = async (program: string, inputs: Record<string, Cid>, params: object) => {
    const unit = { v: 1 as const, program, inputs, params: { ...params }, seed: 3 };
    return (await executeWorkunit(unit, { device, blocks })).outputs;
  };
  const made: TrainedRound[] = [];
  let before = await initialCheckpoint(model, 4, blocks);
  for (let round = 0; round < rounds; round++) {
    const count = outerStep.steps * (model.T + 1);
    const drawn = Array.from({ length: count }, (_, i) => lowbias32(50 * round + i) % model.V);
    const tokens = await blocks.put(encodeTokens(drawn, model));
    const params = trainStepsFrom({ steps: outerStep.steps, batch: 1, lr: () => 0.01 });
    const lane = await run('train.steps@1+i15', { checkpoint: before, tokens }, params);
    const inputs = { checkpoint: before, update0: lane['update'] as Cid };
    const outputs = await run('train.outer@2', inputs, { lanes: 1, ...outerStep });
    made.push({ before, ...(outputs as Omit<TrainedRound, 'before'>) });
    before = outputs['checkpoint'] as Cid;
  }
  return made;
}

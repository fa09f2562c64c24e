/**
 * `train.outer@2`: the lanes' updates of one round -> the next checkpoint.
 *
 * Inputs: `checkpoint`, `update0` .. `update{lanes-1}` (outputs of train.steps). Outputs: `checkpoint`, and `update`, the averaged and
 * re-quantised values that were applied: who holds the old checkpoint computes the new one from them (train.apply). `packed` is the same update coded
 * for transport (model/packed-update.ts). `train.outer@1` is without it; it is planned no more and still run, so that old rounds can be audited.
 */
import * as v from 'valibot';
import type { ModelConfig } from '#protocol/messages/job.ts';
import { u32Schema } from '#protocol/messages/workunit.ts';
import { parameterCount } from '../../model/layout.ts';

export const trainOuter = 'train.outer@2';
export const trainOuterUnpacked = 'train.outer@1';

export function isOuter(program: string): boolean {
  return program === trainOuter || program === trainOuterUnpacked;
}

export const trainOuterParams = v.strictObject({
  lanes: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(60)),
  /** Local steps of the round, added to the checkpoint's step count. */
  steps: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(1000)),
  outerLr: u32Schema,
  outerMomentum: u32Schema,
});
export type TrainOuterParams = v.InferOutput<typeof trainOuterParams>;

export function trainOuterOperations(model: ModelConfig, lanes: number): number {
  return parameterCount(model) * (3 * lanes + 8);
}

/**
 * `train.apply@1`: a checkpoint and the updates of the rounds after it -> the checkpoint after the last of them.
 *
 * Inputs: `checkpoint`, `update0` .. `update{rounds-1}`, oldest first: outputs of train.outer, `packed` ones or plain ones. Output: `checkpoint`. Nobody
 * is paid for it: a contributor runs it for itself, to fetch a round's update in place of a checkpoint, and the CID says whether it is right.
 */
import * as v from 'valibot';
import { limits } from '#protocol/limits.ts';
import { u32Schema } from '#protocol/messages/workunit.ts';

export const trainApply = 'train.apply@1';

export const trainApplyParams = v.strictObject({
  rounds: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(limits.syncRoundsMax)),
  /** Of each round, as its train.outer had them. */
  steps: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(1000)),
  outerLr: u32Schema,
  outerMomentum: u32Schema,
  packed: v.boolean(),
});

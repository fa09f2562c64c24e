/**
 * `eval.loss@1+policy`: mean cross-entropy of a checkpoint over given windows of tokens.
 *
 * Inputs: `checkpoint`, `tokens` (raw: sequences windows of T + 1 tokens, as of train.steps). Output: `loss` (raw: one f32, nats per token).
 */
import * as v from 'valibot';
import type { ModelConfig } from '#protocol/messages/job.ts';
import { forwardOperations } from '../train-steps/spec.ts';

export const evalLoss = 'eval.loss@1';

export const evalLossParams = v.pipe(
  v.strictObject({
    sequences: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(65_536)),
    /** Sequences computed at a time; must divide `sequences`. Part of the order of the sum. */
    batch: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(1024)),
  }),
  v.check((p) => p.sequences % p.batch === 0, 'batch must divide sequences'),
);
export type EvalLossParams = v.InferOutput<typeof evalLossParams>;

export function evalLossOperations(model: ModelConfig, params: EvalLossParams): number {
  return forwardOperations(model, params.sequences);
}

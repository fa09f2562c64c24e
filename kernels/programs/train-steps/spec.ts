/**
 * `train.steps@1+policy`: H local AdamW steps from a checkpoint (weights and moments) on given windows of tokens.
 *
 * Inputs: `checkpoint` (manifest), `tokens` (raw block: steps * batch windows of T + 1 tokens, in order of use, 1, 2 or 4 bytes each: `tokenBytes`).
 * Outputs: `update` (int8-row weight delta, m, root of v: see model/checkpoint.ts), `losses` (raw: one f32 a step, nats per token).
 * All real parameters are f32 bits; lr and the bias corrections are lists with one entry a step, because powers are not portable.
 */
import * as v from 'valibot';
import { type ModelConfig, policySchema } from '#protocol/messages/job.ts';
import { u32Schema } from '#protocol/messages/workunit.ts';
import { architectureOf, upRows } from '../../model/architecture.ts';
import { parameterCount } from '../../model/layout.ts';

export const trainSteps = 'train.steps@1';

const perStep = v.pipe(v.array(u32Schema), v.minLength(1), v.maxLength(1000));

export const trainStepsParams = v.pipe(
  v.strictObject({
    steps: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(1000)),
    batch: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(1024)),
    lr: perStep,
    /** 1 / (1 - beta1^t) and 1 / (1 - beta2^t), t counting from the first step of the job. */
    bias1: perStep,
    bias2: perStep,
    beta1: u32Schema,
    beta2: u32Schema,
    eps: u32Schema,
    weightDecay: u32Schema,
    /** Gradients are scaled down to this norm, of all of them together; not at all unless given. */
    clipNorm: v.exactOptional(u32Schema),
  }),
  v.check(
    (p) => [p.lr, p.bias1, p.bias2].every((list) => list.length === p.steps),
    'lr, bias1 and bias2 need one entry a step',
  ),
);
export type TrainStepsParams = v.InferOutput<typeof trainStepsParams>;

export { policySchema };

/** Multiply-adds of one forward pass over `sequences` windows of T tokens, in exact integer products. */
export function forwardOperations(model: ModelConfig, sequences: number): number {
  const shape = architectureOf(model);
  const { L, C, T, V, QKV, HID, experts } = shape;
  const tokens = sequences * T;
  const mlp = (upRows(shape) + HID) * C * (experts?.k ?? 1) + (experts ? experts.E * C : 0);
  const linear = L * (QKV * C + C * C + mlp) + C * V;
  return tokens * (linear + L * 2 * T * C);
}

/** Exact operations of the unit: forward once, backward twice, and the optimiser's elementwise work. */
export function trainStepsOperations(
  model: ModelConfig,
  params: Pick<TrainStepsParams, 'steps' | 'batch'>,
): number {
  return params.steps * (3 * forwardOperations(model, params.batch) + 16 * parameterCount(model));
}

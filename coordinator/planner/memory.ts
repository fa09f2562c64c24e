/**
 * What a unit takes of a device's memory, roughly: what it is placed by. Who really knows is the device (kernels/model/memory.ts), which gives a
 * unit back that does not fit; an estimate that is off by some tenths costs a lease now and then.
 */
import type { Job, ModelConfig } from '#protocol/messages/job.ts';
import { architectureOf } from '#kernels/model/architecture.ts';
import { parameterCount } from '#kernels/model/layout.ts';

/** Weight, gradient and both moments of AdamW in f32, and the operands of the exact products. */
const trainingBytes = 4 * 4 + 2;
const inferenceBytes = 4 + 2;

/** `train.steps`: parameters with gradient and moments, and every activation that the backward pass reads. */
export function trainMemory(model: ModelConfig, batch: number): number {
  return trainingBytes * parameterCount(model) + activations(model, batch, true);
}

/** `eval.loss`: the forward pass alone, one block at a time. */
export function evalMemory(model: ModelConfig, batch: number): number {
  return inferenceBytes * parameterCount(model) + activations(model, batch, false);
}

/** `train.outer`: the checkpoint, its momentum, and the updates as they are added. */
export function outerMemory(model: ModelConfig): number {
  return 5 * 4 * parameterCount(model);
}

function activations(model: Job['model'], batch: number, kept: boolean): number {
  const { L, C, NH, T, V, QKV, HID } = architectureOf(model);
  const tokens = batch * T;
  const perBlock = tokens * (6 * C + QKV + 3 * HID) + batch * NH * T * T;
  return 4 * ((kept ? L : 1) * perBlock + 2 * tokens * V);
}

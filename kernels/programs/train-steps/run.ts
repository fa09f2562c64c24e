/** `train.steps`: see spec.ts. */
import { AtollError } from '#protocol/errors.ts';
import { parseValue } from '#protocol/codec/cbor.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { littleEndian } from '../../model/checkpoint.ts';
import { Gpt, type Optimiser } from '../../model/gpt.ts';
import { memoryOf } from '../../model/memory.ts';
import { StoredCheckpoint, writeTrainingUpdate } from '../../model/training-state.ts';
import { fromBits, lowbias32 } from '../../ops/math/cpu.ts';
import { checkCancelled, inputCid, type Program, type ProgramContext, readTokens } from '../program.ts';
import { trainSteps, type TrainStepsParams, trainStepsParams } from './spec.ts';

export const trainStepsProgram: Program = { id: trainSteps, hasPolicy: true, run };

/** Seed of step `index` of a unit. */
export function stepSeed(unitSeed: number, index: number): number {
  return lowbias32((unitSeed + Math.imul(index, 0xc2b2ae35)) >>> 0);
}

async function run(context: ProgramContext): Promise<Record<string, Cid>> {
  const { unit, device, policy, blocks, signal } = context;
  const params = parseValue(trainStepsParams, unit.params);
  const checkpoint = await StoredCheckpoint.open(blocks, inputCid(unit, 'checkpoint'), signal);
  const { model } = checkpoint;
  const windows = await readTokens(context, params.steps * params.batch, model);
  const optimiser = optimiserOf(params);
  const options = { keepGradients: optimiser.clipNorm !== undefined };
  // Throws before anything is allocated when this model cannot fit.
  memoryOf(device, { model, batch: params.batch, policy, optimiser, ...options });
  const gpt = new Gpt(device, model, params.batch, policy, true, options);
  for (const { spec, value } of gpt.parameters) await checkpoint.loadWeights(device, spec, value);
  await checkpoint.loadMoments(device, gpt.parameters);
  const step = gpt.recordStep(optimiser);
  const losses = new Float32Array(params.steps);
  const tokensPerStep = params.batch * (model.T + 1);
  for (let i = 0; i < params.steps; i++) {
    checkCancelled(signal);
    gpt.setTokens(windows.subarray(i * tokensPerStep, (i + 1) * tokensPerStep));
    gpt.setScalars({
      seed: stepSeed(unit.seed, i),
      lr: params.lr[i] as number,
      bias1: params.bias1[i] as number,
      bias2: params.bias2[i] as number,
    });
    await device.run(step);
    losses[i] = await gpt.readLoss();
    context.progress?.(i + 1, params.steps);
  }
  const update = await writeTrainingUpdate(device, blocks, gpt.parameters, checkpoint);
  return { update, losses: await blocks.put(littleEndian(losses)) };
}

function optimiserOf(params: TrainStepsParams): Optimiser {
  return {
    beta1: real(params.beta1, 'beta1'),
    beta2: real(params.beta2, 'beta2'),
    eps: real(params.eps, 'eps', 2 ** -100),
    weightDecay: real(params.weightDecay, 'weightDecay'),
    ...(params.clipNorm === undefined ? {} : { clipNorm: real(params.clipNorm, 'clipNorm', 2 ** -100) }),
  };
}

/** Throws `bad_input` unless the bits are a finite value of at least `min`. */
function real(bits: number, name: string, min = 0): number {
  const value = fromBits(bits);
  if (!(value >= min) || value > 1e9) throw new AtollError('bad_input', `${name} is out of range.`);
  return value;
}

/** `train.steps`: see spec.ts. */
import { AtollError } from '#protocol/errors.ts';
import { parseValue } from '#protocol/codec/cbor.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import type { Device } from '../../device/device.ts';
import { type Checkpoint, littleEndian, readCheckpoint, writeUpdate } from '../../model/checkpoint.ts';
import { Gpt, type Parameter } from '../../model/gpt.ts';
import { decodeRows, RowEncoder, squares } from '../../model/rows.ts';
import { fromBits, lowbias32 } from '../../ops/math/cpu.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { checkCancelled, inputCid, type Program, type ProgramContext, readTokens } from '../program.ts';
import { trainSteps, trainStepsParams } from './spec.ts';

export const trainStepsProgram: Program = { id: trainSteps, hasPolicy: true, run };

/** Seed of step `index` of a unit. */
export function stepSeed(unitSeed: number, index: number): number {
  return lowbias32((unitSeed + Math.imul(index, 0xc2b2ae35)) >>> 0);
}

async function run(context: ProgramContext): Promise<Record<string, Cid>> {
  const { unit, device, policy, blocks, signal } = context;
  const params = parseValue(trainStepsParams, unit.params);
  const checkpoint = await readCheckpoint(blocks, inputCid(unit, 'checkpoint'), signal);
  const { model } = checkpoint;
  const windows = await readTokens(context, params.steps * params.batch, model);
  const gpt = new Gpt(device, model, params.batch, policy, true);
  loadState(device, gpt.parameters, checkpoint);
  const step = gpt.recordStep({
    beta1: real(params.beta1, 'beta1'),
    beta2: real(params.beta2, 'beta2'),
    eps: real(params.eps, 'eps', 2 ** -100),
    weightDecay: real(params.weightDecay, 'weightDecay'),
  });
  const losses = new Float32Array(params.steps);
  const bytesPerStep = params.batch * (model.T + 1);
  for (let i = 0; i < params.steps; i++) {
    checkCancelled(signal);
    gpt.setTokens(windows.subarray(i * bytesPerStep, (i + 1) * bytesPerStep));
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
  const update = await encodeUpdate(device, gpt.parameters, checkpoint);
  return { update: await writeUpdate(blocks, update), losses: await blocks.put(littleEndian(losses)) };
}

/** Throws `bad_input` unless the bits are a finite value of at least `min`. */
function real(bits: number, name: string, min = 0): number {
  const value = fromBits(bits);
  if (!(value >= min) || value > 1e9) throw new AtollError('bad_input', `${name} is out of range.`);
  return value;
}

/** Weights as they are, moments decoded from their int8 rows. */
function loadState(device: Device, parameters: readonly Parameter[], { weights, m, s }: Checkpoint): void {
  const layout = parameters.map(({ spec }) => spec);
  for (const [i, { spec, value, m: first, v: second }] of parameters.entries()) {
    device.write(value, weights.subarray(spec.offset, spec.offset + spec.rows * spec.cols));
    device.write(first as Tensor, decodeRows(m, layout, i));
    device.write(second as Tensor, squares(decodeRows(s, layout, i, true)));
  }
}

/** delta = weights now - weights before, m, and the root of v, as int8 rows. Overwrites v and the gradients. */
async function encodeUpdate(
  device: Device,
  parameters: readonly Parameter[],
  { model, weights }: Checkpoint,
) {
  const before = parameters.map(({ spec, grad }) => {
    device.write(grad as Tensor, weights.subarray(spec.offset, spec.offset + spec.rows * spec.cols));
    return grad as Tensor;
  });
  const recording = device.record((ops) => {
    for (const [i, { spec, value, v }] of parameters.entries()) {
      const size = spec.rows * spec.cols;
      const start = before[i] as Tensor;
      ops.elementwise({ kind: 'sub', a: value, b: start, dst: start, size });
      ops.elementwise({ kind: 'sqrt', a: v as Tensor, dst: v as Tensor, size });
    }
  });
  await device.run(recording);
  const encoder = new RowEncoder(
    device,
    parameters.map(({ spec }) => spec),
  );
  return {
    model,
    delta: await encoder.encode(before),
    m: await encoder.encode(parameters.map(({ m }) => m as Tensor)),
    s: await encoder.encode(parameters.map(({ v }) => v as Tensor)),
  };
}

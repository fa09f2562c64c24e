/**
 * The application of an update: checkpoint r + averaged delta -> the weights and outer momentum of checkpoint r+1.
 *
 * `train.outer` applies what it has averaged through here, and so does whoever holds checkpoint r and has fetched the update: the same values in the
 * same order, so on every device the same bits, and the CID of what comes out says whether it was done right.
 */
import { AtollError } from '#protocol/errors.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import type { BlockStore } from '#protocol/messages/file.ts';
import type { Device } from '../../device/device.ts';
import { type Checkpoint, type Update, writeCheckpoint } from '../../model/checkpoint.ts';
import { type ParameterSpec, parameterLayout } from '../../model/layout.ts';
import { decodeRows, type Rows } from '../../model/rows.ts';
import { fromBits } from '../../ops/math/cpu.ts';

/** How a round's update is applied: the parameters of its `train.outer`. */
export interface OuterStep {
  /** Local steps of the round. */
  steps: number;
  /** f32 bits. */
  outerLr: number;
  outerMomentum: number;
}

/** Weights and outer momentum: the part of a checkpoint that an update changes by arithmetic. The rest it replaces. */
export type Applied = Pick<Checkpoint, 'step' | 'weights' | 'momentum'>;

/**
 * One outer step of the decoded delta on every parameter; see ops/elementwise/spec.ts for the arithmetic. `base` is not written to.
 * Throws `bad_input` on rates out of range.
 */
export async function applyDelta(
  device: Device,
  base: Applied & Pick<Checkpoint, 'model'>,
  delta: Rows,
  step: OuterStep,
): Promise<Applied> {
  const lr = rate(step.outerLr, 'outerLr');
  const mu = rate(step.outerMomentum, 'outerMomentum');
  const layout = parameterLayout(base.model);
  const scope = device.scope();
  try {
    return { step: base.step + step.steps, ...(await nesterov(scope, layout, base, delta, lr, mu)) };
  } finally {
    scope.destroy();
  }
}

async function nesterov(
  device: Device,
  layout: readonly ParameterSpec[],
  base: Pick<Checkpoint, 'weights' | 'momentum'>,
  delta: Rows,
  lr: number,
  mu: number,
): Promise<Pick<Checkpoint, 'weights' | 'momentum'>> {
  const weights = new Float32Array(base.weights.length);
  const momentum = new Float32Array(base.momentum.length);
  const tensors = layout.map((spec, i) => {
    const size = spec.rows * spec.cols;
    const [p, m, d] = [device.tensor(size), device.tensor(size), device.tensor(size)];
    device.write(p, part(base.weights, spec));
    device.write(m, part(base.momentum, spec));
    device.write(d, decodeRows(delta, layout, i));
    return { p, momentum: m, delta: d, size };
  });
  const recording = device.record((ops) => {
    for (const tensor of tensors) ops.nesterov({ ...tensor, lr, mu });
  });
  await device.run(recording);
  for (const [i, spec] of layout.entries()) {
    const { p, momentum: m } = tensors[i] as (typeof tensors)[number];
    weights.set(await device.read(p), spec.offset);
    momentum.set(await device.read(m), spec.offset);
  }
  return { weights, momentum };
}

/** Checkpoint r + update -> checkpoint r+1, put into `blocks`; its CID. Throws `bad_input`. */
export async function applyUpdate(
  device: Device,
  blocks: BlockStore,
  checkpoint: Checkpoint,
  update: Update,
  step: OuterStep,
): Promise<Cid> {
  const applied = await applyDelta(device, checkpoint, update.delta, step);
  return writeCheckpoint(blocks, { model: checkpoint.model, ...applied, m: update.m, s: update.s });
}

function part(values: Float32Array, { offset, rows, cols }: ParameterSpec): Float32Array {
  return values.subarray(offset, offset + rows * cols);
}

function rate(bits: number, name: string): number {
  const value = fromBits(bits);
  if (!(value >= 0 && value <= 10)) throw new AtollError('bad_input', `${name} is out of range.`);
  return value;
}

/** `train.outer`: see spec.ts. */
import { AtollError } from '#protocol/errors.ts';
import { parseValue } from '#protocol/codec/cbor.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import type { Device } from '../../device/device.ts';
import {
  readCheckpoint,
  readUpdate,
  type Update,
  writeCheckpoint,
  writeUpdate,
} from '../../model/checkpoint.ts';
import { type ParameterSpec, parameterLayout } from '../../model/layout.ts';
import { decodeRows, RowEncoder, type Rows } from '../../model/rows.ts';
import { constant, fromBits } from '../../ops/math/cpu.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { checkCancelled, inputCid, type Program, type ProgramContext } from '../program.ts';
import { trainOuter, trainOuterParams } from './spec.ts';

export const trainOuterProgram: Program = { id: trainOuter, hasPolicy: false, run };

async function run(context: ProgramContext): Promise<Record<string, Cid>> {
  const { unit, device, blocks, signal } = context;
  const params = parseValue(trainOuterParams, unit.params);
  const lr = rate(params.outerLr, 'outerLr');
  const mu = rate(params.outerMomentum, 'outerMomentum');
  const checkpoint = await readCheckpoint(blocks, inputCid(unit, 'checkpoint'), signal);
  const { model } = checkpoint;
  const updates: Update[] = [];
  for (let lane = 0; lane < params.lanes; lane++) {
    updates.push(await readUpdate(blocks, inputCid(unit, `update${lane}`), model, signal));
    context.progress?.(lane + 1, params.lanes + 2);
  }
  checkCancelled(signal);
  const layout = parameterLayout(model);
  const average = new Averager(device, layout);
  const update: Update = {
    model,
    delta: await average.of(updates.map(({ delta }) => delta)),
    m: await average.of(updates.map(({ m }) => m)),
    s: await average.of(updates.map(({ s }) => s)),
  };
  checkCancelled(signal);
  context.progress?.(params.lanes + 1, params.lanes + 2);
  const next = await applyDelta(device, layout, checkpoint, update.delta, lr, mu);
  const step = checkpoint.step + params.steps;
  const written = await writeCheckpoint(blocks, { model, step, ...next, m: update.m, s: update.s });
  context.progress?.(params.lanes + 2, params.lanes + 2);
  return { checkpoint: written, update: await writeUpdate(blocks, update) };
}

function rate(bits: number, name: string): number {
  const value = fromBits(bits);
  if (!(value >= 0 && value <= 10)) throw new AtollError('bad_input', `${name} is out of range.`);
  return value;
}

/** Mean over lanes of int8 rows, as int8 rows: values added in lane order, times 1/lanes, quantised again. */
class Averager {
  private readonly device: Device;
  private readonly layout: readonly ParameterSpec[];
  private readonly totals: Tensor[];
  private readonly terms: Tensor[];
  private readonly encoder: RowEncoder;

  constructor(device: Device, layout: readonly ParameterSpec[]) {
    this.device = device;
    this.layout = layout;
    this.totals = layout.map(({ rows, cols }) => device.tensor(rows * cols));
    this.terms = layout.map(({ rows, cols }) => device.tensor(rows * cols));
    this.encoder = new RowEncoder(device, layout);
  }

  async of(lanes: readonly Rows[]): Promise<Rows> {
    const { device, layout, totals, terms } = this;
    const sized = layout.map(({ rows, cols }) => rows * cols);
    const addTerm = device.record((ops) => {
      for (const [i, size] of sized.entries()) {
        const dst = totals[i] as Tensor;
        ops.elementwise({ kind: 'add', a: dst, b: terms[i] as Tensor, dst, size });
      }
    });
    const divide = device.record((ops) => {
      for (const [i, size] of sized.entries()) {
        const dst = totals[i] as Tensor;
        ops.elementwise({ kind: 'scale', a: dst, factor: constant(1 / lanes.length), dst, size });
      }
    });
    for (const [lane, rows] of lanes.entries()) {
      for (const i of layout.keys()) {
        device.write((lane === 0 ? totals : terms)[i] as Tensor, decodeRows(rows, layout, i));
      }
      if (lane > 0) await device.run(addTerm);
    }
    await device.run(divide);
    return this.encoder.encode(totals);
  }
}

/** One outer Nesterov step on the decoded delta; see ops/elementwise/spec.ts. */
async function applyDelta(
  device: Device,
  layout: readonly ParameterSpec[],
  { weights, momentum }: { weights: Float32Array; momentum: Float32Array },
  delta: Rows,
  lr: number,
  mu: number,
): Promise<{ weights: Float32Array; momentum: Float32Array }> {
  const part = (values: Float32Array, { offset, rows, cols }: ParameterSpec) =>
    values.subarray(offset, offset + rows * cols);
  const tensors = layout.map((spec, i) => {
    const size = spec.rows * spec.cols;
    const [p, m, d] = [device.tensor(size), device.tensor(size), device.tensor(size)];
    device.write(p, part(weights, spec));
    device.write(m, part(momentum, spec));
    device.write(d, decodeRows(delta, layout, i));
    return { p, momentum: m, delta: d, size };
  });
  const recording = device.record((ops) => {
    for (const tensor of tensors) ops.nesterov({ ...tensor, lr, mu });
  });
  await device.run(recording);
  const next = { weights: new Float32Array(weights.length), momentum: new Float32Array(weights.length) };
  for (const [i, spec] of layout.entries()) {
    const { p, momentum: m } = tensors[i] as (typeof tensors)[number];
    next.weights.set(await device.read(p), spec.offset);
    next.momentum.set(await device.read(m), spec.offset);
  }
  return next;
}

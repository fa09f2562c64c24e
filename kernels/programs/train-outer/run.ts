/** `train.outer`: see spec.ts. */
import { parseValue } from '#protocol/codec/cbor.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import type { Device } from '../../device/device.ts';
import { readCheckpoint, readUpdate, type Update, writeUpdate } from '../../model/checkpoint.ts';
import { type ParameterSpec, parameterLayout } from '../../model/layout.ts';
import { writePackedUpdate } from '../../model/packed-update.ts';
import { decodeRows, RowEncoder, type Rows } from '../../model/rows.ts';
import { constant } from '../../ops/math/cpu.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { checkCancelled, inputCid, type Program, type ProgramContext } from '../program.ts';
import { applyUpdate } from './apply.ts';
import { trainOuter, trainOuterParams, trainOuterUnpacked } from './spec.ts';

export const trainOuterProgram: Program = { id: trainOuter, hasPolicy: false, run };
export const trainOuterUnpackedProgram: Program = { id: trainOuterUnpacked, hasPolicy: false, run };

async function run(context: ProgramContext): Promise<Record<string, Cid>> {
  const { unit, device, blocks, signal } = context;
  const params = parseValue(trainOuterParams, unit.params);
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
  const written = await applyUpdate(device, blocks, checkpoint, update, params);
  context.progress?.(params.lanes + 2, params.lanes + 2);
  const outputs = { checkpoint: written, update: await writeUpdate(blocks, update) };
  if (unit.program === trainOuterUnpacked) return outputs;
  return { ...outputs, packed: await writePackedUpdate(blocks, checkpoint, update) };
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

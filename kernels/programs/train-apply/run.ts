/** `train.apply`: see spec.ts. */
import { parseValue } from '#protocol/codec/cbor.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import {
  type Checkpoint,
  readCheckpoint,
  readDelta,
  readUpdate,
  type Update,
  writeCheckpoint,
} from '../../model/checkpoint.ts';
import { readPackedUpdate } from '../../model/packed-update.ts';
import { checkCancelled, inputCid, type Program, type ProgramContext } from '../program.ts';
import { applyDelta } from '../train-outer/apply.ts';
import { trainApply, trainApplyParams } from './spec.ts';

export const trainApplyProgram: Program = { id: trainApply, hasPolicy: false, run };

async function run(context: ProgramContext): Promise<Record<string, Cid>> {
  const { unit, device, blocks, signal } = context;
  const params = parseValue(trainApplyParams, unit.params);
  let checkpoint = await readCheckpoint(blocks, inputCid(unit, 'checkpoint'), signal);
  for (let round = 0; round < params.rounds; round++) {
    const isLast = round === params.rounds - 1;
    const change = await read(context, checkpoint, inputCid(unit, `update${round}`), params.packed, isLast);
    checkCancelled(signal);
    const applied = await applyDelta(device, checkpoint, change.delta, params);
    checkpoint = { ...checkpoint, ...change, ...applied };
    context.progress?.(round + 1, params.rounds);
  }
  return { checkpoint: await writeCheckpoint(blocks, checkpoint) };
}

/** Of plain updates only the last one's moments are of use: the others' are not even fetched. */
async function read(
  { blocks, signal }: ProgramContext,
  checkpoint: Checkpoint,
  cid: Cid,
  packed: boolean,
  isLast: boolean,
): Promise<Pick<Update, 'delta'> & Partial<Update>> {
  if (packed) return readPackedUpdate(blocks, cid, checkpoint, signal);
  const { model } = checkpoint;
  if (isLast) return readUpdate(blocks, cid, model, signal);
  return { delta: await readDelta(blocks, cid, model, signal) };
}

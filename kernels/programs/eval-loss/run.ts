/** `eval.loss`: see spec.ts. */
import { parseValue } from '#protocol/codec/cbor.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { littleEndian } from '../../model/checkpoint.ts';
import { Gpt } from '../../model/gpt.ts';
import { StoredCheckpoint } from '../../model/training-state.ts';
import { add, constant, mul } from '../../ops/math/cpu.ts';
import { checkCancelled, inputCid, type Program, type ProgramContext, readTokens } from '../program.ts';
import { evalLoss, evalLossParams } from './spec.ts';

export const evalLossProgram: Program = { id: evalLoss, hasPolicy: true, run };

/** Mean over batches, added in order, of each batch's mean. */
async function run(context: ProgramContext): Promise<Record<string, Cid>> {
  const { unit, device, policy, blocks, signal } = context;
  const { sequences, batch } = parseValue(evalLossParams, unit.params);
  const checkpoint = await StoredCheckpoint.open(blocks, inputCid(unit, 'checkpoint'), signal);
  const { model } = checkpoint;
  const windows = await readTokens(context, sequences, model);
  const gpt = new Gpt(device, model, batch, policy, false);
  for (const { spec, value } of gpt.parameters) await checkpoint.loadWeights(device, spec, value);
  const forward = gpt.recordForward();
  const count = sequences / batch;
  const size = batch * (model.T + 1);
  let total = 0;
  for (let i = 0; i < count; i++) {
    checkCancelled(signal);
    gpt.setTokens(windows.subarray(i * size, (i + 1) * size));
    await device.run(forward);
    total = add(total, await gpt.readLoss());
    context.progress?.(i + 1, count);
  }
  return { loss: await blocks.put(littleEndian(Float32Array.of(mul(total, constant(1 / count))))) };
}

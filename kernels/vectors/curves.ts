/**
 * Loss curves: the walking skeleton's model trained on English text by one `train.steps` workunit. Fifty steps under each policy are committed in
 * curves.json, bit for bit; any change to a definition, however small its effect, shows up there.
 *
 * english.txt is the beginning of the plays of Shakespeare as collected in "tiny shakespeare" (public domain), 64 KiB.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import type { ModelConfig, Policy } from '#protocol/messages/model.ts';
import type { Workunit } from '#protocol/messages/workunit.ts';
import type { Device } from '../device/device.ts';
import { initialCheckpoint } from '../model/init.ts';
import { lowbias32, toBits } from '../ops/math/cpu.ts';
import { executeWorkunit } from '../programs/registry.ts';
import { trainStepsFrom } from '../programs/train-steps/params.ts';

/** What `npm start` trains. */
const model: ModelConfig = { L: 2, C: 64, NH: 4, T: 64, V: 256 };
const batch = 8;
const [learningRate, warmUp] = [0.004, 20];

/** Steps of the committed curves. */
export const curveSteps = 50;

/** Loss of each step in nats per token. `text` is english.txt. */
export async function trainingLosses(
  device: Device,
  policy: Policy,
  text: Uint8Array,
  steps: number,
): Promise<Float32Array> {
  const blocks = new MemoryBlocks();
  const checkpoint = await initialCheckpoint(model, 11, blocks);
  const tokens = await blocks.put(windows(text, steps));
  const { outputs } = await executeWorkunit(unit(policy, { checkpoint, tokens }, steps), { device, blocks });
  const bytes = await blocks.get(outputs['losses'] as Cid);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: steps }, (_, i) => view.getFloat32(4 * i, true));
}

function unit(policy: Policy, inputs: Workunit['inputs'], steps: number): Workunit {
  const params = trainStepsFrom({ steps, batch, lr: (t) => learningRate * Math.min(1, t / warmUp) });
  return { v: 1, program: `train.steps@1+${policy}`, inputs, params, seed: 5 };
}

/** Windows of T + 1 bytes from places of the text that a hash chose. */
function windows(text: Uint8Array, steps: number): Uint8Array {
  const width = model.T + 1;
  const bytes = new Uint8Array(steps * batch * width);
  for (let i = 0; i < steps * batch; i++) {
    const at = lowbias32(i + 1) % (text.length - width);
    bytes.set(text.subarray(at, at + width), i * width);
  }
  return bytes;
}

/** A curve as curves.json holds it: each loss by its bits. */
export function curveBits(losses: Float32Array): string[] {
  return Array.from(losses, (loss) => toBits(loss).toString(16).padStart(8, '0'));
}

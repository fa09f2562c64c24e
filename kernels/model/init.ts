/**
 * The first checkpoint of a job, a pure function of model and seed: uniform weights of the layout's standard deviation, made of exact operations only.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';
import type { BlockStore, File } from '#protocol/messages/file.ts';
import type { ModelConfig } from '#protocol/messages/model.ts';
import { constant, lowbias32, mul } from '../ops/math/cpu.ts';
import { zeroExponent } from '../ops/quantize/spec.ts';
import { littleEndian, putCheckpointDocument } from './checkpoint.ts';
import { FileWriter } from './file-stream.ts';
import { type ParameterSpec, parameterCount, parameterLayout } from './layout.ts';
import { rowCount } from './rows.ts';

/** Weights in layout order. */
export function initialWeights(model: ModelConfig, seed: number): Float32Array {
  const weights = new Float32Array(parameterCount(model));
  for (const spec of parameterLayout(model)) {
    fill(weights.subarray(spec.offset, spec.offset + spec.rows * spec.cols), spec, 0, seed);
  }
  return weights;
}

/** Elements `from` on of a parameter. Element i of all is (u - 2^23) * 2^-23 * a with u a 24-bit hash of (seed, i) and a = std * sqrt(3). */
function fill(values: Float32Array, { offset, init }: ParameterSpec, from: number, seed: number): void {
  if ('value' in init) {
    values.fill(init.value);
    return;
  }
  const base = lowbias32(seed);
  // The root is rounded to 20 bits, so that a last-place difference between engines' Math.sqrt cannot reach a bit.
  const half = constant(Math.round(init.std * Math.sqrt(3) * 2 ** 20) / 2 ** 20);
  for (let i = 0; i < values.length; i++) {
    const u = lowbias32((base + Math.imul(offset + from + i, 0x9e3779b9)) >>> 0) >>> 8;
    values[i] = mul((u - 2 ** 23) / 2 ** 23, half);
  }
}

/** Puts the first checkpoint's blocks into `blocks`, a piece at a time, and returns its CID. */
export async function initialCheckpoint(model: ModelConfig, seed: number, blocks: BlockStore): Promise<Cid> {
  const layout = parameterLayout(model);
  const size = parameterCount(model);
  const rows = rowCount(layout);
  const zero = () => constantBytes(blocks, [[4 * size, 0]]);
  const zeroRows = () =>
    constantBytes(blocks, [
      [size, 0],
      [rows, zeroExponent],
    ]);
  return putCheckpointDocument(blocks, {
    v: 1,
    kind: 'checkpoint',
    model,
    step: 0,
    weights: await writeInitialWeights(blocks, layout, seed),
    momentum: await zero(),
    m: await zeroRows(),
    s: await zeroRows(),
  });
}

async function writeInitialWeights(
  blocks: BlockStore,
  layout: readonly ParameterSpec[],
  seed: number,
): Promise<File> {
  const writer = new FileWriter(blocks);
  for (const spec of layout) {
    const size = spec.rows * spec.cols;
    for (let at = 0; at < size; at += limits.blockBytesMax) {
      const piece = new Float32Array(Math.min(limits.blockBytesMax, size - at));
      fill(piece, spec, at, seed);
      await writer.write(littleEndian(piece));
    }
  }
  return writer.finish();
}

/** A file of runs of one signed byte each. */
async function constantBytes(
  blocks: BlockStore,
  runs: readonly (readonly [count: number, value: number])[],
): Promise<File> {
  const writer = new FileWriter(blocks);
  for (const [count, value] of runs) {
    const piece = new Uint8Array(Math.min(count, limits.blockBytesMax)).fill(value & 255);
    for (let at = 0; at < count; at += piece.length) await writer.write(piece.subarray(0, count - at));
  }
  return writer.finish();
}

/**
 * Checkpoints and updates as content-addressed documents.
 *
 * A checkpoint holds all that a lane needs, so that lanes are stateless: weights and outer momentum as f32, Adam's moments (m and the root of v) as int8
 * rows. An update holds one round's weight delta and new moments, all int8 rows: 3 bytes a parameter.
 */
import * as v from 'valibot';
import { encodeCanonical, parseExact } from '#protocol/codec/cbor.ts';
import { type Cid, cborCode } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import {
  type BlockStore,
  type File,
  fileSchema,
  fileToLinks,
  readFile,
  writeFile,
} from '#protocol/messages/file.ts';
import { type ModelConfig, modelConfigSchema } from '#protocol/messages/job.ts';
import { clampMax, tiny } from '../ops/math/cpu.ts';
import { type ParameterSpec, parameterLayout } from './layout.ts';
import { elementCount, type Rows, rowsFromBytes, rowsToBytes } from './rows.ts';

const step = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const checkpointSchema = v.strictObject({
  v: v.literal(1),
  kind: v.literal('checkpoint'),
  model: modelConfigSchema,
  /** Optimiser steps that led here, of one lane. */
  step,
  weights: fileSchema,
  /** The outer optimiser's momentum. */
  momentum: fileSchema,
  m: fileSchema,
  s: fileSchema,
});

const updateSchema = v.strictObject({
  v: v.literal(1),
  kind: v.literal('update'),
  model: modelConfigSchema,
  delta: fileSchema,
  m: fileSchema,
  s: fileSchema,
});

export type CheckpointDocument = v.InferOutput<typeof checkpointSchema>;
export type UpdateDocument = v.InferOutput<typeof updateSchema>;

function encodeCheckpoint(document: CheckpointDocument): Uint8Array {
  const { weights, momentum, m, s } = document;
  const files = { weights, momentum, m, s };
  return encodeCanonical({ ...document, ...linked(files) });
}

function encodeUpdate(document: UpdateDocument): Uint8Array {
  const { delta, m, s } = document;
  return encodeCanonical({ ...document, ...linked({ delta, m, s }) });
}

function linked(files: Record<string, File>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(files).map(([name, file]) => [name, fileToLinks(file)]));
}

export interface Checkpoint {
  model: ModelConfig;
  step: number;
  /** All parameters in layout order. */
  weights: Float32Array;
  momentum: Float32Array;
  m: Rows;
  /** Roots of the second moments. */
  s: Rows;
}

export interface Update {
  model: ModelConfig;
  delta: Rows;
  m: Rows;
  s: Rows;
}

export async function writeCheckpoint(blocks: BlockStore, checkpoint: Checkpoint): Promise<Cid> {
  const { model, step, weights, momentum, m, s } = checkpoint;
  const document: CheckpointDocument = {
    v: 1,
    kind: 'checkpoint',
    model,
    step,
    weights: await writeFile(blocks, littleEndian(weights)),
    momentum: await writeFile(blocks, littleEndian(momentum)),
    m: await writeFile(blocks, rowsToBytes(m)),
    s: await writeFile(blocks, rowsToBytes(s)),
  };
  return putCheckpointDocument(blocks, document);
}

/** Throws `bad_request` on a document that is not a checkpoint of ours. */
export async function readCheckpointDocument(
  blocks: BlockStore,
  cid: Cid,
  signal?: AbortSignal,
): Promise<CheckpointDocument> {
  return parseExact(checkpointSchema, await blocks.get(cid, signal), encodeCheckpoint);
}

export function putCheckpointDocument(blocks: BlockStore, document: CheckpointDocument): Promise<Cid> {
  return blocks.put(encodeCheckpoint(document), cborCode);
}

export function putUpdateDocument(blocks: BlockStore, document: UpdateDocument): Promise<Cid> {
  return blocks.put(encodeUpdate(document), cborCode);
}

/** Throws `bad_input`, `bad_request` on a document that is not a checkpoint of ours. */
export async function readCheckpoint(
  blocks: BlockStore,
  cid: Cid,
  signal?: AbortSignal,
): Promise<Checkpoint> {
  const document = await readCheckpointDocument(blocks, cid, signal);
  const { model, step } = document;
  const layout = parameterLayout(model);
  return {
    model,
    step,
    weights: await readFloats(blocks, document.weights, layout, signal),
    momentum: await readFloats(blocks, document.momentum, layout, signal),
    m: rowsFromBytes(await readFile(blocks, document.m, signal), layout),
    s: rowsFromBytes(await readFile(blocks, document.s, signal), layout),
  };
}

export async function writeUpdate(blocks: BlockStore, { model, delta, m, s }: Update): Promise<Cid> {
  const document: UpdateDocument = {
    v: 1,
    kind: 'update',
    model,
    delta: await writeFile(blocks, rowsToBytes(delta)),
    m: await writeFile(blocks, rowsToBytes(m)),
    s: await writeFile(blocks, rowsToBytes(s)),
  };
  return putUpdateDocument(blocks, document);
}

/** Throws `bad_request` on a document that is not an update of ours, `bad_input` when it is for another model than `model`. */
async function readUpdateDocument(
  blocks: BlockStore,
  cid: Cid,
  model: ModelConfig,
  signal?: AbortSignal,
): Promise<UpdateDocument> {
  const document = parseExact(updateSchema, await blocks.get(cid, signal), encodeUpdate);
  if (JSON.stringify(document.model) !== JSON.stringify(model)) {
    throw new AtollError('bad_input', 'The update is for another model than the checkpoint.');
  }
  return document;
}

/** The weight delta alone: a third of the update's bytes. Throws like `readUpdate`. */
export async function readDelta(
  blocks: BlockStore,
  cid: Cid,
  model: ModelConfig,
  signal?: AbortSignal,
): Promise<Rows> {
  const { delta } = await readUpdateDocument(blocks, cid, model, signal);
  return rowsFromBytes(await readFile(blocks, delta, signal), parameterLayout(model));
}

/** Throws `bad_request`, `bad_input` when the update is for another model than `model`. */
export async function readUpdate(
  blocks: BlockStore,
  cid: Cid,
  model: ModelConfig,
  signal?: AbortSignal,
): Promise<Update> {
  const document = await readUpdateDocument(blocks, cid, model, signal);
  const layout = parameterLayout(model);
  const rows = async (file: File) => rowsFromBytes(await readFile(blocks, file, signal), layout);
  return { model, delta: await rows(document.delta), m: await rows(document.m), s: await rows(document.s) };
}

async function readFloats(
  blocks: BlockStore,
  file: File,
  layout: readonly ParameterSpec[],
  signal?: AbortSignal,
): Promise<Float32Array> {
  const size = elementCount(layout);
  if (file.size !== 4 * size) {
    throw new AtollError('bad_input', `Expected ${4 * size} bytes of f32, the file has ${file.size}.`);
  }
  return pf32(await readFile(blocks, file, signal));
}

/** Little-endian bytes as f32. Throws `bad_input` on any value outside PF32's storable range. */
export function pf32(bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float32Array(bytes.byteLength / 4);
  for (let i = 0; i < values.length; i++) {
    const x = view.getFloat32(4 * i, true);
    const size = Math.abs(x);
    if (!(size <= clampMax) || (size < tiny && !Object.is(x, 0))) {
      throw new AtollError('bad_input', `Element ${i} is not a storable value (NUMERICS: Values).`);
    }
    values[i] = x;
  }
  return values;
}

export function littleEndian(values: Float32Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * values.length));
  for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, values[i] as number, true);
  return new Uint8Array(view.buffer);
}

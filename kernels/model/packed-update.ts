/**
 * An update coded for transport: what checkpoint r and the update's other values say about each value is not sent again. About 15 bits a parameter where the
 * int8 rows have 24.
 *
 * The root of a second moment is coded as the difference from what it was, under how large that is; a first moment under the size of that root (|m| rarely
 * passes it); a weight's delta under sign and size of m / s, the direction of Adam's last step. Whoever holds checkpoint r decodes the very rows. Arithmetic:
 * integers, and doubles under + * / and floor alone, so every machine writes the same bytes.
 */
import * as v from 'valibot';
import { encodeCanonical, parseExact } from '#protocol/codec/cbor.ts';
import { type Cid, cborCode } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { type BlockStore, fileSchema, fileToLinks, readFile, writeFile } from '#protocol/messages/file.ts';
import { modelConfigSchema } from '#protocol/messages/job.ts';
import type { Checkpoint, Update } from './checkpoint.ts';
import { type ParameterSpec, parameterLayout } from './layout.ts';
import { type ByteCoder, ByteModel, RangeDecoder, RangeEncoder } from './range-coder.ts';
import { checkCodes, checkExponents, type Rows, zeroRows } from './rows.ts';

const packedSchema = v.strictObject({
  v: v.literal(1),
  kind: v.literal('packed-update'),
  model: modelConfigSchema,
  file: fileSchema,
});
type PackedDocument = v.InferOutput<typeof packedSchema>;

/** What of a checkpoint the coding leans on. */
export type PackingBase = Pick<Checkpoint, 'model' | 'm' | 's'>;

export async function writePackedUpdate(blocks: BlockStore, base: PackingBase, update: Update): Promise<Cid> {
  const file = await writeFile(blocks, packUpdate(base, update));
  return blocks.put(encodePacked({ v: 1, kind: 'packed-update', model: base.model, file }), cborCode);
}

/** Throws `bad_request` on what is no packed update, `bad_input` on one that does not fit the checkpoint. */
export async function readPackedUpdate(
  blocks: BlockStore,
  cid: Cid,
  base: PackingBase,
  signal?: AbortSignal,
): Promise<Update> {
  const document = parseExact(packedSchema, await blocks.get(cid, signal), encodePacked);
  if (JSON.stringify(document.model) !== JSON.stringify(base.model)) {
    throw new AtollError('bad_input', 'The packed update is for another model than the checkpoint.');
  }
  return unpackUpdate(base, await readFile(blocks, document.file, signal));
}

function encodePacked(document: PackedDocument): Uint8Array {
  return encodeCanonical({ ...document, file: fileToLinks(document.file) });
}

export function packUpdate(base: PackingBase, update: Update): Uint8Array {
  const encoder = new RangeEncoder();
  codeUpdate(encoder, base, update);
  return encoder.finish();
}

/** Throws `bad_input` on bytes that are not an update of this checkpoint's model. */
export function unpackUpdate(base: PackingBase, bytes: Uint8Array): Update {
  const layout = parameterLayout(base.model);
  const update = { model: base.model, delta: zeroRows(layout), m: zeroRows(layout), s: zeroRows(layout) };
  const decoder = new RangeDecoder(bytes);
  codeUpdate(decoder, base, update);
  decoder.end();
  for (const { codes, exponents } of [update.delta, update.m, update.s]) {
    checkCodes(codes);
    checkExponents(exponents);
  }
  return update;
}

/** Levels of a magnitude: four an octave, from an eighth of a step to 256 steps. */
const levels = 49;
const signedLevels = levels + 1;

/** Reads `update` where `coder` encodes, fills it where it decodes. */
function codeUpdate(coder: ByteCoder, base: PackingBase, { model, delta, m, s }: Update): void {
  const layout = parameterLayout(model);
  codeExponents(coder, s, base.s);
  codeExponents(coder, m, base.m);
  codeExponents(coder, delta, m);
  codeRoots(coder, layout, s, base.s);
  codeMoments(coder, layout, m, s);
  codeDeltas(coder, layout, delta, m, s);
}

/** As differences from another stream's, less the difference of the row above. */
function codeExponents(coder: ByteCoder, { exponents }: Rows, { exponents: like }: Rows): void {
  const probabilities = new ByteModel(1);
  let drift = 0;
  for (let r = 0; r < exponents.length; r++) {
    const expected = (like[r] as number) + drift;
    const coded = coder.code(probabilities, 0, ((exponents[r] as number) - expected) & 255);
    exponents[r] = expected + coded; // modulo 256, as both were
    drift = (exponents[r] as number) - (like[r] as number);
  }
}

function codeRoots(coder: ByteCoder, layout: readonly ParameterSpec[], s: Rows, before: Rows): void {
  const probabilities = new ByteModel(levels);
  eachRow(layout, (row, from, to) => {
    const scale = powerOf2((before.exponents[row] as number) - (s.exponents[row] as number));
    for (let i = from; i < to; i++) {
      const x = (before.codes[i] as number) * scale;
      const expected = Math.max(-127, Math.min(127, Math.floor(x + 0.5)));
      const coded = coder.code(probabilities, levelOf(x), ((s.codes[i] as number) - expected) & 255);
      s.codes[i] = expected + coded;
    }
  });
}

function codeMoments(coder: ByteCoder, layout: readonly ParameterSpec[], m: Rows, s: Rows): void {
  const probabilities = new ByteModel(levels);
  eachRow(layout, (row, from, to) => {
    const scale = powerOf2((s.exponents[row] as number) - (m.exponents[row] as number));
    for (let i = from; i < to; i++) {
      const context = levelOf((s.codes[i] as number) * scale);
      m.codes[i] = coder.code(probabilities, context, (m.codes[i] as number) & 255);
    }
  });
}

/** |m / s| is about 1 at most; so many levels tell apart what matters. */
const ratioScale = 40;

function codeDeltas(coder: ByteCoder, layout: readonly ParameterSpec[], delta: Rows, m: Rows, s: Rows): void {
  const probabilities = new ByteModel(signedLevels);
  eachRow(layout, (row, from, to) => {
    const scale = ratioScale * powerOf2((m.exponents[row] as number) - (s.exponents[row] as number));
    for (let i = from; i < to; i++) {
      // A root that vanished in the code stands for half a step (rows.ts).
      const x = ((m.codes[i] as number) * scale) / ((s.codes[i] as number) || 0.5);
      const context = 2 * (levelOf(x) >> 1) + (x < 0 ? 1 : 0);
      delta.codes[i] = coder.code(probabilities, context, (delta.codes[i] as number) & 255);
    }
  });
}

type Visit = (row: number, from: number, to: number) => void;

function eachRow(layout: readonly ParameterSpec[], visit: Visit): void {
  let row = 0;
  for (const { offset, rows, cols } of layout) {
    for (let r = 0; r < rows; r++) visit(row++, offset + r * cols, offset + (r + 1) * cols);
  }
}

/** 0 below an eighth, then four an octave. */
function levelOf(x: number): number {
  const eighths = Math.floor(Math.min(256, Math.abs(x)) * 8);
  if (eighths === 0) return 0;
  const octave = 31 - Math.clz32(eighths);
  return 1 + 4 * octave + (((eighths << 2) >> octave) & 3);
}

const powers = Float64Array.from({ length: 512 });
powers[256] = 1;
for (let i = 1; i < 256; i++) {
  powers[256 + i] = 2 * (powers[255 + i] as number);
  powers[256 - i] = (powers[257 - i] as number) / 2;
}

/** 2^e for differences of row exponents, without a library's power function. */
function powerOf2(e: number): number {
  return powers[256 + e] as number;
}

/**
 * Workunit and Result: the two documents everything else is built on.
 *
 * A workunit is a pure function of content-addressed inputs; its id is its CID. A result names its outputs by CID; its digest is its CID.
 * Both are canonical DAG-CBOR, so equal work has equal ids and equal answers have equal digests.
 */
import * as v from 'valibot';
import { encodeCanonical, linkOf, linkSchema, parseExact } from '../codec/cbor.ts';
import { type Cid, cborCode, cidOfSync } from '../codec/cid.ts';
import { limits } from '../limits.ts';
import { decodePlainResult } from './plain-result.ts';

const nameSchema = v.pipe(v.string(), v.regex(/^[a-z][a-zA-Z0-9.-]{0,63}$/, 'expected a short name'));

/** `name@version` or `name@version+policy`. */
export const programIdSchema = v.pipe(
  v.string(),
  v.maxLength(96),
  v.regex(/^[a-z][a-z0-9.]*@[1-9][0-9]*(\+[a-z0-9]+)?$/, 'expected name@version or name@version+policy'),
);

const integerSchema = v.pipe(v.number(), v.safeInteger('expected an integer'));

/** Parameters are integers, strings, booleans, byte strings and lists of integers: no floats, they are not portable. */
export const paramSchema = v.union([
  integerSchema,
  v.pipe(v.string(), v.maxLength(1024)),
  v.boolean(),
  v.custom<Uint8Array>((value) => value instanceof Uint8Array, 'expected bytes'),
  v.pipe(v.array(integerSchema), v.maxLength(65_536)),
  v.record(nameSchema, integerSchema),
]);
export type Param = v.InferOutput<typeof paramSchema>;

/** A number of 32 bits: seeds, and f32 values given as their bits. */
export const u32Schema = v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(0xffffffff));

export const workunitSchema = v.strictObject({
  v: v.literal(1),
  program: programIdSchema,
  inputs: v.pipe(
    v.record(nameSchema, linkSchema),
    v.check((inputs) => Object.keys(inputs).length <= limits.workunitInputsMax, 'too many inputs'),
  ),
  params: v.record(nameSchema, paramSchema),
  seed: u32Schema,
});
export type Workunit = v.InferOutput<typeof workunitSchema>;

export const resultSchema = v.strictObject({
  v: v.literal(1),
  unit: linkSchema,
  outputs: v.pipe(
    v.record(nameSchema, linkSchema),
    v.check((outputs) => {
      const count = Object.keys(outputs).length;
      return count >= 1 && count <= limits.resultOutputsMax;
    }, 'expected 1 to 16 outputs'),
  ),
});
export type Result = v.InferOutput<typeof resultSchema>;

function links(named: Record<string, Cid>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(named).map(([name, cid]) => [name, linkOf(cid)]));
}

export function encodeWorkunit(unit: Workunit): Uint8Array {
  return encodeCanonical({ ...unit, inputs: links(unit.inputs) });
}

/** Throws `bad_request` or `too_large`. */
export function decodeWorkunit(bytes: Uint8Array): Workunit {
  return parseExact(workunitSchema, bytes, encodeWorkunit);
}

export function workunitId(unit: Workunit): Cid {
  return cidOfSync(encodeWorkunit(unit), cborCode);
}

export function encodeResult(result: Result): Uint8Array {
  return encodeCanonical({ ...result, unit: linkOf(result.unit), outputs: links(result.outputs) });
}

/** Throws `bad_request` or `too_large`. */
export function decodeResult(bytes: Uint8Array): Result {
  return decodePlainResult(bytes) ?? decodeAnyResult(bytes);
}

/** By the general codec. */
export function decodeAnyResult(bytes: Uint8Array): Result {
  return parseExact(resultSchema, bytes, encodeResult);
}

/** The digest that consensus counts: the CID of the result. */
export function resultDigest(result: Result): Cid {
  return cidOfSync(encodeResult(result), cborCode);
}

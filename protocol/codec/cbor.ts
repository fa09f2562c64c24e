/**
 * Canonical DAG-CBOR: the only bytes that are hashed or signed.
 *
 * Encoding is canonical by construction (`@ipld/dag-cbor` sorts keys and uses shortest forms). Decoding re-encodes and
 * compares, so that one value has exactly one accepted encoding and therefore one CID.
 */
import * as dagCbor from '@ipld/dag-cbor';
import { CID } from 'multiformats/cid';
import * as v from 'valibot';
import { AtollError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type Cid, isOurs } from './cid.ts';
import { encodeFlat } from './flat-map.ts';

/** Always a plain `Uint8Array` on memory of its own: the library may return a Node `Buffer`, or a view of a shared pool. */
export function encodeCanonical(value: unknown): Uint8Array {
  return (isPlain(value) ? encodeFlat(value) : null) ?? encodeWhole(value);
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** `encodeCanonical` by the general codec, whatever the value. */
export function encodeWhole(value: unknown): Uint8Array {
  const bytes = dagCbor.encode(value);
  const own = bytes.constructor === Uint8Array && bytes.byteLength === bytes.buffer.byteLength;
  return own ? bytes : new Uint8Array(bytes);
}

/** Decodes bytes that must be canonical. Throws `too_large` or `bad_request`. */
export function decodeCanonical(bytes: Uint8Array, sizeBytesMax: number = limits.documentBytesMax): unknown {
  if (bytes.byteLength > sizeBytesMax) {
    throw new AtollError(
      'too_large',
      `The document has ${bytes.byteLength} bytes; ${sizeBytesMax} are allowed.`,
    );
  }
  checkDepth(bytes);
  let value: unknown;
  let again: Uint8Array;
  try {
    value = dagCbor.decode(bytes);
    // Inside the try: the encoder throws on a map that poses as a CID object ('/' equal to `bytes`).
    again = dagCbor.encode(value);
  } catch (cause) {
    throw new AtollError('bad_request', 'The bytes are not DAG-CBOR.', { cause });
  }
  if (!sameBytes(again, bytes)) {
    throw new AtollError('bad_request', 'The DAG-CBOR is not in canonical form.');
  }
  return value;
}

/** Decodes a canonical document and checks it against a schema. Throws `bad_request` naming the first fault. */
export function parseDocument<S extends v.GenericSchema>(
  schema: S,
  bytes: Uint8Array,
  sizeBytesMax?: number,
): v.InferOutput<S> {
  return parseValue(schema, decodeCanonical(bytes, sizeBytesMax));
}

/**
 * `parseDocument` for documents that have an id: what is decoded must encode to the same bytes. A schema alone does not see
 * every surplus key (Valibot skips `constructor`, `toString` and their like), and then two CIDs would name one value.
 */
export function parseExact<S extends v.GenericSchema>(
  schema: S,
  bytes: Uint8Array,
  encode: (value: v.InferOutput<S>) => Uint8Array,
): v.InferOutput<S> {
  const value = parseDocument(schema, bytes);
  if (!sameBytes(encode(value), bytes)) {
    throw new AtollError('bad_request', 'The document has keys that do not belong to it.');
  }
  return value;
}

/** Checks a value against a schema. Throws `bad_request` naming the first fault and where it is. */
export function parseValue<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const parsed = v.safeParse(schema, value, { abortEarly: true });
  if (parsed.success) return parsed.output;
  const issue = parsed.issues[0];
  const path = v.getDotPath(issue) ?? '(root)';
  throw new AtollError('bad_request', `${path}: ${issue.message}`.slice(0, limits.reasonCharsMax), {
    details: { path },
  });
}

/** A CBOR link (tag 42), as its base32 string. */
export const linkSchema = v.pipe(
  v.custom<CID>((value) => CID.asCID(value) !== null && isOurs(CID.asCID(value) as CID), 'expected a link'),
  v.transform((value): Cid => (CID.asCID(value) as CID).toString()),
);

export function linkOf(cid: Cid): CID {
  return CID.parse(cid);
}

/** Every link inside a canonical document, in document order, without repeats. */
export function linksOf(bytes: Uint8Array): Cid[] {
  return [...new Set(everyLinkOf(bytes))];
}

/** Every link as often as it is there. */
export function everyLinkOf(bytes: Uint8Array): Cid[] {
  const found: Cid[] = [];
  collectLinks(decodeCanonical(bytes), found);
  return found;
}

function collectLinks(value: unknown, found: Cid[]): void {
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return;
  const cid = CID.asCID(value);
  if (cid) {
    found.push(cid.toString());
    return;
  }
  for (const child of Array.isArray(value) ? value : Object.values(value)) collectLinks(child, found);
}

/**
 * Refuses nesting beyond `limits.documentDepthMax` before the recursive decoder runs, so that a hostile document of nested arrays
 * cannot exhaust the stack. Walks CBOR heads only; a malformed document is left to the decoder to refuse.
 */
function checkDepth(bytes: Uint8Array): void {
  const remaining: number[] = []; // children still to come, for every container that is open
  let at = 0;
  while (at < bytes.length) {
    const major = (bytes[at] as number) >> 5;
    const { value, next } = readArgument(bytes, at);
    at = major === 2 || major === 3 ? next + value : next;
    const top = remaining.length - 1;
    if (top >= 0) remaining[top] = (remaining[top] as number) - 1;
    const children = major === 4 ? value : major === 5 ? value * 2 : major === 6 ? 1 : 0;
    if (children > 0) remaining.push(children);
    else while (remaining.at(-1) === 0) remaining.pop();
    if (remaining.length > limits.documentDepthMax) {
      throw new AtollError('bad_request', 'The document is nested too deeply.');
    }
  }
}

function readArgument(bytes: Uint8Array, at: number): { value: number; next: number } {
  const low = (bytes[at] as number) & 31;
  if (low < 24) return { value: low, next: at + 1 };
  const size = low === 24 ? 1 : low === 25 ? 2 : low === 26 ? 4 : low === 27 ? 8 : 0;
  let value = 0;
  for (let i = 0; i < size; i++) value = value * 256 + (bytes[at + 1 + i] ?? 0);
  return { value, next: at + 1 + size };
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.byteLength !== b.byteLength) return false;
  for (let i = 0; i < a.byteLength; i++) if (a[i] !== b[i]) return false;
  return true;
}

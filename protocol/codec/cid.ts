/**
 * Content identifiers: CIDv1, sha2-256, `raw` for tensor bytes and tokens, `dag-cbor` for documents.
 *
 * Inside the project a CID is its base32 string (`Cid`): it compares with `===`, keys maps and survives JSON. Only the
 * CBOR codec sees `CID` objects.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { CID } from 'multiformats/cid';
import * as v from 'valibot';
import { AtollError } from '../errors.ts';

export type Cid = string;

export const rawCode = 0x55;
export const cborCode = 0x71;
const sha256Code = 0x12;

/** A CID that this project can check: v1, sha2-256, raw or dag-cbor. */
export function isCid(text: string): boolean {
  try {
    parseCid(text);
    return true;
  } catch {
    return false;
  }
}

/** Throws `bad_request` on anything but a CIDv1 raw/dag-cbor sha2-256 in base32. */
export function parseCid(text: string): CID {
  if (text.length < 50 || text.length > 70) throw badCid(text);
  let cid: CID;
  try {
    cid = CID.parse(text);
  } catch {
    throw badCid(text);
  }
  if (!isOurs(cid) || cid.toString() !== text) throw badCid(text);
  return cid;
}

export function isOurs(cid: CID): boolean {
  const codec = cid.code === rawCode || cid.code === cborCode;
  return cid.version === 1 && codec && cid.multihash.code === sha256Code && cid.multihash.size === 32;
}

function badCid(text: string): AtollError {
  return new AtollError('bad_request', 'Not a CIDv1 (raw or dag-cbor, sha2-256, base32).', {
    details: { cid: text.slice(0, 80) },
  });
}

export const cidSchema = v.pipe(v.string(), v.maxLength(70), v.check(isCid, 'not a CID'));

/** CID of a small document, synchronously (pure JS; use `cidOfBlock` for anything large). */
export function cidOfSync(bytes: Uint8Array, code: number): Cid {
  return cidOfDigest(sha256(bytes), code);
}

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';

/** The CID with this sha2-256 digest: what `CID.createV1` makes, in a tenth of its time. Codes up to 0x7f, as ours are. */
export function cidOfDigest(hash: Uint8Array, code: number): Cid {
  const bytes = new Uint8Array(4 + hash.length);
  bytes.set([1, code, sha256Code, hash.length]);
  bytes.set(hash, 4);
  let text = 'b';
  let [bits, held] = [0, 0];
  for (let i = 0; i < bytes.length; i++) {
    bits = ((bits << 8) | (bytes[i] as number)) & 0xfff;
    for (held += 8; held >= 5; held -= 5) text += alphabet[(bits >> (held - 5)) & 31];
  }
  return held === 0 ? text : text + alphabet[(bits << (5 - held)) & 31];
}

/** CID of a block through the platform's SHA-256. Needs a secure context in a browser. */
export async function cidOfBlock(bytes: Uint8Array, code: number = rawCode): Promise<Cid> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
  return cidOfDigest(hash, code);
}

/** Throws `bad_block` unless `bytes` hash to `cid`. */
export async function verifyBlock(cid: Cid, bytes: Uint8Array): Promise<void> {
  const actual = await cidOfBlock(bytes, parseCid(cid).code);
  if (actual !== cid)
    throw new AtollError('bad_block', 'The bytes do not match their CID.', { details: { cid } });
}

/** The 32 bytes of the sha2-256 digest inside a CID: what is committed to, signed and anchored. */
export function digestOfCid(cid: Cid): Uint8Array {
  return parseCid(cid).multihash.digest;
}

/** The dag-cbor CID that has this digest. */
export function cborCidOfDigest(hash: Uint8Array): Cid {
  return cidOfDigest(hash, cborCode);
}

/**
 * The signed peer record: contributor C says "on network N, until E, the peer with this id is me". It is announced to the coordinator, and sent by
 * each side of a link before anything else.
 *
 * A peer id is an Ed25519 public key (32 bytes) in libp2p's text form; the connection itself proves that the other side has it, this record says
 * whose it is. A record is no secret: what it names can only be used by whoever has the peer's key. One ends after `limits.peerRecordMsMax` at most.
 */
import { base58btc } from 'multiformats/bases/base58';
import type { Hex } from 'viem';
import * as v from 'valibot';
import { encodeCanonical, parseExact } from '../codec/cbor.ts';
import { AtollError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type SignatureCrypto, type Signer, verifySignature } from '../messages/contribution.ts';
import { addressSchema, fromHex, signatureSchema, toHex } from '../messages/hex.ts';

/** Identity multihash (0x00, 36 bytes) of the protobuf of a public key: type Ed25519 (0x08 0x01), its bytes (0x12, 32). */
const keyHead = new Uint8Array([0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);
const keyBytes = 32;
const peerIdCharsMax = 64;

/** Checks the text only: whether it names an Ed25519 key says `keyOfPeerId`. */
export const peerIdSchema = v.pipe(
  v.string(),
  v.maxLength(peerIdCharsMax),
  v.check((text) => keyOf(text) !== null, 'expected the peer id of an Ed25519 key'),
);

export const signedPeerRecordSchema = v.strictObject({
  v: v.literal(1),
  contributor: addressSchema,
  peer: peerIdSchema,
  /** Milliseconds since 1970. */
  expires: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  signature: signatureSchema,
});
export type SignedPeerRecord = v.InferOutput<typeof signedPeerRecordSchema>;

/** The peer id of an Ed25519 public key. */
export function peerIdOfKey(key: Hex): string {
  const raw = fromHex(key);
  if (raw.byteLength !== keyBytes) throw new AtollError('bad_request', 'An Ed25519 key has 32 bytes.');
  const bytes = new Uint8Array(keyHead.byteLength + keyBytes);
  bytes.set(keyHead);
  bytes.set(raw, keyHead.byteLength);
  return base58btc.baseEncode(bytes);
}

/** The Ed25519 public key that a peer id is. Throws `bad_request`. */
export function keyOfPeerId(peer: string): Hex {
  const key = keyOf(peer);
  if (key === null) throw new AtollError('bad_request', 'This is not the peer id of an Ed25519 key.');
  return key;
}

function keyOf(peer: string): Hex | null {
  if (peer.length > peerIdCharsMax) return null;
  let bytes: Uint8Array;
  try {
    bytes = base58btc.baseDecode(peer);
  } catch {
    return null;
  }
  if (bytes.byteLength !== keyHead.byteLength + keyBytes) return null;
  return keyHead.every((byte, i) => bytes[i] === byte) ? toHex(bytes.subarray(keyHead.byteLength)) : null;
}

function messageOf({
  contributor,
  peer,
  expires,
}: Pick<SignedPeerRecord, 'contributor' | 'peer' | 'expires'>) {
  const word = new Uint8Array(8);
  new DataView(word.buffer).setBigUint64(0, BigInt(expires));
  return { contributor, peerKey: keyOfPeerId(peer), expires: toHex(word) };
}

/** Binds `peer` to the signer until `expires` (ms since 1970). Throws `bad_request` for what is no peer id. */
export async function signPeerRecord(
  signer: Signer,
  network: Hex,
  peer: string,
  expires: number,
): Promise<SignedPeerRecord> {
  const unsigned = { v: 1 as const, contributor: signer.address, peer, expires };
  return { ...unsigned, signature: await signer.sign(network, 'Peer', messageOf(unsigned)) };
}

export function encodePeerRecord(record: SignedPeerRecord): Uint8Array {
  return encodeCanonical(record);
}

/** Throws `too_large` or `bad_request`; the signature is not checked yet. */
export function decodePeerRecord(bytes: Uint8Array): SignedPeerRecord {
  if (bytes.byteLength > limits.peerRecordBytesMax) {
    throw new AtollError('too_large', `A peer record has at most ${limits.peerRecordBytesMax} bytes.`);
  }
  return parseExact(signedPeerRecordSchema, bytes, encodePeerRecord);
}

export interface RecordChecks {
  network: Hex;
  /** The peer id that the other side has proved to have. */
  peer: string;
  /** Milliseconds since 1970. */
  now: number;
  crypto?: SignatureCrypto;
}

/** The contributor whose peer this is. Throws `bad_signature` for another's peer id, a record that has ended or ends too late, and a signature of somebody else. */
export async function verifyPeerRecord(
  record: SignedPeerRecord,
  { network, peer, now, crypto }: RecordChecks,
): Promise<Hex> {
  if (record.peer !== peer) {
    throw new AtollError('bad_signature', 'The peer record names another peer id.');
  }
  if (record.expires <= now || record.expires > now + limits.peerRecordMsMax) {
    throw new AtollError('bad_signature', 'The peer record has ended, or would hold for too long.');
  }
  const { contributor, signature } = record;
  await verifySignature(network, 'Peer', messageOf(record), signature, contributor, crypto);
  return contributor;
}

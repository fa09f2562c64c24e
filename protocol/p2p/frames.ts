/**
 * The frames of `/atoll/shard/1.0.0`, as bytes: `u8 type | body`, little-endian, one frame per message of the link (which carries lengths).
 *
 * Everything is named by a file's CID (36 bytes) and the number of a block in it; a block by itself is a file of one. A block travels in parts of one
 * message each, so that small frames never wait behind a megabyte and progress shows. Sizes are checked by type before anything is read.
 */
import { type Cid, cborCode, cidOfDigest, rawCode } from '../codec/cid.ts';
import { AtollError } from '../errors.ts';
import { limits } from '../limits.ts';

export const shardProtocol = '/atoll/shard/1.0.0';

/** Why a request is not served. `choked`: not now. `unknown`: that block or file is not here. */
export const refusals = ['choked', 'unknown'] as const;
export type Refusal = (typeof refusals)[number];

/** What one peer tells another. */
export type ShardFrame =
  /** The blocks of `file` that the sender has, one bit each; `ask` wants the same in return. Also subscribes to HAVE, PEND and GONE. */
  | { t: 'bits'; file: Cid; ask: boolean; count: number; bits: Uint8Array }
  /** Verified since. `pend`: on their way from the origin. `gone`: dropped from the cache. */
  | { t: 'have' | 'pend' | 'gone'; file: Cid; indices: readonly number[] }
  | { t: 'req'; file: Cid; index: number; offset: number; length: number }
  /** A part of a block of `size` bytes. */
  | { t: 'blk'; file: Cid; index: number; offset: number; size: number; bytes: Uint8Array }
  | { t: 'no'; file: Cid; index: number; reason: Refusal }
  /** The request is no longer needed. */
  | { t: 'cancel'; file: Cid; index: number }
  | { t: 'choke' }
  | { t: 'unchoke' }
  /** Whether the receiver has anything that the sender wants. */
  | { t: 'need'; needs: boolean };

export type ShardFrameType = ShardFrame['t'];

const cidBytes = 36;
const { shardPartBytesMax, shardIndicesMax, shardFileBlocksMax, blockBytesMax } = limits;
const bitsHead = 1 + 1 + cidBytes + 4;
const blkHead = 1 + cidBytes + 12;

/** By type byte: name, and the least and most bytes of such a frame. */
const layouts = [
  { t: 'bits', min: bitsHead + 1, max: bitsHead + shardFileBlocksMax / 8 },
  { t: 'have', min: 1 + cidBytes + 4, max: 1 + cidBytes + 4 * shardIndicesMax },
  { t: 'pend', min: 1 + cidBytes + 4, max: 1 + cidBytes + 4 * limits.shardPendsMax },
  { t: 'gone', min: 1 + cidBytes + 4, max: 1 + cidBytes + 4 * shardIndicesMax },
  { t: 'req', min: 1 + cidBytes + 12, max: 1 + cidBytes + 12 },
  { t: 'blk', min: blkHead + 1, max: blkHead + shardPartBytesMax },
  { t: 'no', min: 1 + cidBytes + 5, max: 1 + cidBytes + 5 },
  { t: 'cancel', min: 1 + cidBytes + 4, max: 1 + cidBytes + 4 },
  { t: 'choke', min: 1, max: 1 },
  { t: 'unchoke', min: 1, max: 1 },
  { t: 'need', min: 2, max: 2 },
] as const satisfies readonly { t: ShardFrameType; min: number; max: number }[];

const codes = Object.fromEntries(layouts.map(({ t }, i) => [t, i + 1])) as Record<ShardFrameType, number>;

/** Bytes of a frame on the wire, without the link's length. */
export function sizeOfFrame(frame: ShardFrame): number {
  if (frame.t === 'blk') return blkHead + frame.bytes.byteLength;
  if (frame.t === 'bits') return bitsHead + frame.bits.byteLength;
  if ('indices' in frame) return 1 + cidBytes + 4 * frame.indices.length;
  return (layouts[codes[frame.t] - 1] as { max: number }).max;
}

/** Throws `bad_frame` on a frame that the other side would refuse. */
export function encodeShardFrame(frame: ShardFrame): Uint8Array<ArrayBuffer> {
  const size = sizeOfFrame(frame);
  checkSize(codes[frame.t], size);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  bytes[0] = codes[frame.t];
  if (frame.t === 'need') bytes[1] = frame.needs ? 1 : 0;
  if (!('file' in frame)) return bytes;
  if (frame.t === 'bits') {
    bytes[1] = frame.ask ? 1 : 0;
    writeCid(bytes, 2, frame.file);
    view.setUint32(2 + cidBytes, frame.count, true);
    bytes.set(frame.bits, bitsHead);
    return bytes;
  }
  writeCid(bytes, 1, frame.file);
  const at = 1 + cidBytes;
  if ('indices' in frame) {
    for (let i = 0; i < frame.indices.length; i++)
      view.setUint32(at + 4 * i, frame.indices[i] as number, true);
    return bytes;
  }
  view.setUint32(at, frame.index, true);
  if (frame.t === 'no') bytes[at + 4] = refusals.indexOf(frame.reason) + 1;
  if (frame.t === 'req' || frame.t === 'blk') view.setUint32(at + 4, frame.offset, true);
  if (frame.t === 'req') view.setUint32(at + 8, frame.length, true);
  if (frame.t === 'blk') {
    view.setUint32(at + 8, frame.size, true);
    bytes.set(frame.bytes, blkHead);
  }
  return bytes;
}

/** Bitmaps and parts are views of `bytes`. Throws `too_large` or `bad_frame`. */
export function decodeShardFrame(bytes: Uint8Array): ShardFrame {
  const code = bytes[0] ?? 0;
  const { t } = checkSize(code, bytes.byteLength);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (t === 'choke' || t === 'unchoke') return { t };
  if (t === 'need') return { t, needs: readFlag(bytes) };
  if (t === 'bits') return decodeBits(bytes, view);
  const file = readCid(bytes, 1);
  const at = 1 + cidBytes;
  if (t === 'have' || t === 'pend' || t === 'gone') return { t, file, indices: readIndices(view, at) };
  const index = readIndex(view, at);
  if (t === 'cancel') return { t, file, index };
  if (t === 'no') {
    const reason = refusals[(bytes[at + 4] as number) - 1];
    if (!reason) throw badFrame('An unknown reason.');
    return { t, file, index, reason };
  }
  const offset = view.getUint32(at + 4, true);
  if (t === 'req') {
    const length = view.getUint32(at + 8, true);
    const fits = length > 0 && length <= limits.shardSegmentBytesMax && offset + length <= blockBytesMax;
    if (!fits) throw badFrame('A request beyond a block.');
    return { t, file, index, offset, length };
  }
  const size = view.getUint32(at + 8, true);
  const part = bytes.subarray(blkHead);
  if (size > blockBytesMax || offset + part.byteLength > size) throw badFrame('A part beyond its block.');
  return { t, file, index, offset, size, bytes: part };
}

function decodeBits(bytes: Uint8Array, view: DataView): ShardFrame {
  const count = view.getUint32(2 + cidBytes, true);
  const bits = bytes.subarray(bitsHead);
  if (count === 0 || count > shardFileBlocksMax || bits.byteLength !== Math.ceil(count / 8)) {
    throw badFrame('The bitmap and its count differ.');
  }
  // Surplus bits are zero: one set of blocks has one form.
  const surplus = 8 * bits.byteLength - count;
  if ((bits[bits.byteLength - 1] as number) >> (8 - surplus) !== 0)
    throw badFrame('Bits beyond the last block.');
  return { t: 'bits', ask: readFlag(bytes), file: readCid(bytes, 2), count, bits };
}

function checkSize(code: number, size: number): (typeof layouts)[number] {
  const layout = layouts[code - 1];
  if (!layout) throw badFrame('An unknown type.');
  if (size > layout.max)
    throw new AtollError('too_large', `A ${layout.t} frame has ${layout.max} bytes at most.`);
  if (size < layout.min) throw badFrame(`A ${layout.t} frame has ${layout.min} bytes at least.`);
  return layout;
}

function readFlag(bytes: Uint8Array): boolean {
  const flag = bytes[1] as number;
  if (flag > 1) throw badFrame('A flag is 0 or 1.');
  return flag === 1;
}

function readIndex(view: DataView, at: number): number {
  const index = view.getUint32(at, true);
  if (index >= shardFileBlocksMax) throw badFrame('No file has so many blocks.');
  return index;
}

function readIndices(view: DataView, at: number): number[] {
  if ((view.byteLength - at) % 4 !== 0) throw badFrame('A list of numbers that ends within one.');
  const indices: number[] = [];
  for (; at < view.byteLength; at += 4) indices.push(readIndex(view, at));
  return indices;
}

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
const values = new Uint8Array(128).fill(255);
for (let i = 0; i < alphabet.length; i++) values[alphabet.charCodeAt(i)] = i;

/** The 36 bytes of a CID as this project makes them (v1, raw or dag-cbor, sha2-256), at `at`. */
function writeCid(bytes: Uint8Array, at: number, cid: Cid): void {
  let [held, count, to] = [0, 0, at];
  for (let i = 1; i < cid.length; i++) {
    held = ((held << 5) | (values[cid.charCodeAt(i)] ?? 255)) & 0xfff;
    count += 5;
    if (count >= 8) bytes[to++] = held >> (count -= 8);
  }
  if (to - at !== cidBytes) throw badFrame('Not a CID of this project.');
}

function readCid(bytes: Uint8Array, at: number): Cid {
  const code = bytes[at + 1] as number;
  const isKnown = code === rawCode || code === cborCode;
  if (bytes[at] !== 1 || !isKnown || bytes[at + 2] !== 0x12 || bytes[at + 3] !== 32) {
    throw badFrame('Not a CIDv1 (raw or dag-cbor, sha2-256).');
  }
  return cidOfDigest(bytes.subarray(at + 4, at + cidBytes), code);
}

function badFrame(message: string): AtollError {
  return new AtollError('bad_frame', message);
}

/**
 * A file: bytes of any length as a list of raw blocks. Tensors travel this way, as little-endian bytes, never as JSON.
 *
 * Every block but the last has exactly `limits.blockBytesMax` bytes, so equal bytes have equal CIDs.
 */
import * as v from 'valibot';
import { linkOf, linkSchema } from '../codec/cbor.ts';
import type { Cid } from '../codec/cid.ts';
import { AtollError } from '../errors.ts';
import { limits } from '../limits.ts';

export const fileSchema = v.strictObject({
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  blocks: v.pipe(v.array(linkSchema), v.maxLength(limits.fileBlocksMax)),
});
export type File = v.InferOutput<typeof fileSchema>;

/** Where blocks come from and go to: a cache, a disk, the network. Implementations verify what they return. */
export interface BlockStore {
  /** The verified bytes of a block. Throws `not_found`, or `bad_block` when nobody gives the right bytes. */
  get(cid: Cid, signal?: AbortSignal): Promise<Uint8Array>;
  /** Keeps a block and returns its CID. `code` is the multicodec, raw unless given. */
  put(bytes: Uint8Array, code?: number): Promise<Cid>;
}

/** A file as plain data with CBOR links, for embedding in a document that is about to be encoded. */
export function fileToLinks(file: File): unknown {
  return { size: file.size, blocks: file.blocks.map(linkOf) };
}

/** Throws `too_large` beyond `limits.fileBlocksMax` blocks. */
export async function writeFile(store: BlockStore, bytes: Uint8Array): Promise<File> {
  if (bytes.byteLength > limits.fileBlocksMax * limits.blockBytesMax) {
    throw new AtollError('too_large', `A file may have ${limits.fileBlocksMax} blocks.`, {
      details: { sizeBytes: bytes.byteLength },
    });
  }
  const blocks: Cid[] = [];
  for (let at = 0; at < bytes.byteLength; at += limits.blockBytesMax) {
    blocks.push(await store.put(bytes.subarray(at, at + limits.blockBytesMax)));
  }
  return { size: bytes.byteLength, blocks };
}

/** Throws `bad_input` when the blocks do not add up to the stated size. */
export async function readFile(store: BlockStore, file: File, signal?: AbortSignal): Promise<Uint8Array> {
  if (Math.ceil(file.size / limits.blockBytesMax) !== file.blocks.length) throw wrongSize(file);
  const bytes = new Uint8Array(file.size);
  let at = 0;
  for (const cid of file.blocks) {
    const block = await store.get(cid, signal);
    if (block.byteLength !== Math.min(limits.blockBytesMax, file.size - at)) throw wrongSize(file);
    bytes.set(block, at);
    at += block.byteLength;
  }
  return bytes;
}

function wrongSize(file: File): AtollError {
  return new AtollError('bad_input', 'The blocks of the file do not add up to its size.', {
    details: { sizeBytes: file.size, blocks: file.blocks.length },
  });
}

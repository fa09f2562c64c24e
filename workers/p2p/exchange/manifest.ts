/** Names for lists of blocks: a file by the CID of its canonical form, several files by the document that lists them, a block by itself. */
import { encodeCanonical, linkOf } from '#protocol/codec/cbor.ts';
import { type Cid, cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';
import { type File, fileToLinks } from '#protocol/messages/file.ts';
import type { Manifest } from './events.ts';

/** The file under the CID of its canonical DAG-CBOR: the same for everybody who knows it. */
export function manifestOf(file: File): Manifest {
  const id = cidOfSync(encodeCanonical(fileToLinks(file)), cborCode);
  return { id, blocks: file.blocks, sizes: sizesOf(file) };
}

/**
 * All blocks of several files, in this order, under a name of their own that follows from the document that lists them (a checkpoint, an update): the
 * document's own CID names the one block that it is itself.
 */
export function manifestOfFiles(document: Cid, files: readonly File[]): Manifest {
  const id = cidOfSync(encodeCanonical(['files of', linkOf(document)]), cborCode);
  return { id, blocks: files.flatMap(({ blocks }) => blocks), sizes: files.flatMap(sizesOf) };
}

export function manifestOfBlock(cid: Cid): Manifest {
  return { id: cid, blocks: [cid], sizes: [0] };
}

/** Which blocks of the file hold these bytes: of a few rows or of one layer, say. */
export function indicesOfBytes(ranges: readonly { from: number; to: number }[]): number[] {
  const indices = new Set<number>();
  for (const { from, to } of ranges) {
    if (to <= from) continue;
    const last = Math.floor((to - 1) / limits.blockBytesMax);
    for (let index = Math.floor(from / limits.blockBytesMax); index <= last; index++) indices.add(index);
  }
  return [...indices].sort((a, b) => a - b);
}

function sizesOf({ size, blocks }: File): number[] {
  return blocks.map((_, i) => Math.min(limits.blockBytesMax, size - i * limits.blockBytesMax));
}

/** Digests of words, equal on every machine whatever its byte order. */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';

/** SHA-256 of words as little-endian bytes, in hex. */
export function digestWords(words: Uint32Array): string {
  const bytes = new Uint8Array(words.length * 4);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < words.length; i++) view.setUint32(i * 4, words[i] as number, true);
  return bytesToHex(sha256(bytes));
}

/** One digest over named digests, in their order. */
export function combineDigests(digests: readonly (readonly [id: string, digest: string])[]): string {
  return bytesToHex(sha256(utf8ToBytes(digests.map(([id, digest]) => `${id} ${digest}\n`).join(''))));
}

/**
 * A result document read in one pass, in a tenth of the time of the general codec: a coordinator reads one for every unit.
 *
 * It knows the one canonical form of a `Result` with names of up to 23 letters. `null` means that the general codec has to look, never that something
 * is wrong; a test holds both together.
 */
import { type Cid, cborCode, cidOfDigest, rawCode } from '../codec/cid.ts';
import { limits } from '../limits.ts';
import type { Result } from './workunit.ts';

const bytesOf = (text: string) => [...text].map((letter) => letter.charCodeAt(0));
/** A map of three; v: 1; the key `unit`. */
const head = [0xa3, 0x61, ...bytesOf('v'), 0x01, 0x64, ...bytesOf('unit')];
const outputsKey = [0x67, ...bytesOf('outputs')];
/** Tag 42 and 37 bytes: a zero, version 1, codec, sha2-256 of 32 bytes. */
const linkHead = [0xd8, 0x2a, 0x58, 0x25, 0x00, 0x01];
const hashHead = [0x12, 0x20];
const hashBytes = 32;
const nameBytesMax = 23;
const name = /^[a-z][a-zA-Z0-9.-]*$/;

/** With every name that an object has by itself, what the schema passes over and so the general codec refuses. */
const strange: ReadonlySet<string> = new Set(['prototype']);

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  next(): number {
    return this.#bytes[this.#at++] ?? -1;
  }

  has(expected: readonly number[]): boolean {
    for (const byte of expected) if (this.next() !== byte) return false;
    return true;
  }

  link(): Cid | null {
    if (!this.has(linkHead)) return null;
    const code = this.next();
    if ((code !== rawCode && code !== cborCode) || !this.has(hashHead)) return null;
    const hash = this.#take(hashBytes);
    return hash && cidOfDigest(hash, code);
  }

  name(): string | null {
    const length = this.next() - 0x60;
    const bytes = length >= 1 && length <= nameBytesMax ? this.#take(length) : null;
    const text = bytes && String.fromCharCode(...bytes);
    return text && name.test(text) && !strange.has(text) && !(text in {}) ? text : null;
  }

  #take(length: number): Uint8Array | null {
    const from = this.#at;
    this.#at += length;
    return this.#at <= this.#bytes.length ? this.#bytes.subarray(from, this.#at) : null;
  }
}

/** How DAG-CBOR orders keys: shorter ones first. */
const inOrder = (a: string, b: string) => a.length < b.length || (a.length === b.length && a < b);

/** The document in these bytes; null for anything but the plain form. */
export function decodePlainResult(bytes: Uint8Array): Result | null {
  const reader = new Reader(bytes);
  const unit = reader.has(head) ? reader.link() : null;
  if (unit === null || !reader.has(outputsKey)) return null;
  const count = reader.next() - 0xa0;
  if (count < 1 || count > limits.resultOutputsMax) return null;
  const outputs: Record<string, Cid> = {};
  let last = '';
  for (let i = 0; i < count; i++) {
    const key = reader.name();
    const cid = key === null ? null : reader.link();
    if (key === null || cid === null || !inOrder(last, key)) return null;
    outputs[key] = cid;
    last = key;
  }
  return reader.isAtEnd ? { v: 1, unit, outputs } : null;
}

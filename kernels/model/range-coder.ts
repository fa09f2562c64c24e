/**
 * A binary arithmetic coder with adaptive probabilities, for bytes under a context: small, exact, the same bytes on every machine.
 *
 * A byte is eight decisions down a binary tree; every node of every context keeps the mean of a fast and a slow estimate of its probability. Integers
 * of 32 bits only. Source: lpaq1 by Matt Mahoney (the carry-free coder), LZMA (the tree).
 */
import { AtollError } from '#protocol/errors.ts';

const fastShift = 4;
const slowShift = 7;

/** Probabilities of one stream: `contexts` trees of 256 nodes. Encoder and decoder each keep one, and it comes to the same on both sides. */
export class ByteModel {
  readonly fast: Uint16Array;
  readonly slow: Uint16Array;

  constructor(contexts: number) {
    this.fast = new Uint16Array(256 * contexts).fill(1 << 15);
    this.slow = new Uint16Array(256 * contexts).fill(1 << 15);
  }

  /** Chance that the next bit is 1, of 65536; never 0, nor all of it. */
  chance(node: number): number {
    const mean = ((this.fast[node] as number) + (this.slow[node] as number)) >>> 1;
    return Math.min(65535 - 32, Math.max(32, mean));
  }

  learn(node: number, bit: number): void {
    const { fast, slow } = this;
    const [f, s] = [fast[node] as number, slow[node] as number];
    const goal = bit === 1 ? 65535 : 0;
    fast[node] = f + ((goal - f) >> fastShift);
    slow[node] = s + ((goal - s) >> slowShift);
  }
}

/** Encoder and decoder as one thing, so that what is coded is written down once: the value that was put, or the one that was read. */
export interface ByteCoder {
  /** A byte, 0..255, under a context of `model`. A decoder does not look at `byte`. */
  code(model: ByteModel, context: number, byte: number): number;
}

export class RangeEncoder implements ByteCoder {
  #low = 0;
  #high = 0xffff_ffff;
  #bytes = new Uint8Array(1 << 16);
  #size = 0;

  code(model: ByteModel, context: number, byte: number): number {
    let node = 1;
    for (let at = 7; at >= 0; at--) {
      const bit = (byte >> at) & 1;
      this.#putBit(model, 256 * context + node, bit);
      node = 2 * node + bit;
    }
    return byte;
  }

  #putBit(model: ByteModel, node: number, bit: number): void {
    const middle = split(this.#low, this.#high, model.chance(node));
    if (bit === 1) this.#high = middle;
    else this.#low = middle + 1;
    model.learn(node, bit);
    while (((this.#low ^ this.#high) & 0xff00_0000) === 0) {
      this.#out(this.#high >>> 24);
      this.#low = (this.#low << 8) >>> 0;
      this.#high = ((this.#high << 8) | 255) >>> 0;
    }
  }

  /** Everything that was put. Nothing may be put after. */
  finish(): Uint8Array {
    for (let shift = 24; shift >= 0; shift -= 8) this.#out((this.#low >>> shift) & 255);
    return this.#bytes.slice(0, this.#size);
  }

  #out(byte: number): void {
    if (this.#size === this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#bytes.length);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes[this.#size++] = byte;
  }
}

export class RangeDecoder implements ByteCoder {
  readonly #bytes: Uint8Array;
  #at = 4;
  #low = 0;
  #high = 0xffff_ffff;
  #code: number;

  constructor(bytes: Uint8Array) {
    if (bytes.length < 4) throw cutShort();
    this.#bytes = bytes;
    this.#code = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  }

  /** Throws `bad_input` when there is nothing to read any more. */
  code(model: ByteModel, context: number): number {
    let node = 1;
    while (node < 256) node = 2 * node + this.#takeBit(model, 256 * context + node);
    return node - 256;
  }

  #takeBit(model: ByteModel, node: number): number {
    const middle = split(this.#low, this.#high, model.chance(node));
    const bit = this.#code <= middle ? 1 : 0;
    if (bit === 1) this.#high = middle;
    else this.#low = middle + 1;
    model.learn(node, bit);
    while (((this.#low ^ this.#high) & 0xff00_0000) === 0) {
      if (this.#at >= this.#bytes.length) throw cutShort();
      this.#low = (this.#low << 8) >>> 0;
      this.#high = ((this.#high << 8) | 255) >>> 0;
      this.#code = ((this.#code << 8) | (this.#bytes[this.#at++] as number)) >>> 0;
    }
    return bit;
  }

  /** Throws `bad_input` unless every byte was used. */
  end(): void {
    if (this.#at !== this.#bytes.length) throw new AtollError('bad_input', 'The coded bytes go on too long.');
  }
}

/** The last value of the lower part of [low, high], which has `chance` of 65536 of it. */
function split(low: number, high: number, chance: number): number {
  const range = high - low;
  return low + (range >>> 16) * chance + (((range & 0xffff) * chance) >>> 16);
}

function cutShort(): AtollError {
  return new AtollError('bad_input', 'The coded bytes end too early.');
}

/** Cuts a stream of bytes into frames: u32 length, little-endian, then that many bytes. The length is judged before anything is kept for it. */
import { AtollError } from '#protocol/errors.ts';

const headBytes = 4;

/** The length that goes before a frame. */
export function frameHead(sizeBytes: number): Uint8Array {
  const head = new Uint8Array(headBytes);
  new DataView(head.buffer).setUint32(0, sizeBytes, true);
  return head;
}

export class FrameReader {
  /** Largest frame that is taken; may be changed between frames. */
  sizeBytesMax: number;
  readonly #head = new Uint8Array(headBytes);
  #headHas = 0;
  #frame: Uint8Array<ArrayBuffer> | null = null;
  #frameHas = 0;

  constructor(sizeBytesMax: number) {
    this.sizeBytesMax = sizeBytesMax;
  }

  /** Hands over every frame that these bytes complete, on memory of its own. Throws `bad_frame` for an empty one, `too_large`. */
  push(bytes: Uint8Array, deliver: (frame: Uint8Array) => void): void {
    let at = 0;
    while (at < bytes.byteLength) {
      at += this.#frame ? this.#fill(this.#frame, bytes, at) : this.#readHead(bytes, at);
      if (!this.#frame || this.#frameHas < this.#frame.byteLength) continue;
      const frame = this.#frame;
      this.#frame = null;
      this.#headHas = 0;
      deliver(frame);
    }
  }

  #readHead(bytes: Uint8Array, at: number): number {
    const taken = Math.min(headBytes - this.#headHas, bytes.byteLength - at);
    this.#head.set(bytes.subarray(at, at + taken), this.#headHas);
    this.#headHas += taken;
    if (this.#headHas < headBytes) return taken;
    const size = new DataView(this.#head.buffer).getUint32(0, true);
    if (size === 0) throw new AtollError('bad_frame', 'A frame has at least one byte.');
    if (size > this.sizeBytesMax) {
      throw new AtollError('too_large', `A frame of ${size} bytes; ${this.sizeBytesMax} are allowed.`);
    }
    this.#frame = new Uint8Array(size);
    this.#frameHas = 0;
    return taken;
  }

  #fill(frame: Uint8Array, bytes: Uint8Array, at: number): number {
    const taken = Math.min(frame.byteLength - this.#frameHas, bytes.byteLength - at);
    frame.set(bytes.subarray(at, at + taken), this.#frameHas);
    this.#frameHas += taken;
    return taken;
  }
}

/** Files of the block store read and written piece by piece, for tensors that should not be in memory twice. */
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { BlockStore, File } from '#protocol/messages/file.ts';

/** Keeps the block it read last, so reading onwards fetches each block once. */
export class FileReader {
  private readonly blocks: BlockStore;
  private readonly file: File;
  private readonly signal: AbortSignal | undefined;
  private current: { index: number; bytes: Uint8Array } | null = null;

  /** Throws `bad_input` when the file does not have `size` bytes, or its blocks do not add up to them. */
  constructor(blocks: BlockStore, file: File, size: number, signal?: AbortSignal) {
    if (file.size !== size || Math.ceil(size / limits.blockBytesMax) !== file.blocks.length) {
      throw new AtollError('bad_input', `Expected a file of ${size} bytes, it says ${file.size}.`);
    }
    this.blocks = blocks;
    this.file = file;
    this.signal = signal;
  }

  /** A copy of `count` bytes from `at` on, and zeros up to `padded`. Throws `bad_input` past the end, and on a block of the wrong size. */
  async read(at: number, count: number, padded = count): Promise<Uint8Array<ArrayBuffer>> {
    if (at + count > this.file.size) throw new AtollError('bad_input', 'The file ends before that.');
    const bytes = new Uint8Array(padded);
    for (let done = 0; done < count;) {
      const index = Math.floor((at + done) / limits.blockBytesMax);
      const block = await this.block(index);
      const from = at + done - index * limits.blockBytesMax;
      const part = block.subarray(from, from + count - done);
      bytes.set(part, done);
      done += part.length;
    }
    return bytes;
  }

  private async block(index: number): Promise<Uint8Array> {
    if (this.current?.index === index) return this.current.bytes;
    const bytes = await this.blocks.get(this.file.blocks[index] as Cid, this.signal);
    const size = Math.min(limits.blockBytesMax, this.file.size - index * limits.blockBytesMax);
    if (bytes.length !== size) {
      throw new AtollError('bad_input', 'The blocks of the file do not add up to its size.');
    }
    this.current = { index, bytes };
    return bytes;
  }
}

/** Puts blocks as they fill. */
export class FileWriter {
  private readonly blocks: BlockStore;
  private readonly cids: Cid[] = [];
  private buffer = new Uint8Array(limits.blockBytesMax);
  private filled = 0;

  constructor(blocks: BlockStore) {
    this.blocks = blocks;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + this.buffer.length - this.filled);
      this.buffer.set(part, this.filled);
      this.filled += part.length;
      at += part.length;
      if (this.filled === this.buffer.length) await this.flush();
    }
  }

  /** The file of all that was written. */
  async finish(): Promise<File> {
    const size = this.cids.length * limits.blockBytesMax + this.filled;
    if (this.filled > 0) await this.flush();
    return { size, blocks: this.cids };
  }

  private async flush(): Promise<void> {
    if (this.cids.length === limits.fileBlocksMax) {
      throw new AtollError('too_large', `A file may have ${limits.fileBlocksMax} blocks.`);
    }
    // A store may keep what it is given.
    const isFull = this.filled === this.buffer.length;
    const block = isFull ? this.buffer : this.buffer.slice(0, this.filled);
    if (isFull) this.buffer = new Uint8Array(limits.blockBytesMax);
    this.filled = 0;
    this.cids.push(await this.blocks.put(block));
  }
}

/**
 * The one WebAssembly memory of a device: an allocator over it, and accounts whose blocks are freed together.
 *
 * Best fit over a list of free runs that is sorted by address and merged; fine for the few hundred blocks of a model. Memory grows on demand and never shrinks.
 */
import { AtollError } from '#protocol/errors.ts';

const pageBytes = 65536;
/** Blocks begin on cache lines, which is more than v128 asks for. */
const alignment = 64;
/** Address 0 means "none". */
const firstAddress = 1024;
/** Kernels may read (never write) this far past a block. */
const slackBytes = 4096;

interface Run {
  at: number;
  bytes: number;
}

export class WasmMemory {
  readonly memory: WebAssembly.Memory;
  private readonly bytesMax: number;
  private readonly free: Run[] = [];
  private readonly used = new Map<number, number>();
  /** Everything from here on has never been used and is zero. */
  private top = firstAddress;

  /** `bytesMax`: what the memory may grow to; its own maximum must allow it. */
  constructor(memory: WebAssembly.Memory, bytesMax: number) {
    this.memory = memory;
    this.bytesMax = bytesMax;
  }

  /** Address of `bytes` zeroed bytes. Throws `out_of_memory`, and allocates nothing, when they do not fit. */
  allocate(bytes: number): number {
    const size = Math.ceil(bytes / alignment) * alignment;
    const at = this.reuse(size) ?? this.extend(size, bytes);
    this.used.set(at, size);
    return at;
  }

  private reuse(size: number): number | undefined {
    let best: Run | undefined;
    for (const run of this.free) {
      if (run.bytes >= size && (!best || run.bytes < best.bytes)) best = run;
    }
    if (!best) return undefined;
    const { at } = best;
    best.at += size;
    best.bytes -= size;
    if (best.bytes === 0) this.free.splice(this.free.indexOf(best), 1);
    new Uint8Array(this.memory.buffer, at, size).fill(0);
    return at;
  }

  private extend(size: number, asked: number): number {
    const at = this.top;
    this.grow(at + size + slackBytes, asked);
    this.top += size;
    return at;
  }

  private grow(end: number, asked: number): void {
    const have = this.memory.buffer.byteLength;
    if (end <= have) return;
    if (end > this.bytesMax) throw outOfMemory(asked, this.bytesMax);
    try {
      this.memory.grow(Math.ceil((end - have) / pageBytes));
    } catch (error) {
      throw outOfMemory(asked, this.bytesMax, error);
    }
  }

  release(at: number): void {
    const bytes = this.used.get(at);
    if (bytes === undefined) return;
    this.used.delete(at);
    const next = this.free.findIndex((run) => run.at > at);
    const index = next < 0 ? this.free.length : next;
    this.free.splice(index, 0, { at, bytes });
    this.merge(index);
    this.merge(index - 1);
  }

  /** Joins the run at `index` with the one after it when they touch. */
  private merge(index: number): void {
    const run = this.free[index];
    const next = this.free[index + 1];
    if (!run || !next || run.at + run.bytes !== next.at) return;
    run.bytes += next.bytes;
    this.free.splice(index + 1, 1);
  }

  /** Bytes in use, rounded up to cache lines. */
  get usedBytes(): number {
    let sum = 0;
    for (const bytes of this.used.values()) sum += bytes;
    return sum;
  }

  words(at: number, count: number): Uint32Array {
    return new Uint32Array(this.memory.buffer, at, count);
  }

  floats(at: number, count: number): Float32Array {
    return new Float32Array(this.memory.buffer, at, count);
  }

  bytes(at: number, count: number): Int8Array {
    return new Int8Array(this.memory.buffer, at, count);
  }

  shorts(at: number, count: number): Int16Array {
    return new Int16Array(this.memory.buffer, at, count);
  }
}

function outOfMemory(bytes: number, bytesMax: number, cause?: unknown): AtollError {
  const mb = (n: number) => Math.ceil(n / 2 ** 20);
  return new AtollError(
    'out_of_memory',
    `${mb(bytes)} MB more do not fit: WebAssembly may use ${mb(bytesMax)} MB here. Use a smaller batch or model.`,
    { details: { bytes, bytesMax }, ...(cause === undefined ? {} : { cause }) },
  );
}

/** The blocks of one scope. */
export class Account {
  readonly memory: WasmMemory;
  private readonly blocks: number[] = [];

  constructor(memory: WasmMemory) {
    this.memory = memory;
  }

  allocate(bytes: number): number {
    const at = this.memory.allocate(bytes);
    this.blocks.push(at);
    return at;
  }

  /** Numbers as a record of words: addresses and integers as they are, reals as the bits of their f32. */
  record(fields: readonly Field[]): number {
    const at = this.allocate(fields.length * 4);
    const words = this.memory.words(at, fields.length);
    const floats = this.memory.floats(at, fields.length);
    fields.forEach((field, i) => {
      if (typeof field === 'number') words[i] = field;
      else floats[i] = field.f32;
    });
    return at;
  }

  close(): void {
    for (const at of this.blocks) this.memory.release(at);
    this.blocks.length = 0;
  }
}

/** A word of a record. */
export type Field = number | { f32: number };

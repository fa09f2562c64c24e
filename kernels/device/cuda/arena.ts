/**
 * Memory of a CUDA device: chunks taken from the driver and cut into blocks, so that thousands of tensors cost a few allocations.
 *
 * Best fit over the free runs of each chunk, sorted by address and merged; fine for the few thousand blocks of a model. Chunks double in size as memory
 * grows; a block that is larger than a chunk gets one of its own size. A chunk that nobody uses any more goes back to the driver.
 */
import { AtollError, codeOf } from '#protocol/errors.ts';
import type { CudaDriver } from './driver.ts';

/** Where blocks come from; what a rehearsal puts in its place only counts. */
export interface Blocks {
  /** Address of `bytes` zeroed bytes, 256-byte aligned. Throws `out_of_memory`, and keeps nothing, when they do not fit. */
  allocate(bytes: number): bigint;
  release(address: bigint): void;
}

const alignment = 256;
const chunkBytesMin = 2 * 2 ** 20;
const chunkBytesMax = 512 * 2 ** 20;

interface Run {
  at: bigint;
  bytes: number;
}

interface Chunk {
  readonly at: bigint;
  readonly bytes: number;
  readonly free: Run[];
  readonly used: Map<bigint, number>;
}

export class Arena implements Blocks {
  private readonly driver: CudaDriver;
  private readonly chunks: Chunk[] = [];

  constructor(driver: CudaDriver) {
    this.driver = driver;
  }

  allocate(bytes: number): bigint {
    const size = Math.max(1, Math.ceil(bytes / alignment)) * alignment;
    const at = this.reuse(size) ?? this.take(this.grow(size), 0, size);
    this.driver.zero(at, size);
    return at;
  }

  private reuse(size: number): bigint | null {
    let best: { chunk: Chunk; index: number; bytes: number } | null = null;
    for (const chunk of this.chunks) {
      chunk.free.forEach(({ bytes }, index) => {
        if (bytes >= size && (!best || bytes < best.bytes)) best = { chunk, index, bytes };
      });
    }
    if (!best) return null;
    const { chunk, index } = best as { chunk: Chunk; index: number };
    return this.take(chunk, index, size);
  }

  private take(chunk: Chunk, index: number, size: number): bigint {
    const run = chunk.free[index] as Run;
    const { at } = run;
    run.at += BigInt(size);
    run.bytes -= size;
    if (run.bytes === 0) chunk.free.splice(index, 1);
    chunk.used.set(at, size);
    return at;
  }

  /** A chunk with room for `size` bytes: generous where memory allows, exact where it does not. */
  private grow(size: number): Chunk {
    const bytes = Math.max(size, Math.min(chunkBytesMax, Math.max(chunkBytesMin, this.heldBytes)));
    try {
      return this.chunk(bytes);
    } catch (error) {
      if (codeOf(error) !== 'out_of_memory' || bytes === size) throw error;
      return this.chunk(size);
    }
  }

  private chunk(bytes: number): Chunk {
    const { memoryBytes } = this.driver.info;
    if (this.heldBytes + bytes > memoryBytes) throw outOfMemory(bytes, memoryBytes);
    const at = this.driver.allocate(bytes);
    const chunk: Chunk = { at, bytes, free: [{ at, bytes }], used: new Map() };
    this.chunks.push(chunk);
    return chunk;
  }

  release(address: bigint): void {
    const chunk = this.chunks.find(({ used }) => used.has(address));
    if (!chunk) return;
    const bytes = chunk.used.get(address) as number;
    chunk.used.delete(address);
    if (chunk.used.size === 0) {
      this.chunks.splice(this.chunks.indexOf(chunk), 1);
      return this.driver.release(chunk.at);
    }
    const next = chunk.free.findIndex(({ at }) => at > address);
    const index = next < 0 ? chunk.free.length : next;
    chunk.free.splice(index, 0, { at: address, bytes });
    merge(chunk.free, index);
    merge(chunk.free, index - 1);
  }

  /** What was taken from the driver. */
  get heldBytes(): number {
    return this.chunks.reduce((sum, { bytes }) => sum + bytes, 0);
  }
}

/** Joins the run at `index` with the one after it when they touch. */
function merge(free: Run[], index: number): void {
  const [run, next] = [free[index], free[index + 1]];
  if (!run || !next || run.at + BigInt(run.bytes) !== next.at) return;
  run.bytes += next.bytes;
  free.splice(index + 1, 1);
}

export function outOfMemory(bytes: number, bytesMax: number, cause?: unknown): AtollError {
  const mb = (n: number) => Math.ceil(n / 2 ** 20);
  return new AtollError(
    'out_of_memory',
    `${mb(bytes)} MB more do not fit this GPU of ${mb(bytesMax)} MB. Use a smaller batch or model, or end other programs on it.`,
    { details: { bytes, bytesMax }, ...(cause === undefined ? {} : { cause }) },
  );
}

/** Blocks that are only counted: what a piece of work would take. */
export class CountedBlocks implements Blocks {
  buffers = 0;
  bytes = 0;
  largestBytes = 0;
  private readonly bytesMax: number;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  allocate(bytes: number): bigint {
    const size = Math.max(1, Math.ceil(bytes / alignment)) * alignment;
    if (size > this.bytesMax) throw outOfMemory(size, this.bytesMax);
    this.buffers++;
    this.bytes += size;
    this.largestBytes = Math.max(this.largestBytes, size);
    return BigInt(this.bytes);
  }

  release(): void {}
}

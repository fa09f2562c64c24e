/**
 * Tensors, quantised operands and scratch of one scope of a CUDA device; copies in and out. `free` gives back all that was made through it.
 *
 * A tensor is as large as the GPU's memory allows: what cannot fit is refused before anything is allocated.
 */
import { AtollError } from '#protocol/errors.ts';
import { checkNarrow, type Quantized, type Tensor } from '../../tensor/tensor.ts';
import { type Blocks, outOfMemory } from './arena.ts';
import type { CudaDriver } from './driver.ts';
import { type CudaOperand, type CudaTensor, operand } from './launch.ts';

/** Kernels count words in 32 bits. */
const wordsMax = 2 ** 32 - 1;
/** Bytes that a line of digits is padded to: whole tiles of the tensor cores. */
const strideBytes = 64;

export class CudaMemory {
  private readonly driver: CudaDriver;
  private readonly blocks: Blocks;
  private readonly owned: bigint[] = [];
  private readonly scratches = new Map<string, CudaTensor>();
  private freed = false;

  constructor(driver: CudaDriver, blocks: Blocks) {
    this.driver = driver;
    this.blocks = blocks;
  }

  /** Throws `device_lost` once this memory was freed. */
  check(): void {
    if (this.freed) throw new AtollError('device_lost', 'This device was destroyed.');
  }

  free(): void {
    this.freed = true;
    for (const address of this.owned) this.blocks.release(address);
    this.owned.length = 0;
  }

  tensor(size: number): CudaTensor {
    this.check();
    this.checkSize(size);
    const address = this.blocks.allocate(size * 4);
    this.owned.push(address);
    return { size, address };
  }

  operand(batch: number, rows: number, cols: number, transposed: boolean, narrow: boolean): CudaOperand {
    checkNarrow({ transposed, narrow });
    const [lines, length] = transposed ? [cols, rows] : [rows, cols];
    const stride = Math.ceil(length / strideBytes) * strideBytes;
    this.checkSize(batch * rows * cols);
    const plane = () => this.tensor((batch * lines * stride) / 4);
    return {
      ...{ batch, rows, cols, transposed, narrow, lines, stride },
      mantissas: plane(),
      high: narrow ? null : plane(),
      exponents: this.tensor(batch * rows),
      width: this.tensor(1),
    };
  }

  /** At least `words` words, zero at first. A recording keeps the block that it was built with. */
  scratch(name: string, words: number): CudaTensor {
    const known = this.scratches.get(name);
    if (known && known.size >= words) return known;
    const tensor = this.tensor(words);
    this.scratches.set(name, tensor);
    return tensor;
  }

  private checkSize(size: number): void {
    const { memoryBytes } = this.driver.info;
    if (Number.isSafeInteger(size) && size > 0 && size <= wordsMax && size * 4 <= memoryBytes) return;
    throw outOfMemory(size * 4, memoryBytes);
  }

  write(tensor: Tensor, words: Float32Array | Uint32Array, at: number): void {
    this.check();
    if (!Number.isSafeInteger(at) || at < 0 || at + words.length > tensor.size) {
      throw new AtollError('bad_input', 'write: the words do not fit the tensor.');
    }
    if (words.length === 0) return;
    const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    this.driver.write((tensor as CudaTensor).address + BigInt(at * 4), bytes);
  }

  /** What the tensor holds once the work handed over so far is done. */
  async read(tensor: Tensor): Promise<Float32Array> {
    const bytes = await this.bytes(tensor as CudaTensor);
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  }

  private async bytes({ address, size }: CudaTensor): Promise<Uint8Array> {
    this.check();
    const bytes = await this.driver.read(address, size * 4);
    return bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  }

  /** The digits put together by the width they were made for. */
  async readQuantized(q: Quantized): Promise<{ mantissas: Int32Array; exponents: Int32Array }> {
    const { batch, rows, cols, lines, stride, mantissas: digits, high, exponents, width } = operand(q);
    const [lowBytes, highBytes, exponentBytes, widthBytes] = await Promise.all([
      this.bytes(digits),
      high ? this.bytes(high) : null,
      this.bytes(exponents),
      this.bytes(width),
    ]);
    const [nb] = new Uint32Array(widthBytes.buffer, widthBytes.byteOffset, 1);
    const base = nb === 15 ? 256 : nb === 10 ? 32 : 0;
    const low = new Int8Array(lowBytes.buffer, lowBytes.byteOffset, lowBytes.length);
    const top = highBytes && new Int8Array(highBytes.buffer, highBytes.byteOffset, highBytes.length);
    const length = (rows * cols) / lines;
    const mantissas = new Int32Array(batch * rows * cols);
    for (let line = 0; line < batch * lines; line++) {
      for (let k = 0; k < length; k++) {
        const at = line * stride + k;
        mantissas[line * length + k] = base * (top?.[at] ?? 0) + (low[at] as number);
      }
    }
    return {
      mantissas,
      exponents: new Int32Array(exponentBytes.buffer, exponentBytes.byteOffset, batch * rows),
    };
  }
}

/**
 * Buffers of a WebGPU device: tensors, quantised operands, scratch; copies in and out.
 *
 * A tensor is one buffer, so it is bound by maxBufferSize and maxStorageBufferBindingSize; what cannot fit is refused before it is allocated.
 * A `Memory` frees all that was made through it at once; several share a device.
 */
import { AtollError } from '#protocol/errors.ts';
import { checkNarrow, type Quantized, type Tensor } from '../tensor/tensor.ts';
import type { Faults } from './webgpu-faults.ts';
import type { GpuOperand, GpuTensor } from './webgpu-pass.ts';

/** WebGPU's flags by number: the objects that name them are no globals in Node. */
export const bufferUsage = { mapRead: 1, copySrc: 4, copyDst: 8, uniform: 64, storage: 128 } as const;
const mapModeRead = 1;

/** Words that every kernel may be bound to and nobody writes. */
export interface SharedWords {
  /** The word of pf32.wgsl that no compiler knows to be 0. */
  readonly zero: GpuTensor;
  /** Stands in where a kernel's variant does not look at a read-only buffer. */
  readonly unused: GpuTensor;
}

export class Memory {
  private readonly device: GPUDevice;
  private readonly faults: Faults;
  private readonly bytesMax: number;
  private readonly owned = new Set<GPUBuffer>();
  private readonly scratches = new Map<string, GpuTensor>();
  private freed = false;
  readonly shared: SharedWords;

  constructor(device: GPUDevice, faults: Faults, shared?: SharedWords) {
    this.device = device;
    this.faults = faults;
    this.bytesMax = Math.min(device.limits.maxBufferSize, device.limits.maxStorageBufferBindingSize);
    this.shared = shared ?? { zero: this.tensor(4), unused: this.tensor(4) };
  }

  /** Throws what went wrong on the device, or `device_lost` once this memory was freed. */
  check(): void {
    this.faults.check();
    if (this.freed) throw new AtollError('device_lost', 'This device was destroyed.');
  }

  free(): void {
    this.freed = true;
    for (const buffer of this.owned) buffer.destroy();
    this.owned.clear();
  }

  buffer(size: number, usage: number): GPUBuffer {
    this.check();
    const buffer = this.faults.guard(() => this.device.createBuffer({ size, usage }));
    this.owned.add(buffer);
    return buffer;
  }

  tensor(size: number): GpuTensor {
    this.checkSize(size);
    const usage = bufferUsage.storage | bufferUsage.copySrc | bufferUsage.copyDst;
    // Whole vectors: kernels may read, but never look at, up to three words past the end.
    return { size, buffer: this.buffer(Math.ceil(size / 4) * 16, usage) };
  }

  /** The contraction is padded to two vec4 steps; the padding stays 0. */
  operand(batch: number, rows: number, cols: number, transposed: boolean, narrow: boolean): GpuOperand {
    checkNarrow({ transposed, narrow });
    const [lines, length] = transposed ? [cols, rows] : [rows, cols];
    const stride = Math.ceil(length / 8) * 8;
    this.checkSize(batch * rows * cols);
    this.checkSize(batch * lines * stride);
    const mantissas = this.tensor(batch * lines * stride);
    const exponents = this.tensor(batch * rows);
    return { batch, rows, cols, transposed, narrow, lines, stride, mantissas, exponents };
  }

  /** At least `words` words, zero at first. A recording keeps the buffer that it was built with. */
  scratch(name: string, words: number): GpuTensor {
    const known = this.scratches.get(name);
    if (known && known.size >= words) return known;
    const tensor = this.tensor(words);
    this.scratches.set(name, tensor);
    return tensor;
  }

  private checkSize(size: number): void {
    if (Number.isSafeInteger(size) && size > 0 && size * 4 <= this.bytesMax) return;
    throw new AtollError(
      'out_of_memory',
      `A tensor of ${size} words does not fit this GPU, whose buffers hold ${this.bytesMax / 4}.`,
    );
  }

  write(tensor: Tensor, words: Float32Array | Uint32Array, at: number): void {
    this.check();
    if (!Number.isSafeInteger(at) || at < 0 || at + words.length > tensor.size) {
      throw new AtollError('bad_input', 'write: the words do not fit the tensor.');
    }
    const { buffer, byteOffset, byteLength } = words as Float32Array<ArrayBuffer>;
    this.faults.guard(() =>
      this.device.queue.writeBuffer((tensor as GpuTensor).buffer, at * 4, buffer, byteOffset, byteLength),
    );
  }

  /** What the tensor holds once the work handed over so far is done. */
  async read(tensor: Tensor): Promise<Float32Array> {
    this.check();
    const size = tensor.size * 4;
    const usage = bufferUsage.copyDst | bufferUsage.mapRead;
    const staging = this.faults.guard(() => this.device.createBuffer({ size, usage }));
    try {
      this.faults.guard(() => {
        const encoder = this.device.createCommandEncoder();
        encoder.copyBufferToBuffer((tensor as GpuTensor).buffer, 0, staging, 0, size);
        this.device.queue.submit([encoder.finish()]);
      });
      await staging.mapAsync(mapModeRead).catch(async (error: unknown) => {
        // The reason is in a scope, or the device is lost.
        await this.faults.settle();
        throw new AtollError('internal', 'The GPU did not give its results back.', { cause: error });
      });
      await this.faults.settle();
      return new Float32Array(staging.getMappedRange().slice(0));
    } finally {
      staging.destroy();
    }
  }

  async readQuantized(q: Quantized): Promise<{ mantissas: Int32Array; exponents: Int32Array }> {
    const { batch, rows, cols, lines, stride, ...operand } = q as GpuOperand;
    const padded = await this.read(operand.mantissas);
    const length = (rows * cols) / lines;
    const mantissas = new Int32Array(batch * rows * cols);
    for (let line = 0; line < batch * lines; line++) {
      for (let k = 0; k < length; k++) {
        mantissas[line * length + k] = padded[line * stride + k] as number;
      }
    }
    return { mantissas, exponents: new Int32Array((await this.read(operand.exponents)).buffer) };
  }
}

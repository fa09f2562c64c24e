/**
 * Buffers of a WebGPU device: tensors, quantised operands, the shared zero words and scratch; copies in and out.
 *
 * A tensor is one buffer, so it is bound by maxBufferSize and maxStorageBufferBindingSize; what cannot fit is refused before it is allocated.
 */
import { AtollError } from '#protocol/errors.ts';
import type { Quantized, Tensor } from '../tensor/tensor.ts';
import type { Faults } from './webgpu-faults.ts';
import type { GpuOperand, GpuTensor } from './webgpu-pass.ts';

/** Bytes copied through one staging buffer at a time. */
const stagingBytesMax = 64 << 20;

export class Memory {
  private readonly device: GPUDevice;
  private readonly faults: Faults;
  private readonly bytesMax: number;
  private scratchTensor: GpuTensor | null = null;
  /** The word of pf32.wgsl that no compiler knows to be 0; written by nobody. */
  readonly zero: GpuTensor;
  /** Bound where a kernel's variant does not look at a read-only buffer. */
  readonly unused: GpuTensor;

  constructor(device: GPUDevice, faults: Faults) {
    this.device = device;
    this.faults = faults;
    this.bytesMax = Math.min(device.limits.maxBufferSize, device.limits.maxStorageBufferBindingSize);
    this.zero = this.tensor(4);
    this.unused = this.tensor(4);
  }

  tensor(size: number): GpuTensor {
    this.checkSize(size);
    const usage = GPUBufferUsageFlags.storage | GPUBufferUsageFlags.copySrc | GPUBufferUsageFlags.copyDst;
    return { size, buffer: this.faults.guard(() => this.device.createBuffer({ size: size * 4, usage })) };
  }

  /** The contraction is padded to vec4 steps; the padding stays 0. */
  operand(batch: number, rows: number, cols: number, transposed: boolean): GpuOperand {
    const [lines, length] = transposed ? [cols, rows] : [rows, cols];
    const stride = Math.ceil(length / 4) * 4;
    this.checkSize(batch * rows * cols);
    this.checkSize(batch * lines * stride);
    const mantissas = this.tensor(batch * lines * stride);
    const exponents = this.tensor(batch * rows);
    return { batch, rows, cols, transposed, lines, stride, mantissas, exponents };
  }

  /** At least `words` zeroed words; a recording keeps the buffer that it was built with. */
  scratch(words: number): GpuTensor {
    if (!this.scratchTensor || this.scratchTensor.size < words) this.scratchTensor = this.tensor(words);
    return this.scratchTensor;
  }

  private checkSize(size: number): void {
    if (Number.isSafeInteger(size) && size > 0 && size * 4 <= this.bytesMax) return;
    throw new AtollError(
      'out_of_memory',
      `A tensor of ${size} words does not fit this GPU, whose buffers hold ${this.bytesMax / 4}.`,
    );
  }

  write(tensor: Tensor, words: Float32Array | Uint32Array, at: number): void {
    this.faults.check();
    if (!Number.isSafeInteger(at) || at < 0 || at + words.length > tensor.size) {
      throw new AtollError('bad_input', 'write: the words do not fit the tensor.');
    }
    const { buffer, byteOffset, byteLength } = words as Float32Array<ArrayBuffer>;
    this.faults.guard(() =>
      this.device.queue.writeBuffer((tensor as GpuTensor).buffer, at * 4, buffer, byteOffset, byteLength),
    );
  }

  async read(tensor: Tensor): Promise<Float32Array> {
    const out = new Float32Array(tensor.size);
    const bytes = new Uint8Array(out.buffer);
    for (let at = 0; at < bytes.length; at += stagingBytesMax) {
      const size = Math.min(stagingBytesMax, bytes.length - at);
      bytes.set(new Uint8Array(await this.readBytes((tensor as GpuTensor).buffer, at, size)), at);
    }
    return out;
  }

  private async readBytes(buffer: GPUBuffer, at: number, size: number): Promise<ArrayBuffer> {
    this.faults.check();
    const usage = GPUBufferUsageFlags.copyDst | GPUBufferUsageFlags.mapRead;
    const staging = this.faults.guard(() => this.device.createBuffer({ size, usage }));
    try {
      this.faults.guard(() => {
        const encoder = this.device.createCommandEncoder();
        encoder.copyBufferToBuffer(buffer, at, staging, 0, size);
        this.device.queue.submit([encoder.finish()]);
      });
      await staging.mapAsync(mapRead).catch(async (error: unknown) => {
        // The reason is in a scope, or the device is lost.
        await this.faults.settle();
        throw new AtollError('internal', 'The GPU did not give its results back.', { cause: error });
      });
      await this.faults.settle();
      return staging.getMappedRange().slice(0);
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

/** WebGPU's flags by number: the objects that name them are no globals in Node. */
export const GPUBufferUsageFlags = {
  mapRead: 1,
  copySrc: 4,
  copyDst: 8,
  uniform: 64,
  storage: 128,
} as const;
const mapRead = 1;

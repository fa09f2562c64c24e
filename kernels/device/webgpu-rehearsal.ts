/**
 * A WebGPU device that allocates nothing: what a model would take is counted by the code that would allocate it, so that the count is exact and a model
 * that does not fit is refused before its first buffer.
 *
 * Counts buffers of tensors, operands, scratch and uniforms; not what the driver adds, nor pipelines.
 */
import type { MemoryNeed } from './device.ts';

export interface DryGpu {
  device: GPUDevice;
  need: () => MemoryNeed;
}

/** Stands in for a device with these limits and features, as far as recording goes. */
export function dryGpu({ limits, features }: Pick<GPUDevice, 'limits' | 'features'>): DryGpu {
  let [buffers, bytes, largestBytes] = [0, 0, 0];
  const nothing = () => ({});
  const createBuffer = ({ size }: GPUBufferDescriptor) => {
    buffers++;
    bytes += size;
    largestBytes = Math.max(largestBytes, size);
    return { size, destroy: nothing };
  };
  const device = {
    limits,
    features,
    createBuffer,
    createBindGroupLayout: nothing,
    createPipelineLayout: nothing,
    createShaderModule: nothing,
    createBindGroup: nothing,
    createComputePipelineAsync: () => Promise.resolve({}),
    pushErrorScope: nothing,
    popErrorScope: () => Promise.resolve(null),
    addEventListener: nothing,
    destroy: nothing,
    lost: new Promise(() => {}),
    queue: { writeBuffer: nothing, submit: nothing },
  };
  return { device: device as unknown as GPUDevice, need: () => ({ buffers, bytes, largestBytes }) };
}

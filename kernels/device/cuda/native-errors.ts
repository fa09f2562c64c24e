/** What the result codes of the CUDA driver API mean to Atoll, with what to do about them. Numbers are those of cuda.h. */
import { AtollError, type ErrorCode } from '#protocol/errors.ts';

export const cudaSuccess = 0;
export const cudaInvalidValue = 1;
export const cudaOutOfMemory = 2;
export const cudaNotReady = 600;

/** After these nothing more can be had of the context: the device counts as lost. */
const sticky = new Set([
  4, 46, 201, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 806, 810, 999,
]);
/** The module was made for another GPU or by a compiler that is newer than the driver. */
const foreignModule = new Set([200, 209, 218, 221, 222, 223]);

export const isSticky = (result: number): boolean => sticky.has(result);

/** `said`: name and words of the driver itself. */
export function cudaError(result: number, call: string, said: string): AtollError {
  const details = { result, call };
  const [code, message] = meaning(result, call, said);
  return new AtollError(code, message, { details });
}

function meaning(result: number, call: string, said: string): [ErrorCode, string] {
  if (result === cudaOutOfMemory) {
    return [
      'out_of_memory',
      'The GPU has not enough memory. Use a smaller batch or model, or end other programs on it.',
    ];
  }
  if (isSticky(result)) {
    return [
      'device_lost',
      `The GPU was lost (${said}). Start a new device; if that fails too, look for Xid lines in the system's log.`,
    ];
  }
  if (foreignModule.has(result)) {
    return [
      'nonconforming',
      `The driver did not take a compiled kernel (${said}). Update NVIDIA's driver, or set ATOLL_NVRTC to an NVRTC that is not newer than it.`,
    ];
  }
  return ['internal', `The CUDA driver refused ${call} (${said}).`];
}

/** What an opening that failed asks of the operator. */
const openingRemedies: Record<number, string> = {
  34: 'Only the stub of the CUDA toolkit was found, which is no driver: install the driver, and leave the folder `stubs` out of the library path.',
  46: 'The GPU is in use by another program that keeps it to itself (compute mode EXCLUSIVE_PROCESS). End that program or choose another GPU.',
  100: 'The driver is here but shows no GPU. Check `nvidia-smi` and CUDA_VISIBLE_DEVICES.',
  101: 'There is no GPU of that number. `nvidia-smi -L` lists them.',
  802: 'The GPUs wait for their fabric manager: start the service nvidia-fabricmanager.',
  803: 'The driver in the kernel and its library are of different versions: restart the machine.',
  804: 'The CUDA compatibility package does not support this GPU: install a newer driver instead.',
  999: 'The driver failed to start. Check that /dev/nvidia0 and /dev/nvidia-uvm may be read and written, or restart the machine.',
};

/** `no_device` (or `out_of_memory`) for what goes wrong before there is a device. */
export function openingError(result: number, said: string): AtollError {
  const details = { result };
  if (result === cudaOutOfMemory) {
    const words = 'The GPU has no memory left for another program. End one, or choose another GPU.';
    return new AtollError('out_of_memory', words, { details });
  }
  const remedy = openingRemedies[result] ?? `The CUDA driver did not open the GPU (${said}).`;
  return new AtollError('no_device', remedy, { details });
}

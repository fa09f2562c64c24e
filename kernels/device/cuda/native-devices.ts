/**
 * The GPUs that NVIDIA's driver shows, and the choice of one: by number as the driver counts (CUDA_VISIBLE_DEVICES is the driver's own filter), or by UUID.
 *
 * A MIG slice is shown by the driver only where CUDA_VISIBLE_DEVICES names it, one for a process.
 */
import { AtollError } from '#protocol/errors.ts';
import type { DriverInfo } from './driver.ts';
import { type CudaApi, openCudaApi } from './native-api.ts';
import { cudaSuccess, openingError } from './native-errors.ts';

export interface CudaGpu extends DriverInfo {
  /** As the driver counts them in this process. */
  readonly index: number;
  /** The driver's handle. */
  readonly handle: number;
  /** Memory pools: stream-ordered allocation. */
  readonly pools: boolean;
}

/** Numbers of CUdevice_attribute. */
const attributes = { multiprocessors: 16, major: 75, minor: 76, sharedMax: 97, pools: 115 } as const;
/** mma.m16n8k32 of bytes and cp.async begin with Ampere. */
const capabilityMin = 80;

/** Every GPU that this process may use, whatever its age. Throws `no_device` where there is no driver. */
export function cudaGpus(library?: string): CudaGpu[] {
  const api = openCudaApi(library);
  const count = int(api, 'cuDeviceGetCount');
  return Array.from({ length: count }, (_, index) => describe(api, index));
}

/** Throws `no_device` when there is none of that name, or when it is too old. */
export function chooseGpu(gpus: readonly CudaGpu[], wanted: string | number = 0): CudaGpu {
  const gpu = /^\d+$/.test(String(wanted)) ? gpus[Number(wanted)] : byUuid(gpus, String(wanted));
  if (!gpu) {
    const there = gpus.map(({ index, uuid, name }) => `${index} ${uuid} (${name})`).join(', ') || 'none';
    const mig = String(wanted).startsWith('MIG-')
      ? ` For a MIG slice, set CUDA_VISIBLE_DEVICES=${wanted}.`
      : '';
    throw new AtollError('no_device', `There is no GPU ${wanted} here. There are: ${there}.${mig}`);
  }
  if (gpu.capability < capabilityMin) {
    throw new AtollError(
      'no_device',
      `${gpu.name} has compute capability ${gpu.capability / 10}; the CUDA kernels need 8.0 (Ampere) or newer. Use \`--backend webgpu\` on it.`,
    );
  }
  return gpu;
}

/** The UUID or the unambiguous beginning of one, as CUDA_VISIBLE_DEVICES takes it. */
function byUuid(gpus: readonly CudaGpu[], wanted: string): CudaGpu | undefined {
  const found = gpus.filter(({ uuid }) => uuid.toLowerCase().startsWith(wanted.toLowerCase()));
  return found.length === 1 ? found[0] : undefined;
}

function int(api: CudaApi, name: Parameters<CudaApi['result']>[0], ...args: number[]): number {
  const out = new Int32Array(1);
  opened(api, api.result(name, out, ...args));
  return out[0] as number;
}

function opened(api: CudaApi, result: number): void {
  if (result !== cudaSuccess) throw openingError(result, api.said(result));
}

function describe(api: CudaApi, index: number): CudaGpu {
  const handle = int(api, 'cuDeviceGet', index);
  const attribute = (which: keyof typeof attributes) =>
    int(api, 'cuDeviceGetAttribute', attributes[which], handle);
  const [nameBytes, uuidBytes, bytes] = [new Uint8Array(256), new Uint8Array(16), new BigUint64Array(1)];
  opened(api, api.result('cuDeviceGetName', nameBytes, nameBytes.length, handle));
  opened(api, api.result('cuDeviceGetUuid_v2', uuidBytes, handle));
  opened(api, api.result('cuDeviceTotalMem_v2', bytes, handle));
  const name = new TextDecoder().decode(nameBytes.subarray(0, nameBytes.indexOf(0)));
  return {
    index,
    handle,
    name,
    uuid: uuidText(uuidBytes, / MIG \d/.test(name)),
    capability: 10 * attribute('major') + attribute('minor'),
    multiprocessors: attribute('multiprocessors'),
    memoryBytes: Number(bytes[0]),
    sharedMax: attribute('sharedMax'),
    pools: attribute('pools') !== 0,
    emulated: false,
  };
}

function uuidText(bytes: Uint8Array, isMig: boolean): string {
  const hex = Buffer.from(bytes).toString('hex');
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)];
  return `${isMig ? 'MIG' : 'GPU'}-${parts.join('-')}`;
}

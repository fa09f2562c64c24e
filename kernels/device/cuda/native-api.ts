/**
 * NVIDIA's driver library, function by function, through koffi: nothing is compiled at install, and nothing is loaded before a device is asked for.
 *
 * Handles and device addresses are 64-bit numbers; what a function gives back it writes into a typed array. Names are those that cuda.h maps to.
 */
import koffi from 'koffi';
import { AtollError } from '#protocol/errors.ts';
import { cudaError, cudaSuccess, openingError } from './native-errors.ts';

/** `p`: a typed array (or null) that the call reads or fills, at once. `h`: a handle or an address. */
const kinds = {
  p: 'void *',
  h: 'uint64',
  i: 'int',
  u: 'uint',
  z: 'size_t',
  c: 'uint8',
  s: 'str',
  f: 'uint64',
} as const;

/** CUresult f(...): one letter a parameter. */
const signatures = {
  cuInit: 'u',
  cuDriverGetVersion: 'p',
  cuDeviceGetCount: 'p',
  cuDeviceGet: 'pi',
  cuDeviceGetName: 'pii',
  cuDeviceGetUuid_v2: 'pi',
  cuDeviceTotalMem_v2: 'pi',
  cuDeviceGetAttribute: 'pii',
  cuDeviceGetDefaultMemPool: 'pi',
  cuMemPoolSetAttribute: 'hip',
  cuDevicePrimaryCtxSetFlags_v2: 'iu',
  cuDevicePrimaryCtxRetain: 'pi',
  cuDevicePrimaryCtxRelease_v2: 'i',
  cuDevicePrimaryCtxReset_v2: 'i',
  cuCtxSetCurrent: 'h',
  cuMemGetInfo_v2: 'pp',
  cuMemAlloc_v2: 'pz',
  cuMemFree_v2: 'h',
  cuMemAllocAsync: 'pzh',
  cuMemFreeAsync: 'hh',
  cuMemHostAlloc: 'pzu',
  cuMemFreeHost: 'h',
  cuMemcpyHtoDAsync_v2: 'hhzh',
  cuMemcpyDtoHAsync_v2: 'hhzh',
  cuMemcpyDtoDAsync_v2: 'hhzh',
  cuMemsetD8Async: 'hczh',
  cuStreamCreate: 'pu',
  cuStreamDestroy_v2: 'h',
  cuStreamSynchronize: 'h',
  cuStreamWaitEvent: 'hhu',
  cuEventCreate: 'pu',
  cuEventDestroy_v2: 'h',
  cuEventRecord: 'hh',
  cuEventQuery: 'h',
  cuEventSynchronize: 'h',
  cuModuleLoadData: 'pp',
  cuModuleUnload: 'h',
  cuModuleGetFunction: 'phs',
  cuFuncSetAttribute: 'hii',
  cuGraphCreate: 'pu',
  cuGraphDestroy: 'h',
  cuGraphAddKernelNode_v2: 'phpzp',
  cuGraphInstantiateWithFlags: 'phf',
  cuGraphExecDestroy: 'h',
  cuGraphLaunch: 'hh',
  cuGetErrorName: 'ip',
  cuGetErrorString: 'ip',
} as const;
/** Of CUDA 12.4 and newer. */
const optional = { cuFuncGetParamInfo: 'hzpp' } as const;

type Name = keyof typeof signatures | keyof typeof optional;
type Argument = bigint | number | string | ArrayBufferView | null;
type Entry = (...args: Argument[]) => number;

/** CUDA 12.0: the driver branch that has all of the above. */
const versionMin = 12_000;

export class CudaApi {
  /** 1000 * major + 10 * minor of the newest CUDA that the driver serves. */
  readonly version: number;
  private readonly entries: ReadonlyMap<Name, Entry>;

  constructor(entries: ReadonlyMap<Name, Entry>) {
    this.entries = entries;
    const version = new Int32Array(1);
    const result = this.result('cuDriverGetVersion', version);
    this.version = result === cudaSuccess ? (version[0] as number) : 0;
  }

  has(name: Name): boolean {
    return this.entries.has(name);
  }

  /** The bare result code. */
  result(name: Name, ...args: Argument[]): number {
    const entry = this.entries.get(name);
    if (!entry) throw new AtollError('internal', `This CUDA driver has no ${name}.`);
    return entry(...args);
  }

  /** Throws what the code means. */
  call(name: Name, ...args: Argument[]): void {
    const result = this.result(name, ...args);
    if (result !== cudaSuccess) throw cudaError(result, name, this.said(result));
  }

  /** The 64-bit number that the function writes through its first parameter. */
  make(name: Name, ...args: Argument[]): bigint {
    const out = new BigUint64Array(1);
    this.call(name, out, ...args);
    return out[0] as bigint;
  }

  /** The driver's own name and words for a result. */
  said(result: number): string {
    const texts = (['cuGetErrorName', 'cuGetErrorString'] as const).map((name) => {
      const out = new BigUint64Array(1);
      return this.result(name, result, out) === cudaSuccess && out[0] ? koffi.decode.string(out[0]) : '';
    });
    return texts.filter(Boolean).join(': ') || `result ${result}`;
  }
}

const libraryNames =
  process.platform === 'win32' ? ['nvcuda.dll'] : ['libcuda.so.1', '/usr/lib/wsl/lib/libcuda.so.1'];
const loaded = new Map<string, CudaApi>();

/** The driver, started. `library`: a file instead of the system's own, for tests. Throws `no_device` with what to do. */
export function openCudaApi(library?: string): CudaApi {
  const names = library ? [library] : libraryNames;
  const key = names.join();
  let api = loaded.get(key);
  if (!api) {
    api = new CudaApi(bind(loadFirst(names)));
    if (api.version < versionMin) {
      throw new AtollError(
        'no_device',
        `NVIDIA's driver here serves CUDA ${api.version / 1000}, too old: install branch 525 or newer (580 for the newest NVRTC).`,
      );
    }
    loaded.set(key, api);
  }
  const result = api.result('cuInit', 0);
  if (result !== cudaSuccess) throw openingError(result, api.said(result));
  return api;
}

function loadFirst(names: readonly string[]): ReturnType<typeof koffi.load> {
  let cause: unknown;
  for (const name of names) {
    try {
      return koffi.load(name);
    } catch (error) {
      cause = error;
    }
  }
  throw new AtollError(
    'no_device',
    `NVIDIA's driver is not here (${names[0]} cannot be loaded). Install it; a container must be started with its GPUs (\`--gpus all\`). Any GPU also serves through \`--backend webgpu\`.`,
    { cause },
  );
}

function bind(library: ReturnType<typeof koffi.load>): Map<Name, Entry> {
  const declare = (name: string, letters: string) =>
    library.func(
      name,
      'int',
      [...letters].map((letter) => kinds[letter as keyof typeof kinds]),
    ) as unknown as Entry;
  const entries = new Map<Name, Entry>();
  try {
    for (const [name, letters] of Object.entries(signatures))
      entries.set(name as Name, declare(name, letters));
  } catch (cause) {
    throw new AtollError('no_device', "NVIDIA's driver here is too old: install branch 525 or newer.", {
      cause,
    });
  }
  for (const [name, letters] of Object.entries(optional)) {
    try {
      entries.set(name as Name, declare(name, letters));
    } catch {
      // Older drivers are used without it.
    }
  }
  return entries;
}

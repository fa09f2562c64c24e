/**
 * What NVIDIA's management library (NVML, part of the driver) says of the graphics processors: which there are, MIG instances included, and what they draw and do.
 *
 * Loaded by koffi when first asked for; only ever read from. A machine without the library has no such processors as far as this file is concerned.
 */
import koffi from 'koffi';

/** A whole processor, or one MIG instance of it. */
export interface GpuFacts {
  index: number;
  uuid: string;
  name: string;
  /** The parts that a processor in MIG mode is cut into; it can then not be used as a whole. */
  instances: { index: number; uuid: string }[];
  isMig: boolean;
}

/** Each value is null where this processor does not tell it. */
export interface GpuReading {
  watts: number | null;
  /** Share of the last moments in which anything ran, 0 to 1. */
  busy: number | null;
  memoryUsedBytes: number | null;
  memoryTotalBytes: number | null;
  celsius: number | null;
}

export interface Nvml {
  driver: string;
  gpus(): GpuFacts[];
  /** By the UUID of a processor or a MIG instance (which draws what its processor draws), or by index; null where there is none of that name. */
  read(which: string): GpuReading | null;
  close(): void;
}

/** As in nvml.h. */
const success = 0;
const temperatureOfGpu = 0;
const textBytes = 96;
const instancesMax = 64;

const libraries =
  process.platform === 'win32' ? ['nvml.dll'] : ['libnvidia-ml.so.1', '/usr/lib/wsl/lib/libnvidia-ml.so.1'];

type Call = (...args: unknown[]) => number;
type Handle = bigint;

/** Null where there is no driver, or it does not answer. `ATOLL_NVML` names the library outright. */
export function openNvml(env: NodeJS.ProcessEnv = process.env): Nvml | null {
  const named = env['ATOLL_NVML'];
  for (const file of named ? [named] : libraries) {
    try {
      const library = koffi.load(file);
      const nvml = new NvmlLibrary((name, args) => library.func(`int ${name}(${args})`) as unknown as Call);
      return nvml.opened ? nvml : null;
    } catch {
      continue; // not there, or not what it says it is
    }
  }
  return null;
}

class NvmlLibrary implements Nvml {
  readonly opened: boolean;
  readonly driver: string;
  readonly #find: (name: string, args: string) => Call;
  readonly #calls = new Map<string, Call | null>();
  #byUuid: Map<string, Handle> | null = null;

  constructor(find: (name: string, args: string) => Call) {
    this.#find = find;
    this.opened = this.#call('nvmlInit_v2', '') === success;
    this.driver = this.opened ? (this.#text('nvmlSystemGetDriverVersion', 'void *, uint32_t') ?? '') : '';
  }

  gpus(): GpuFacts[] {
    const count = this.#word('nvmlDeviceGetCount_v2', 'void *') ?? 0;
    return Array.from({ length: count }, (_, index) => this.#facts(index)).filter((facts) => facts !== null);
  }

  read(which: string): GpuReading | null {
    const handle = this.#handle(which);
    if (handle === null) return null;
    const whole =
      this.#pointer('nvmlDeviceGetDeviceHandleFromMigDeviceHandle', 'void *, void *', handle) ?? handle;
    const milliwatts = this.#word('nvmlDeviceGetPowerUsage', 'void *, void *', whole);
    const busy = this.#words('nvmlDeviceGetUtilizationRates', 'void *, void *', 2, handle);
    const memory = new BigUint64Array(3); // total, free, used
    const hasMemory = this.#call('nvmlDeviceGetMemoryInfo', 'void *, void *', handle, memory) === success;
    return {
      watts: milliwatts === null ? null : milliwatts / 1000,
      busy: busy ? (busy[0] as number) / 100 : null,
      memoryUsedBytes: hasMemory ? Number(memory[2]) : null,
      memoryTotalBytes: hasMemory ? Number(memory[0]) : null,
      celsius: this.#temperature(whole),
    };
  }

  close(): void {
    this.#call('nvmlShutdown', '');
  }

  #temperature(handle: Handle): number | null {
    const out = new Uint32Array(1);
    const args = 'void *, int, void *';
    const code = this.#call('nvmlDeviceGetTemperature', args, handle, temperatureOfGpu, out);
    return code === success ? (out[0] as number) : null;
  }

  #facts(index: number): GpuFacts | null {
    const handle = this.#pointer('nvmlDeviceGetHandleByIndex_v2', 'uint32_t, void *', index);
    const uuid = handle === null ? null : this.#uuid(handle);
    if (handle === null || uuid === null) return null;
    const mode = this.#migMode(handle);
    return {
      index,
      uuid,
      name: this.#text('nvmlDeviceGetName', 'void *, void *, uint32_t', handle) ?? 'NVIDIA GPU',
      instances: mode ? this.#instances(handle).map((each) => ({ index: each.index, uuid: each.uuid })) : [],
      isMig: mode,
    };
  }

  #migMode(handle: Handle): boolean {
    const [current, pending] = [new Uint32Array(1), new Uint32Array(1)];
    const code = this.#call('nvmlDeviceGetMigMode', 'void *, void *, void *', handle, current, pending);
    return code === success && current[0] === 1;
  }

  #instances(handle: Handle): { index: number; uuid: string; handle: Handle }[] {
    const max = this.#word('nvmlDeviceGetMaxMigDeviceCount', 'void *, void *', handle) ?? 0;
    return Array.from({ length: Math.min(max, instancesMax) }, (_, index) => {
      const instance = this.#pointer(
        'nvmlDeviceGetMigDeviceHandleByIndex',
        'void *, uint32_t, void *',
        handle,
        index,
      );
      const uuid = instance === null ? null : this.#uuid(instance);
      return instance === null || uuid === null ? null : { index, uuid, handle: instance };
    }).filter((each) => each !== null);
  }

  #uuid(handle: Handle): string | null {
    return this.#text('nvmlDeviceGetUUID', 'void *, void *, uint32_t', handle);
  }

  #handle(which: string): Handle | null {
    this.#byUuid ??= new Map(
      this.gpus().flatMap(({ index }) => {
        const handle = this.#pointer('nvmlDeviceGetHandleByIndex_v2', 'uint32_t, void *', index) as Handle;
        const instances = this.#migMode(handle) ? this.#instances(handle) : [];
        return [
          [String(index), handle],
          [this.#uuid(handle) as string, handle],
          ...instances.map((each) => [each.uuid, each.handle] as const),
        ] as [string, Handle][];
      }),
    );
    return this.#byUuid.get(which) ?? null;
  }

  #word(name: string, args: string, ...given: unknown[]): number | null {
    return this.#words(name, args, 1, ...given)?.[0] ?? null;
  }

  #words(name: string, args: string, count: number, ...given: unknown[]): Uint32Array | null {
    const out = new Uint32Array(count);
    return this.#call(name, args, ...given, out) === success ? out : null;
  }

  #pointer(name: string, args: string, ...given: unknown[]): Handle | null {
    const out = new BigUint64Array(1);
    return this.#call(name, args, ...given, out) === success ? (out[0] as bigint) : null;
  }

  #text(name: string, args: string, ...given: unknown[]): string | null {
    const out = Buffer.alloc(textBytes);
    if (this.#call(name, args, ...given, out, out.length) !== success) return null;
    return out.toString('utf8', 0, out.indexOf(0)).slice(0, textBytes);
  }

  /** NVML's code, or -1 where this driver lacks the function. */
  #call(name: string, args: string, ...given: unknown[]): number {
    let call = this.#calls.get(name);
    if (call === undefined) {
      try {
        call = this.#find(name, args);
      } catch {
        call = null;
      }
      this.#calls.set(name, call);
    }
    return call ? call(...given) : -1;
  }
}

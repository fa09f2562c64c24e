/**
 * NVRTC through koffi: CUDA C++ to machine code of one architecture, on threads of koffi's own, so that many sources compile at once and none blocks.
 *
 * The flags are what makes the arithmetic the reference's: no contraction of a product and a sum, no flushing, division as IEEE has it. A GPU that is newer than
 * the compiler gets PTX, which the driver translates.
 */
import path from 'node:path';
import koffi from 'koffi';
import { AtollError } from '#protocol/errors.ts';
import { nvrtcCandidates, realFolders } from './find.ts';
import type { CudaSource } from './launch.ts';

/** Both compilers take these: the tests compile every source with nvcc too. */
export const compilerFlags = [
  '-std=c++17',
  '--fmad=false',
  '-prec-div=true',
  '-prec-sqrt=true',
  '-ftz=false',
] as const;

export interface Nvrtc {
  /** The file, or the name that the loader knows it by. */
  readonly file: string;
  /** Such as `13.0`. */
  readonly version: string;
  readonly major: number;
  /** Architectures it makes machine code for, rising: 80, 90, 120. */
  readonly architectures: readonly number[];
  /** Throws `internal` with the compiler's log. */
  compile(source: CudaSource, architecture: string): Promise<Uint8Array>;
}

type Call = ((...args: unknown[]) => number) & {
  async: (...args: [...unknown[], (error: unknown, result: number) => void]) => void;
};
const parameters = {
  nvrtcVersion: ['void *', 'void *'],
  nvrtcGetNumSupportedArchs: ['void *'],
  nvrtcGetSupportedArchs: ['void *'],
  nvrtcCreateProgram: ['void *', 'str', 'str', 'int', 'void *', 'void *'],
  nvrtcCompileProgram: ['uint64', 'int', 'str *'],
  nvrtcGetProgramLogSize: ['uint64', 'void *'],
  nvrtcGetProgramLog: ['uint64', 'void *'],
  nvrtcGetCUBINSize: ['uint64', 'void *'],
  nvrtcGetCUBIN: ['uint64', 'void *'],
  nvrtcGetPTXSize: ['uint64', 'void *'],
  nvrtcGetPTX: ['uint64', 'void *'],
  nvrtcDestroyProgram: ['void *'],
} as const;
type Calls = Record<keyof typeof parameters, Call>;

/** Throws `no_device` with where it was looked for, unless there is one for a driver of this version (1000 * major + 10 * minor; any where absent). */
export function findNvrtc(driverVersion = Infinity, env: NodeJS.ProcessEnv = process.env): Nvrtc {
  const newer: string[] = [];
  for (const file of nvrtcCandidates(env, realFolders)) {
    const found = openNvrtc(file);
    if (found && found.major * 1000 <= driverVersion) return found;
    if (found) newer.push(`${file} of CUDA ${found.version} is newer than the driver`);
  }
  const own = env['ATOLL_NVRTC'];
  if (own && newer.length === 0) {
    throw new AtollError('no_device', `ATOLL_NVRTC names ${own}, which is no NVRTC that can be loaded.`);
  }
  const wheel = driverVersion < 13_000 ? 'nvidia-cuda-nvrtc-cu12' : 'nvidia-cuda-nvrtc';
  const why = newer.length > 0 ? ` (${newer.join('; ')})` : '';
  throw new AtollError(
    'no_device',
    `The kernels are compiled by NVRTC, which is not here${why}. \`pip install ${wheel}\` brings it; ATOLL_NVRTC may name its file or folder.`,
  );
}

const opened = new Map<string, Nvrtc | null>();

/** Null where that cannot be loaded. */
export function openNvrtc(file: string): Nvrtc | null {
  const known = opened.get(file);
  if (known !== undefined) return known;
  const nvrtc = load(file);
  opened.set(file, nvrtc);
  return nvrtc;
}

function load(file: string): Nvrtc | null {
  let calls: Calls;
  try {
    loadBuiltins(file);
    const library = koffi.load(file);
    calls = Object.fromEntries(
      Object.entries(parameters).map(([name, types]) => [name, library.func(name, 'int', [...types])]),
    ) as unknown as Calls;
  } catch {
    return null;
  }
  const [major, minor, count] = [new Int32Array(1), new Int32Array(1), new Int32Array(1)];
  if (calls.nvrtcVersion(major, minor) !== 0 || calls.nvrtcGetNumSupportedArchs(count) !== 0) return null;
  const architectures = new Int32Array(count[0] as number);
  calls.nvrtcGetSupportedArchs(architectures);
  return {
    file,
    version: `${major[0]}.${minor[0]}`,
    major: major[0] as number,
    architectures: [...architectures],
    compile: (source, architecture) => compile(calls, source, architecture),
  };
}

/** NVRTC asks the loader for its second half by name alone; one that is loaded already is found wherever it lies. */
function loadBuiltins(file: string): void {
  const folder = path.dirname(file);
  if (folder === '.') return;
  const name = realFolders.list(folder).find((each) => /^libnvrtc-builtins\.so\.\d/.test(each));
  if (name) koffi.load(path.join(folder, name), { global: true });
}

/** `sm_90` where the compiler makes that; PTX of the newest it knows for a GPU that is newer; null for one that is too old. */
export function architectureOf({ architectures }: Nvrtc, capability: number): string | null {
  if (architectures.includes(capability)) return `sm_${capability}`;
  const below = architectures.filter((architecture) => architecture < capability);
  return below.length > 0 ? `compute_${Math.max(...below)}` : null;
}

async function compile(calls: Calls, source: CudaSource, architecture: string): Promise<Uint8Array> {
  const program = new BigUint64Array(1);
  const { label } = source;
  const made = calls.nvrtcCreateProgram(program, source.parts.join('\n'), `${label}.cu`, 0, null, null);
  if (made !== 0) throw refusal(label, architecture, made, '');
  try {
    const options = [...compilerFlags, `-arch=${architecture}`];
    const result = await new Promise<number>((resolve, reject) =>
      calls.nvrtcCompileProgram.async(program[0], options.length, options, (error, code) =>
        error ? reject(error as Error) : resolve(code),
      ),
    );
    if (result !== 0) {
      const log = text(calls.nvrtcGetProgramLogSize, calls.nvrtcGetProgramLog, program);
      throw refusal(label, architecture, result, log);
    }
    const isBinary = architecture.startsWith('sm_');
    return isBinary
      ? bytesOf(calls.nvrtcGetCUBINSize, calls.nvrtcGetCUBIN, program)
      : bytesOf(calls.nvrtcGetPTXSize, calls.nvrtcGetPTX, program);
  } finally {
    calls.nvrtcDestroyProgram(program);
  }
}

/** NVRTC_ERROR_COMPILATION: the source is at fault, and not this machine. */
const sourceIsWrong = 6;

function refusal(label: string, architecture: string, result: number, log: string): AtollError {
  if (result === sourceIsWrong) {
    return new AtollError('internal', `NVRTC does not compile ${label} for ${architecture}.\n${log}`);
  }
  return new AtollError(
    'no_device',
    `NVRTC is here but does not work (${result}${log ? `: ${log}` : ''}). Install it anew, or name another by ATOLL_NVRTC.`,
  );
}

function bytesOf(size: Call, get: Call, program: BigUint64Array): Uint8Array {
  const count = new BigUint64Array(1);
  size(program[0], count);
  const bytes = new Uint8Array(Number(count[0]));
  get(program[0], bytes);
  return bytes;
}

function text(size: Call, get: Call, program: BigUint64Array): string {
  const bytes = bytesOf(size, get, program);
  return new TextDecoder().decode(bytes.subarray(0, -1)).trim().slice(0, 4000);
}

/**
 * NVIDIA's own products, called through koffi on the same GPU, in the same context, on the very operands that our device holds: cuBLASLt's int8 product into
 * i32 (the tensor cores' IMMA, all that exists of it: no quantisation, no rounding) and cuBLAS's f32 product without TF32.
 *
 * Both are row-major products A [M, K] times B [N, K] transposed, so to cuBLAS, which counts by columns, B^T A. Constants are those of cublas_api.h,
 * cublasLt.h and library_types.h.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import koffi from 'koffi';
import type { CudaApi } from '#kernels/device/cuda/native-api.ts';
import { AtollError } from '#protocol/errors.ts';
import type { Shape } from '../kernel/inputs.ts';

const compute32I = 72;
const [real8I, real32I] = [3, 10];
const [descTransA, workspaceBytesMax] = [3, 1];
const transposed = 1;
/** sizeof(cublasLtMatmulHeuristicResult_t): 64 bytes of algorithm, then workspace (u64), state (i32), waves (f32), 16 reserved. */
const [resultBytes, algorithmBytes] = [96, 64];
const candidatesMax = 8;
const workspaceBytes = 64 * 2 ** 20;

/** Folders in which pip and CUDA's installers put the libraries. */
function folders(): string[] {
  const toolkits = ['/usr/local/cuda/lib64', '/usr/local/cuda/targets/x86_64-linux/lib'];
  const pip: string[] = [];
  const bases = [process.env['VIRTUAL_ENV'], process.env['CONDA_PREFIX'], '/usr/local', '/usr', '/opt/conda'];
  for (const base of bases) {
    const lib = base ? path.join(base, 'lib') : '';
    if (!lib || !existsSync(lib)) continue;
    for (const python of readdirSync(lib).filter((name) => name.startsWith('python3'))) {
      for (const packages of ['site-packages', 'dist-packages']) {
        for (const own of ['nvidia/cu13/lib', 'nvidia/cublas/lib']) {
          pip.push(path.join(lib, python, packages, own));
        }
      }
    }
  }
  return [...(process.env['ATOLL_CUBLAS'] ? [process.env['ATOLL_CUBLAS']] : []), ...toolkits, ...pip];
}

/** `libNAME.so.MAJOR` where it is, newest first, or by the system's own search. Throws `no_device` with what to do. */
function load(name: string): ReturnType<typeof koffi.load> {
  const files = [13, 12].map((major) => `lib${name}.so.${major}`);
  const there = folders()
    .flatMap((folder) => files.map((file) => path.join(folder, file)))
    .filter(existsSync);
  for (const file of [...there, ...files]) {
    try {
      return koffi.load(file, { global: true });
    } catch {
      // The next one; the last failure is told below.
    }
  }
  throw new AtollError(
    'no_device',
    `lib${name} is not here: pip install nvidia-cublas, or name its folder by ATOLL_CUBLAS.`,
  );
}

/** Of one library: a function of that name whose parameters are `types`, which throws what is not success. */
function binder(library: ReturnType<typeof koffi.load>) {
  return (name: string, ...types: string[]) => {
    const entry = library.func(name, 'int', types) as (...args: unknown[]) => number;
    return (...args: unknown[]): void => {
      const status = entry(...args);
      if (status !== 0) throw new AtollError('internal', `${name} answered ${status}.`);
    };
  };
}

/** The handle that a function writes through its first parameter. */
function made(create: (...args: unknown[]) => void, ...args: unknown[]): bigint {
  const out = new BigUint64Array(1);
  create(out, ...args);
  return out[0] as bigint;
}

/** Hands one product over; `wait` comes back when all are done. */
export interface VendorProduct {
  readonly label: string;
  multiply(): void;
}

/** Addresses of A, B and the result. */
export interface Operands {
  a: bigint;
  b: bigint;
  c: bigint;
}

export class Vendor {
  private readonly api: CudaApi;
  private readonly stream: bigint;

  /** The caller's thread has the context of the operands. */
  constructor(api: CudaApi) {
    this.api = api;
    this.stream = api.make('cuStreamCreate', 0);
  }

  wait(): void {
    this.api.call('cuStreamSynchronize', this.stream);
  }

  /** f32 by f32, without TF32. */
  real({ M, N, K }: Shape, { a, b, c }: Operands): VendorProduct {
    // No math mode allows TF32 unless it is set; neither may the environment.
    process.env['NVIDIA_TF32_OVERRIDE'] = '0';
    load('cublasLt');
    const bind = binder(load('cublas'));
    const handle = made(bind('cublasCreate_v2', 'void *'));
    bind('cublasSetStream_v2', 'uint64', 'uint64')(handle, this.stream);
    const version = new Int32Array(1);
    bind('cublasGetVersion_v2', 'uint64', 'void *')(handle, version);
    const sgemm = bind(
      'cublasSgemm_v2',
      ...['uint64', 'int', 'int', 'int', 'int', 'int', 'void *', 'uint64', 'int'],
      ...['uint64', 'int', 'void *', 'uint64', 'int'],
    );
    const [one, zero] = [Float32Array.of(1), Float32Array.of(0)];
    return {
      label: String(version[0]),
      multiply: () => sgemm(handle, transposed, 0, N, M, K, one, b, K, a, K, zero, c, N),
    };
  }

  /** int8 by int8 into i32, by the fastest of what the library proposes. */
  bytes(shape: Shape, operands: Operands): VendorProduct {
    const library = load('cublasLt');
    const version = library.func('cublasLtGetVersion', 'size_t', []) as () => number;
    const plan = new BytesPlan(binder(library), shape, operands, this.stream, this.api);
    const candidates = plan.candidates();
    let best = { seconds: Infinity, algorithm: candidates[0] as Uint8Array };
    for (const algorithm of candidates) {
      const run = (count: number) => {
        const start = performance.now();
        for (let i = 0; i < count; i++) plan.multiply(algorithm);
        this.wait();
        return (performance.now() - start) / 1e3 / count;
      };
      run(1);
      const seconds = run(5);
      if (seconds < best.seconds) best = { seconds, algorithm };
    }
    return { label: String(version()), multiply: () => plan.multiply(best.algorithm) };
  }
}

/** What cuBLASLt wants to be told of one product. */
class BytesPlan {
  private readonly handle: bigint;
  private readonly desc: bigint;
  private readonly layouts: readonly [b: bigint, a: bigint, c: bigint];
  private readonly workspace: bigint;
  private readonly bind: ReturnType<typeof binder>;
  private readonly run: (...args: unknown[]) => void;
  private readonly operands: Operands;
  private readonly stream: bigint;

  constructor(
    bind: ReturnType<typeof binder>,
    { M, N, K }: Shape,
    operands: Operands,
    stream: bigint,
    api: CudaApi,
  ) {
    [this.bind, this.operands, this.stream] = [bind, operands, stream];
    this.handle = made(bind('cublasLtCreate', 'void *'));
    this.desc = made(bind('cublasLtMatmulDescCreate', 'void *', 'int', 'int'), compute32I, real32I);
    const set = bind('cublasLtMatmulDescSetAttribute', 'uint64', 'int', 'void *', 'size_t');
    set(this.desc, descTransA, Int32Array.of(transposed), 4);
    const layout = bind('cublasLtMatrixLayoutCreate', 'void *', 'int', 'uint64', 'uint64', 'int64');
    this.layouts = [
      made(layout, real8I, K, N, K),
      made(layout, real8I, K, M, K),
      made(layout, real32I, N, M, N),
    ];
    this.workspace = api.make('cuMemAlloc_v2', workspaceBytes);
    this.run = bind(
      'cublasLtMatmul',
      ...['uint64', 'uint64', 'void *', 'uint64', 'uint64', 'uint64', 'uint64', 'void *'],
      ...['uint64', 'uint64', 'uint64', 'uint64', 'void *', 'uint64', 'size_t', 'uint64'],
    );
  }

  /** Algorithms that the library proposes, each as it wants them back. Throws when there is none. */
  candidates(): Uint8Array[] {
    const { bind, layouts } = this;
    const preference = made(bind('cublasLtMatmulPreferenceCreate', 'void *'));
    const set = bind('cublasLtMatmulPreferenceSetAttribute', 'uint64', 'int', 'void *', 'size_t');
    set(preference, workspaceBytesMax, BigUint64Array.of(BigInt(workspaceBytes)), 8);
    const results = new Uint8Array(candidatesMax * resultBytes);
    const found = new Int32Array(1);
    const ask = bind(
      'cublasLtMatmulAlgoGetHeuristic',
      ...['uint64', 'uint64', 'uint64', 'uint64', 'uint64', 'uint64', 'uint64', 'int', 'void *', 'void *'],
    );
    const [b, a, c] = layouts;
    ask(this.handle, this.desc, b, a, c, c, preference, candidatesMax, results, found);
    const all = Array.from({ length: found[0] as number }, (_, i) =>
      results.slice(i * resultBytes, (i + 1) * resultBytes),
    );
    const usable = all.filter(
      (result) => new DataView(result.buffer).getInt32(algorithmBytes + 8, true) === 0,
    );
    if (usable.length === 0) throw new AtollError('internal', 'cuBLASLt has no int8 product of this shape.');
    return usable.map((result) => result.slice(0, algorithmBytes));
  }

  multiply(algorithm: Uint8Array): void {
    const [b, a, c] = this.layouts;
    const { operands, workspace } = this;
    const [one, zero] = [Int32Array.of(1), Int32Array.of(0)];
    this.run(
      ...[this.handle, this.desc, one, operands.b, b, operands.a, a, zero, operands.c, c, operands.c, c],
      ...[algorithm, workspace, workspaceBytes, this.stream],
    );
  }
}

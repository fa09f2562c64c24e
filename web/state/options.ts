/**
 * What the page's address asks for: `?backend=wasm|webgpu|reference` takes that one and no other, `?software=1` takes a software WebGPU adapter too,
 * `?threads=N` sets the threads of WebAssembly, `?job=CID` shows one job. Anything else is ignored: a link can choose, but never start anything.
 */
export type PageBackend = 'auto' | 'webgpu' | 'wasm' | 'reference';

export interface PageOptions {
  allowSoftware: boolean;
  backend: PageBackend;
  /** Null: by the cores. */
  threads: number | null;
  job: string | null;
}

const named = ['webgpu', 'wasm', 'reference'] as const;

export function parseOptions(search: string): PageOptions {
  const query = new URLSearchParams(search);
  const threads = query.get('threads') ?? '';
  return {
    allowSoftware: query.get('software') === '1',
    backend: named.find((backend) => backend === query.get('backend')) ?? 'auto',
    threads: /^([1-9]|1[0-6])$/.test(threads) ? Number(threads) : null,
    job: query.get('job'),
  };
}

export interface Host {
  isSecureContext: boolean;
  hasGpu: boolean;
  hasSimd: boolean;
}

/** What keeps this browser from computing, told from what is already there: nothing is requested. */
export type Lack = 'secure-context' | 'webgpu' | 'simd' | null;

export function lackOf({ backend }: PageOptions, { isSecureContext, hasGpu, hasSimd }: Host): Lack {
  if (!isSecureContext) return 'secure-context';
  if (backend === 'webgpu') return hasGpu ? null : 'webgpu';
  if (backend === 'wasm') return hasSimd ? null : 'simd';
  return backend === 'reference' || hasGpu || hasSimd ? null : 'simd';
}

/** One function that adds vectors: accepted by engines with WebAssembly SIMD. */
const simdModule = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0],
  ...[10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
);

/** Whether this browser runs WebAssembly SIMD. */
export function hasSimd(): boolean {
  return typeof WebAssembly === 'object' && WebAssembly.validate(simdModule);
}

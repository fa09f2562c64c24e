/** The matrices that everybody multiplies: uniform in [-1, 1), the same numbers in Node and in every tab. */
import { lowbias32 } from '#kernels/ops/math/cpu.ts';

export interface Shape {
  M: number;
  N: number;
  K: number;
}

function uniform(size: number, seed: number): Float32Array {
  const base = lowbias32(seed);
  return Float32Array.from({ length: size }, (_, i) => {
    const u = lowbias32((base + Math.imul(i, 0x9e3779b9)) >>> 0) >>> 8;
    return (u - 2 ** 23) / 2 ** 23;
  });
}

/** Two A matrices [M, K] and one B [K, N], row-major. */
export function inputs({ M, N, K }: Shape): { a: [Float32Array, Float32Array]; b: Float32Array } {
  return { a: [uniform(M * K, 1), uniform(M * K, 2)], b: uniform(K * N, 3) };
}

/** [rows, cols] to [cols, rows]. */
export function transposed(x: Float32Array, rows: number, cols: number): Float32Array {
  const y = new Float32Array(x.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) y[c * rows + r] = x[r * cols + c] as number;
  return y;
}

/** The product in f64. */
export function product64(a: Float32Array, b: Float32Array, { M, N, K }: Shape): Float64Array {
  const c = new Float64Array(M * N);
  for (let m = 0; m < M; m++) {
    for (let k = 0; k < K; k++) {
      const x = a[m * K + k] as number;
      for (let n = 0; n < N; n++) c[m * N + n] = (c[m * N + n] as number) + x * (b[k * N + n] as number);
    }
  }
  return c;
}

/** SHA-256 of the bits. */
export async function digestOf(x: Float32Array): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint32Array(x.slice().buffer)));
  return [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

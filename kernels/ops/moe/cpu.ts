/** Reference of a mixture of experts. */
import { round } from '../gemm/cpu.ts';
import { add, clamp, exp, mul, recip, sub } from '../math/cpu.ts';
import type { CpuQuantized } from '../quantize/cpu.ts';
import type { Bits } from '../quantize/spec.ts';
import { sum } from '../reduce/cpu.ts';

type F = Float32Array;
type U = Uint32Array;

/** v_0 + v_1 + ..., in this order. */
function fold(count: number, value: (j: number) => number): number {
  let total = value(0);
  for (let j = 1; j < count; j++) total = add(total, value(j));
  return total;
}

export interface Routing {
  ids: U;
  gates: F;
  order: U;
  places: U;
  offsets: U;
}

export function route(logits: F, M: number, E: number, k: number, out: Routing): void {
  const { ids, gates, order, places, offsets } = out;
  for (let t = 0; t < M; t++) {
    const row = logits.subarray(t * E, (t + 1) * E);
    const chosen = Array.from(row.keys()).sort((x, y) => (row[y] as number) - (row[x] as number) || x - y);
    const largest = row[chosen[0] as number] as number;
    const e = (j: number) => exp(sub(row[chosen[j] as number] as number, largest));
    const inverse = recip(fold(k, e));
    for (let j = 0; j < k; j++) {
      ids[t * k + j] = chosen[j] as number;
      gates[t * k + j] = mul(e(j), inverse);
    }
  }
  let at = 0;
  for (let expert = 0; expert < E; expert++) {
    offsets[expert] = at;
    for (let s = 0; s < M * k; s++) {
      if (ids[s] !== expert) continue;
      order[at] = s;
      places[s] = at++;
    }
  }
  offsets[E] = at;
}

export function routeGrad(ids: U, gates: F, dgates: F, dlogits: F, M: number, E: number, k: number): void {
  dlogits.fill(0, 0, M * E);
  for (let t = 0; t < M; t++) {
    const gate = (j: number) => gates[t * k + j] as number;
    const d = (j: number) => dgates[t * k + j] as number;
    const D = fold(k, (j) => mul(gate(j), d(j)));
    for (let j = 0; j < k; j++) {
      const id = ids[t * k + j] as number;
      if (id < E) dlogits[t * E + id] = mul(gate(j), sub(d(j), D));
    }
  }
}

export function gatherRows(src: F, order: U, dst: F, M: number, k: number, cols: number): void {
  for (let r = 0; r < M * k; r++) {
    const t = Math.min(Math.floor((order[r] as number) / k), M - 1);
    dst.set(src.subarray(t * cols, (t + 1) * cols), r * cols);
  }
}

/** Where slot s went; a wrong place is the last one. */
const placeOf = (places: U, s: number, slots: number) => Math.min(places[s] as number, slots - 1);

export function combine(
  rows: F,
  places: U,
  gates: F | null,
  residual: F | null,
  y: F,
  M: number,
  k: number,
  cols: number,
): void {
  for (let i = 0; i < M * cols; i++) {
    const t = Math.floor(i / cols);
    const v = fold(k, (j) => {
      const s = t * k + j;
      const value = rows[placeOf(places, s, M * k) * cols + (i % cols)] as number;
      return gates ? mul(gates[s] as number, value) : value;
    });
    y[i] = clamp(residual ? add(residual[i] as number, v) : v);
  }
}

export function combineGrad(
  dy: F,
  rows: F,
  places: U,
  gates: F,
  drows: F,
  dgates: F,
  M: number,
  k: number,
  cols: number,
): void {
  const products = new Float32Array(cols);
  for (let s = 0; s < M * k; s++) {
    const [from, to] = [Math.floor(s / k) * cols, placeOf(places, s, M * k) * cols];
    for (let c = 0; c < cols; c++) {
      const d = dy[from + c] as number;
      products[c] = mul(d, rows[to + c] as number);
      drows[to + c] = clamp(mul(gates[s] as number, d));
    }
    dgates[s] = sum(products, 0, cols);
  }
}

/** Sum of the products of two rows of mantissas from `start` to `end`. */
function dot(a: Float64Array, aAt: number, b: Float64Array, bAt: number, start: number, end: number): number {
  let total = 0;
  for (let i = start; i < end; i++) total += (a[aAt + i] as number) * (b[bAt + i] as number);
  return total;
}

const exponent = (q: CpuQuantized, row: number, nb: Bits) => (q.exponents[row] as number) - nb;

/** Row r of a by the batch of b that its expert is. */
export function groupedRows(a: CpuQuantized, b: CpuQuantized, offsets: U, dst: F, nb: Bits): void {
  const { rows: R, cols: K } = a;
  const N = b.rows;
  dst.fill(0, 0, R * N);
  for (let e = 0; e < b.batch; e++) {
    const end = Math.min(offsets[e + 1] as number, R);
    for (let r = offsets[e] as number; r < end; r++) {
      for (let n = 0; n < N; n++) {
        const total = dot(a.mantissas, r * K, b.mantissas, (e * N + n) * K, 0, K);
        dst[r * N + n] = round(total, exponent(a, r, nb) + exponent(b, e * N + n, nb));
      }
    }
  }
}

/** Each expert's part of the contraction. */
export function groupedContraction(
  a: CpuQuantized,
  b: CpuQuantized,
  offsets: U,
  dst: F,
  residual: F | null,
  nb: Bits,
): void {
  const { rows: M, cols: R } = a;
  const N = b.rows;
  for (let e = 0; e + 1 < offsets.length; e++) {
    const [start, end] = [offsets[e] as number, Math.min(offsets[e + 1] as number, R)];
    for (let m = 0; m < M; m++) {
      for (let n = 0; n < N; n++) {
        const at = (e * M + m) * N + n;
        const total = dot(a.mantissas, m * R, b.mantissas, n * R, start, end);
        const value = round(total, exponent(a, m, nb) + exponent(b, n, nb));
        dst[at] = residual ? clamp(add(residual[at] as number, value)) : value;
      }
    }
  }
}

/**
 * A mixture of experts in AssemblyScript: routing, rows there and back. The products are in grouped/wasm.ts.
 *
 * `routeTokens`, `routeGrad`, `gatherRows`, `combine` and `combineGrad` share tokens or slots among parts; sorting slots is one part's work.
 */
import { share } from '../../tensor/wasm.ts';
import { add, clamp, exp, mul, put, recipPositive, sub } from '../math/wasm.ts';
import { sumBytes, sumRow } from '../reduce/wasm.ts';

@inline
function word(p: usize, i: i32): v128 {
  return v128.load_splat<u32>(p + (<usize>i << 2));
}

@inline
function set(p: usize, i: i32, x: v128): void {
  v128.store_lane<u32>(p + (<usize>i << 2), x, 0);
}

/** The largest of E logits after (`last`, `chosen`) in falling order, the lower index first among equals. */
function nextOf(row: usize, E: i32, last: f32, chosen: i32): i32 {
  let best: f32 = -Infinity;
  let at = 0;
  for (let e = 0; e < E; e++) {
    const l = load<f32>(row + (<usize>e << 2));
    if (l <= best || l > last || (l == last && e <= chosen)) continue;
    best = l;
    at = e;
  }
  return at;
}

export function routeTokens(
  logits: usize,
  M: i32,
  E: i32,
  k: i32,
  ids: usize,
  gates: usize,
  _scratch: usize,
  part: i32,
  parts: i32,
): void {
  const end = share(M, part + 1, parts);
  for (let t = share(M, part, parts); t < end; t++) {
    const row = logits + (<usize>t * <usize>E << 2);
    const slot = t * k;
    let last: f32 = Infinity;
    let chosen = -1;
    let largest = i32x4.splat(0);
    let total = largest;
    for (let j = 0; j < k; j++) {
      chosen = nextOf(row, E, last, chosen);
      last = load<f32>(row + (<usize>chosen << 2));
      if (j == 0) largest = f32x4.splat(last);
      const e = exp(sub(f32x4.splat(last), largest));
      total = j == 0 ? e : add(total, e);
      store<i32>(ids + (<usize>(slot + j) << 2), chosen);
      set(gates, slot + j, e);
    }
    const inverse = recipPositive(total);
    for (let j = slot; j < slot + k; j++) set(gates, j, mul(word(gates, j), inverse));
  }
}

/** Slots sorted by expert, stably. Scratch: a word an expert. Part 0 does it all. */
export function routeSlots(
  ids: usize,
  slots: i32,
  E: i32,
  order: usize,
  places: usize,
  offsets: usize,
  scratch: usize,
  part: i32,
  _parts: i32,
): void {
  if (part != 0) return;
  memory.fill(scratch, 0, <usize>E << 2);
  for (let s = 0; s < slots; s++) {
    const count = scratch + (<usize>load<u32>(ids + (<usize>s << 2)) << 2);
    store<i32>(count, load<i32>(count) + 1);
  }
  let before = 0;
  for (let e = 0; e < E; e++) {
    const cursor = scratch + (<usize>e << 2);
    const count = load<i32>(cursor);
    store<i32>(cursor, before);
    store<i32>(offsets + (<usize>e << 2), before);
    before += count;
  }
  store<i32>(offsets + (<usize>E << 2), before);
  for (let s = 0; s < slots; s++) {
    const cursor = scratch + (<usize>load<u32>(ids + (<usize>s << 2)) << 2);
    const at = load<i32>(cursor);
    store<i32>(cursor, at + 1);
    store<i32>(order + (<usize>at << 2), s);
    store<i32>(places + (<usize>s << 2), at);
  }
}

export function routeGrad(
  ids: usize,
  gates: usize,
  dgates: usize,
  dlogits: usize,
  M: i32,
  E: i32,
  k: i32,
  _scratch: usize,
  part: i32,
  parts: i32,
): void {
  const end = share(M, part + 1, parts);
  for (let t = share(M, part, parts); t < end; t++) {
    const row = dlogits + (<usize>t * <usize>E << 2);
    const slot = t * k;
    memory.fill(row, 0, <usize>E << 2);
    let total = mul(word(gates, slot), word(dgates, slot));
    for (let s = slot + 1; s < slot + k; s++) total = add(total, mul(word(gates, s), word(dgates, s)));
    for (let s = slot; s < slot + k; s++) {
      const id = load<i32>(ids + (<usize>s << 2));
      if (<u32>id < <u32>E) set(row, id, mul(word(gates, s), sub(word(dgates, s), total)));
    }
  }
}

export function gatherRows(
  src: usize,
  order: usize,
  dst: usize,
  M: i32,
  k: i32,
  cols: i32,
  _scratch: usize,
  part: i32,
  parts: i32,
): void {
  const bytes = <usize>cols << 2;
  const end = share(M * k, part + 1, parts);
  for (let r = share(M * k, part, parts); r < end; r++) {
    const token = min(load<u32>(order + (<usize>r << 2)) / <u32>k, <u32>M - 1);
    memory.copy(dst + <usize>r * bytes, src + <usize>token * bytes, bytes);
  }
}

/** Address of the row that slot s went to. */
@inline
function rowOf(rows: usize, places: usize, s: i32, slots: i32, bytes: usize): usize {
  return rows + <usize>min(load<u32>(places + (<usize>s << 2)), <u32>slots - 1) * bytes;
}

/** `gates` and `residual`: addresses, or 0. */
export function combine(
  rows: usize,
  places: usize,
  gates: usize,
  residual: usize,
  y: usize,
  M: i32,
  k: i32,
  cols: i32,
  _scratch: usize,
  part: i32,
  parts: i32,
): void {
  const bytes = <usize>cols << 2;
  const end = share(M, part + 1, parts);
  for (let t = share(M, part, parts); t < end; t++) {
    const at = <usize>t * bytes;
    for (let i: usize = 0; i < bytes; i += 16) {
      let v = i32x4.splat(0);
      for (let s = t * k; s < t * k + k; s++) {
        let x = v128.load(rowOf(rows, places, s, M * k, bytes) + i);
        if (gates != 0) x = mul(word(gates, s), x);
        v = s == t * k ? x : add(v, x);
      }
      if (residual != 0) v = add(v128.load(residual + at + i), v);
      put(y + at + i, clamp(v), cols - <i32>(i >> 2));
    }
  }
}

/** Scratch of a part: what `sumRow` takes, then a row and a cache line. */
export function combineGrad(
  dy: usize,
  rows: usize,
  places: usize,
  gates: usize,
  drows: usize,
  dgates: usize,
  M: i32,
  k: i32,
  cols: i32,
  scratch: usize,
  part: i32,
  parts: i32,
): void {
  const bytes = <usize>cols << 2;
  const products = scratch + sumBytes(cols);
  const end = share(M * k, part + 1, parts);
  for (let s = share(M * k, part, parts); s < end; s++) {
    const from = dy + <usize>(s / k) * bytes;
    const row = rowOf(rows, places, s, M * k, bytes);
    const to = rowOf(drows, places, s, M * k, bytes);
    const gate = word(gates, s);
    for (let i: usize = 0; i < bytes; i += 16) {
      const d = v128.load(from + i);
      v128.store(products + i, mul(d, v128.load(row + i)));
      put(to + i, clamp(mul(gate, d)), cols - <i32>(i >> 2));
    }
    store<f32>(dgates + (<usize>s << 2), sumRow(products, cols, scratch));
  }
}

/** Embedding gather and its order-free gradient in AssemblyScript. */
import { Operand, panelAt, panelsOf, share } from '../../tensor/wasm.ts';
import { c } from '../constants/wasm.ts';
import * as k from '../constants/wasm.ts';
import { add, clamp, fl, put } from '../math/wasm.ts';

/** `wpe` and `positions` are 0 where there are none. */
export function embed(
  tokens: usize,
  wte: usize,
  wpe: usize,
  positions: usize,
  x: usize,
  rows: i32,
  cols: i32,
  T: i32,
  _scratch: usize,
  part: i32,
  parts: i32,
): void {
  const bytes = <usize>cols << 2;
  const end = share(rows, part + 1, parts);
  for (let r = share(rows, part, parts); r < end; r++) {
    const token = wte + <usize>load<u32>(tokens + (<usize>r << 2)) * bytes;
    const row = positions == 0 ? <u32>(r % T) : load<u32>(positions + (<usize>r << 2));
    const position = wpe + <usize>row * bytes;
    const to = x + <usize>r * bytes;
    for (let i: usize = 0; i < bytes; i += 16) {
      const value = v128.load(token + i);
      put(to + i, clamp(wpe == 0 ? value : add(value, v128.load(position + i))), cols - <i32>(i >> 2));
    }
  }
}

/**
 * dst[index][channel] (+)= ROUND(sum of the mantissas with that index). Parts share the panels of four channels. `sums` holds, for every panel, four i32
 * for every row of dst. Indices beyond the rows of dst are left out, so that a wrong one cannot write elsewhere.
 */
export function scatterAdd(
  q: Operand,
  indices: usize,
  dst: usize,
  rows: i32,
  nb: i32,
  accumulate: i32,
  sums: usize,
  _scratch: usize,
  part: i32,
  parts: i32,
): void {
  const panels = panelsOf(q);
  const end = share(panels, part + 1, parts);
  for (let i = share(panels, part, parts); i < end; i++) {
    const at = sums + (<usize>(i * rows) << 4);
    memory.fill(at, 0, <usize>rows << 4);
    addPanel(panelAt(q, 0, i), q.length, indices, rows, at);
    const field = i32x4.add(v128.load(q.exponents + (<usize>i << 4)), i32x4.splat(157 - nb));
    const scale = i32x4.shl(i32x4.min_s(i32x4.max_s(field, c(k.int1)), c(k.int254)), 23);
    const left = q.lines - (i << 2);
    for (let r = 0; r < rows; r++) {
      const to = dst + (<usize>(r * q.lines + (i << 2)) << 2);
      const sum = f32x4.convert_i32x4_s(v128.load(at + (<usize>r << 4)));
      const value = clamp(fl(f32x4.mul(f32x4.mul(sum, c(k.twoMinus30)), scale)));
      put(to, accumulate ? clamp(add(v128.load(to), value)) : value, left);
    }
  }
}

/** Four channels of `count` positions, two to a vector. */
@inline
function addPanel(panel: usize, count: i32, indices: usize, rows: i32, sums: usize): void {
  for (let k = 0; k < count; k += 2, panel += 16, indices += 8) {
    const x = v128.load(panel);
    addTo(sums, load<u32>(indices), rows, i32x4.shr_s(i32x4.shl(x, 16), 16));
    if (k + 1 < count) addTo(sums, load<u32>(indices, 4), rows, i32x4.shr_s(x, 16));
  }
}

@inline
function addTo(sums: usize, index: u32, rows: i32, x: v128): void {
  if (index >= <u32>rows) return;
  const p = sums + (<usize>index << 4);
  v128.store(p, i32x4.add(v128.load(p), x));
}

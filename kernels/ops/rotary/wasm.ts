/** Rotary positions in AssemblyScript, four pairs at a time. Parts share the rows. */
import { share } from '../../tensor/wasm.ts';
import { add, clamp, mul, put, sub } from '../math/wasm.ts';

/** Strides and offset in elements. */
@unmanaged
export class Rotary {
  x: usize;
  offset: i32;
  rowStride: i32;
  heads: i32;
  headStride: i32;
  rows: i32;
  /** HD/2. */
  pairs: i32;
  cos: usize;
  sin: usize;
  positions: usize;
  /** Rows of the tables. */
  table: i32;
  inverse: i32;
}

export function rotary(n: Rotary, _scratch: usize, part: i32, parts: i32): void {
  const tableBytes = <usize>n.pairs << 2;
  const end = share(n.rows, part + 1, parts);
  for (let r = share(n.rows, part, parts); r < end; r++) {
    const position = load<u32>(n.positions + (<usize>r << 2));
    if (position >= <u32>n.table) continue;
    const cos = n.cos + <usize>position * tableBytes;
    const sin = n.sin + <usize>position * tableBytes;
    let x = n.x + (<usize>(n.offset + r * n.rowStride) << 2);
    for (let h = 0; h < n.heads; h++, x += <usize>n.headStride << 2) {
      turn(x, cos, sin, n.pairs, n.inverse != 0);
    }
  }
}

/** One head. Vectors that reach past the end of a half are written in part. */
@inline
function turn(x: usize, cos: usize, sin: usize, pairs: i32, inverse: bool): void {
  const half = <usize>pairs << 2;
  for (let i: usize = 0; i < half; i += 16) {
    const left = pairs - <i32>(i >> 2);
    const c = v128.load(cos + i);
    const s = v128.load(sin + i);
    const x0 = v128.load(x + i);
    const x1 = v128.load(x + half + i);
    const a = mul(x0, c);
    const b = mul(x1, s);
    const d = mul(x1, c);
    const e = mul(x0, s);
    put(x + i, clamp(inverse ? add(a, b) : sub(a, b)), left);
    put(x + half + i, clamp(inverse ? sub(d, e) : add(d, e)), left);
  }
}

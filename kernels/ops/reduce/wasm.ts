/**
 * The reductions of NUMERICS.md: 64 lanes are 16 vectors of four. Lanes 0..31 and 32..63 are summed in two passes, so that each half stays in registers;
 * the strides 32 .. 4 of the tree are then vector additions and the last two happen inside one vector.
 *
 * Reads up to 252 bytes past the last value and ignores them.
 */
import { add, mul, take } from '../math/wasm.ts';

/** Adds what follows the last whole round of 64: `count` values at p, of which the vector at lane 4 i holds some, all or none. */
@inline
function addTail(sum: v128, p: usize, i: i32, count: i32): v128 {
  return add(sum, take(p + (<usize>i << 4), count - (i << 2)));
}

/** The sums of lanes 4 first .. 4 first + 31 of at most 4096 values at p: eight vectors at out, added to what is there when first is not 0 (stride 32). */
function half(p: usize, count: i32, first: i32, out: usize): void {
  const end = p + (<usize>(count >> 6) << 8);
  let q = p + (<usize>first << 4);
  let a = i32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  let e = a;
  let f = a;
  let g = a;
  let h = a;
  for (; q < end; q += 256) {
    a = add(a, v128.load(q));
    b = add(b, v128.load(q, 16));
    c = add(c, v128.load(q, 32));
    d = add(d, v128.load(q, 48));
    e = add(e, v128.load(q, 64));
    f = add(f, v128.load(q, 80));
    g = add(g, v128.load(q, 96));
    h = add(h, v128.load(q, 112));
  }
  const rest = count & 63;
  if (rest > first << 2) {
    a = addTail(a, end, first, rest);
    b = addTail(b, end, first + 1, rest);
    c = addTail(c, end, first + 2, rest);
    d = addTail(d, end, first + 3, rest);
    e = addTail(e, end, first + 4, rest);
    f = addTail(f, end, first + 5, rest);
    g = addTail(g, end, first + 6, rest);
    h = addTail(h, end, first + 7, rest);
  }
  if (first != 0) {
    // Stride 32.
    a = add(v128.load(out), a);
    b = add(v128.load(out, 16), b);
    c = add(v128.load(out, 32), c);
    d = add(v128.load(out, 48), d);
    e = add(v128.load(out, 64), e);
    f = add(v128.load(out, 80), f);
    g = add(v128.load(out, 96), g);
    h = add(v128.load(out, 112), h);
  }
  v128.store(out, a);
  v128.store(out, b, 16);
  v128.store(out, c, 32);
  v128.store(out, d, 48);
  v128.store(out, e, 64);
  v128.store(out, f, 80);
  v128.store(out, g, 96);
  v128.store(out, h, 112);
}

/** Strides 2 and 1 of the tree. */
@inline
function lanes(x: v128): f32 {
  x = add(x, v128.shuffle<u32>(x, x, 2, 3, 2, 3));
  x = add(x, v128.shuffle<u32>(x, x, 1, 1, 1, 1));
  return f32x4.extract_lane(x, 0);
}

function block(p: usize, count: i32, scratch: usize): f32 {
  half(p, count, 0, scratch);
  half(p, count, 8, scratch);
  const a = add(v128.load(scratch), v128.load(scratch, 64));
  const b = add(v128.load(scratch, 16), v128.load(scratch, 80));
  const c = add(v128.load(scratch, 32), v128.load(scratch, 96));
  const d = add(v128.load(scratch, 48), v128.load(scratch, 112));
  return lanes(add(add(a, c), add(b, d)));
}

/** Bytes of scratch for the tree of one block. */
export const treeBytes: usize = 128;

/** Bytes of scratch that `sumRow` needs: the tree's, and the partials of every level. */
export function sumBytes(count: i32): usize {
  let bytes = treeBytes;
  while (count > 4096) {
    count = (count + 4095) >> 12;
    bytes += <usize>((count + 63) & ~63) << 2;
  }
  return bytes;
}

/** Sum of `count` values at p. */
export function sumRow(p: usize, count: i32, scratch: usize): f32 {
  return sumLevel(p, count, scratch, scratch + treeBytes);
}

/** `free` is where the partials of this level go; those of the next go behind them. */
function sumLevel(p: usize, count: i32, tree: usize, free: usize): f32 {
  if (count <= 4096) return block(p, count, tree);
  const blocks = (count + 4095) >> 12;
  for (let i = 0; i < blocks; i++) {
    const from = i << 12;
    store<f32>(free + (<usize>i << 2), block(p + (<usize>from << 2), min(4096, count - from), tree));
  }
  return sumLevel(free, blocks, tree, free + (<usize>((blocks + 63) & ~63) << 2));
}

/** The tree over 64 lanes of many columns at once: lane j is `vectors` vectors at acc + j * vectors * 16; the sums end in lane 0. */
export function columnTree(acc: usize, vectors: i32): void {
  const laneBytes = <usize>vectors << 4;
  for (let s = 32; s >= 1; s >>= 1) {
    const bytes = <usize>s * laneBytes;
    for (let p = acc; p < acc + bytes; p += 16) v128.store(p, add(v128.load(p), v128.load(p + bytes)));
  }
}

/** dst = sum * factor. Part 0 does it all: it is for losses and their like. */
export function sum(src: usize, count: i32, factor: f32, dst: usize, scratch: usize, part: i32, _parts: i32): void {
  if (part != 0) return;
  const total = mul(f32x4.splat(sumRow(src, count, scratch)), f32x4.splat(factor));
  store<f32>(dst, f32x4.extract_lane(total, 0));
}

/**
 * Sums of products over panels (tensor/wasm.ts) in registers: 4 rows by 8 columns, or for a single row 16 columns.
 *
 * A pair of contraction steps of a row is splatted against four columns; no sum is across lanes. Narrow panels hold their columns as bytes: half of what a
 * product of one row, which reads every column once, has to wait for.
 */

@inline
function dotAdd(sum: v128, x: v128, y: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(x, y));
}

/** i32 sums of 4 rows (panel at a) by 8 columns (panels at b0, b1) over `bytes` of each panel, into rows at `out`, `stride` bytes apart. */
export function dotBlock(a: usize, b0: usize, b1: usize, bytes: usize, out: usize, stride: usize): void {
  let s00 = i32x4.splat(0);
  let s01 = s00;
  let s10 = s00;
  let s11 = s00;
  let s20 = s00;
  let s21 = s00;
  let s30 = s00;
  let s31 = s00;
  for (const end = a + bytes; a < end; a += 32, b0 += 32, b1 += 32) {
    let y = v128.load(b0);
    let z = v128.load(b1);
    let x = v128.load_splat<u32>(a);
    s00 = dotAdd(s00, x, y);
    s01 = dotAdd(s01, x, z);
    x = v128.load_splat<u32>(a, 4);
    s10 = dotAdd(s10, x, y);
    s11 = dotAdd(s11, x, z);
    x = v128.load_splat<u32>(a, 8);
    s20 = dotAdd(s20, x, y);
    s21 = dotAdd(s21, x, z);
    x = v128.load_splat<u32>(a, 12);
    s30 = dotAdd(s30, x, y);
    s31 = dotAdd(s31, x, z);
    y = v128.load(b0, 16);
    z = v128.load(b1, 16);
    x = v128.load_splat<u32>(a, 16);
    s00 = dotAdd(s00, x, y);
    s01 = dotAdd(s01, x, z);
    x = v128.load_splat<u32>(a, 20);
    s10 = dotAdd(s10, x, y);
    s11 = dotAdd(s11, x, z);
    x = v128.load_splat<u32>(a, 24);
    s20 = dotAdd(s20, x, y);
    s21 = dotAdd(s21, x, z);
    x = v128.load_splat<u32>(a, 28);
    s30 = dotAdd(s30, x, y);
    s31 = dotAdd(s31, x, z);
  }
  v128.store(out, s00);
  v128.store(out, s01, 16);
  out += stride;
  v128.store(out, s10);
  v128.store(out, s11, 16);
  out += stride;
  v128.store(out, s20);
  v128.store(out, s21, 16);
  out += stride;
  v128.store(out, s30);
  v128.store(out, s31, 16);
}

/** The same over narrow columns; `bytes` of the rows' panel. */
export function dotBlockNarrow(a: usize, b0: usize, b1: usize, bytes: usize, out: usize, stride: usize): void {
  let s00 = i32x4.splat(0);
  let s01 = s00;
  let s10 = s00;
  let s11 = s00;
  let s20 = s00;
  let s21 = s00;
  let s30 = s00;
  let s31 = s00;
  for (const end = a + bytes; a < end; a += 32, b0 += 16, b1 += 16) {
    let y = v128.load_ext<i8>(b0);
    let z = v128.load_ext<i8>(b1);
    let x = v128.load_splat<u32>(a);
    s00 = dotAdd(s00, x, y);
    s01 = dotAdd(s01, x, z);
    x = v128.load_splat<u32>(a, 4);
    s10 = dotAdd(s10, x, y);
    s11 = dotAdd(s11, x, z);
    x = v128.load_splat<u32>(a, 8);
    s20 = dotAdd(s20, x, y);
    s21 = dotAdd(s21, x, z);
    x = v128.load_splat<u32>(a, 12);
    s30 = dotAdd(s30, x, y);
    s31 = dotAdd(s31, x, z);
    y = v128.load_ext<i8>(b0, 8);
    z = v128.load_ext<i8>(b1, 8);
    x = v128.load_splat<u32>(a, 16);
    s00 = dotAdd(s00, x, y);
    s01 = dotAdd(s01, x, z);
    x = v128.load_splat<u32>(a, 20);
    s10 = dotAdd(s10, x, y);
    s11 = dotAdd(s11, x, z);
    x = v128.load_splat<u32>(a, 24);
    s20 = dotAdd(s20, x, y);
    s21 = dotAdd(s21, x, z);
    x = v128.load_splat<u32>(a, 28);
    s30 = dotAdd(s30, x, y);
    s31 = dotAdd(s31, x, z);
  }
  v128.store(out, s00);
  v128.store(out, s01, 16);
  out += stride;
  v128.store(out, s10);
  v128.store(out, s11, 16);
  out += stride;
  v128.store(out, s20);
  v128.store(out, s21, 16);
  out += stride;
  v128.store(out, s30);
  v128.store(out, s31, 16);
}

/**
 * i32 sums of the first row of the panel at a by the 16 columns of four panels from b0 on, over `bytes`, a multiple of 64, of the row's panel. For panels that
 * are missing the first stands in, whose sums nobody reads.
 */
export function dotRow(a: usize, b0: usize, panelBytes: usize, columns: i32, bytes: usize, out: usize): void {
  let b1 = columns > 4 ? b0 + panelBytes : b0;
  let b2 = columns > 8 ? b1 + panelBytes : b0;
  let b3 = columns > 12 ? b2 + panelBytes : b0;
  let s0 = i32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  for (const end = a + bytes; a < end; a += 64, b0 += 64, b1 += 64, b2 += 64, b3 += 64) {
    let x = v128.load_splat<u32>(a);
    s0 = dotAdd(s0, x, v128.load(b0));
    s1 = dotAdd(s1, x, v128.load(b1));
    s2 = dotAdd(s2, x, v128.load(b2));
    s3 = dotAdd(s3, x, v128.load(b3));
    x = v128.load_splat<u32>(a, 16);
    s0 = dotAdd(s0, x, v128.load(b0, 16));
    s1 = dotAdd(s1, x, v128.load(b1, 16));
    s2 = dotAdd(s2, x, v128.load(b2, 16));
    s3 = dotAdd(s3, x, v128.load(b3, 16));
    x = v128.load_splat<u32>(a, 32);
    s0 = dotAdd(s0, x, v128.load(b0, 32));
    s1 = dotAdd(s1, x, v128.load(b1, 32));
    s2 = dotAdd(s2, x, v128.load(b2, 32));
    s3 = dotAdd(s3, x, v128.load(b3, 32));
    x = v128.load_splat<u32>(a, 48);
    s0 = dotAdd(s0, x, v128.load(b0, 48));
    s1 = dotAdd(s1, x, v128.load(b1, 48));
    s2 = dotAdd(s2, x, v128.load(b2, 48));
    s3 = dotAdd(s3, x, v128.load(b3, 48));
  }
  v128.store(out, s0);
  v128.store(out, s1, 16);
  v128.store(out, s2, 32);
  v128.store(out, s3, 48);
}

/** The same over narrow columns. */
export function dotRowNarrow(a: usize, b0: usize, panelBytes: usize, columns: i32, bytes: usize, out: usize): void {
  let b1 = columns > 4 ? b0 + panelBytes : b0;
  let b2 = columns > 8 ? b1 + panelBytes : b0;
  let b3 = columns > 12 ? b2 + panelBytes : b0;
  let s0 = i32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  for (const end = a + bytes; a < end; a += 64, b0 += 32, b1 += 32, b2 += 32, b3 += 32) {
    let x = v128.load_splat<u32>(a);
    s0 = dotAdd(s0, x, v128.load_ext<i8>(b0));
    s1 = dotAdd(s1, x, v128.load_ext<i8>(b1));
    s2 = dotAdd(s2, x, v128.load_ext<i8>(b2));
    s3 = dotAdd(s3, x, v128.load_ext<i8>(b3));
    x = v128.load_splat<u32>(a, 16);
    s0 = dotAdd(s0, x, v128.load_ext<i8>(b0, 8));
    s1 = dotAdd(s1, x, v128.load_ext<i8>(b1, 8));
    s2 = dotAdd(s2, x, v128.load_ext<i8>(b2, 8));
    s3 = dotAdd(s3, x, v128.load_ext<i8>(b3, 8));
    x = v128.load_splat<u32>(a, 32);
    s0 = dotAdd(s0, x, v128.load_ext<i8>(b0, 16));
    s1 = dotAdd(s1, x, v128.load_ext<i8>(b1, 16));
    s2 = dotAdd(s2, x, v128.load_ext<i8>(b2, 16));
    s3 = dotAdd(s3, x, v128.load_ext<i8>(b3, 16));
    x = v128.load_splat<u32>(a, 48);
    s0 = dotAdd(s0, x, v128.load_ext<i8>(b0, 24));
    s1 = dotAdd(s1, x, v128.load_ext<i8>(b1, 24));
    s2 = dotAdd(s2, x, v128.load_ext<i8>(b2, 24));
    s3 = dotAdd(s3, x, v128.load_ext<i8>(b3, 24));
  }
  v128.store(out, s0);
  v128.store(out, s1, 16);
  v128.store(out, s2, 32);
  v128.store(out, s3, 48);
}

/** sum (d >> 16). */
@inline
function highAdd(sum: v128, d: v128): v128 {
  return i32x4.add(sum, i32x4.shr_s(d, 16));
}

/** The same for i15: L at `low`, H at `high`, 4 rows by the 4 columns of one panel. */
export function dotBlock15(a: usize, b: usize, bytes: usize, low: usize, high: usize, stride: usize): void {
  let l0 = i32x4.splat(0);
  let l1 = l0;
  let l2 = l0;
  let l3 = l0;
  let h0 = l0;
  let h1 = l0;
  let h2 = l0;
  let h3 = l0;
  for (const end = a + bytes; a < end; a += 32, b += 32) {
    let y = v128.load(b);
    let d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a), y);
    l0 = i32x4.add(l0, d);
    h0 = highAdd(h0, d);
    d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a, 4), y);
    l1 = i32x4.add(l1, d);
    h1 = highAdd(h1, d);
    d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a, 8), y);
    l2 = i32x4.add(l2, d);
    h2 = highAdd(h2, d);
    d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a, 12), y);
    l3 = i32x4.add(l3, d);
    h3 = highAdd(h3, d);
    y = v128.load(b, 16);
    d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a, 16), y);
    l0 = i32x4.add(l0, d);
    h0 = highAdd(h0, d);
    d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a, 20), y);
    l1 = i32x4.add(l1, d);
    h1 = highAdd(h1, d);
    d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a, 24), y);
    l2 = i32x4.add(l2, d);
    h2 = highAdd(h2, d);
    d = i32x4.dot_i16x8_s(v128.load_splat<u32>(a, 28), y);
    l3 = i32x4.add(l3, d);
    h3 = highAdd(h3, d);
  }
  v128.store(low, l0);
  v128.store(low + stride, l1);
  v128.store(low + 2 * stride, l2);
  v128.store(low + 3 * stride, l3);
  v128.store(high, h0);
  v128.store(high + stride, h1);
  v128.store(high + 2 * stride, h2);
  v128.store(high + 3 * stride, h3);
}

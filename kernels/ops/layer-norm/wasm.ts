/**
 * LayerNorm in AssemblyScript. Forward and dx go by rows; dgain and dbias by 16 columns at a time, whose 64 lanes lie in scratch.
 */
import { share } from '../../tensor/wasm.ts';
import { add, bits, clamp, mul, put, rsqrt, sub } from '../math/wasm.ts';
import { columnTree, sumBytes, sumRow } from '../reduce/wasm.ts';

@unmanaged
export class LayerNorm {
  x: usize;
  gain: usize;
  bias: usize;
  y: usize;
  dy: usize;
  dx: usize;
  /** Or 0. */
  residual: usize;
  dgain: usize;
  dbias: usize;
  mean: usize;
  rstd: usize;
  rows: i32;
  cols: i32;
  /** 1 / cols. */
  inverse: f32;
}

/** 1e-5. */
const epsBits: u32 = 0x3727c5ac;

/** Mean of `count` words at p, in every lane. */
@inline
function mean(p: usize, count: i32, inverse: v128, scratch: usize): v128 {
  return mul(f32x4.splat(sumRow(p, count, scratch)), inverse);
}

export function layerNorm(n: LayerNorm, scratch: usize, part: i32, parts: i32): void {
  const squares = scratch + sumBytes(n.cols);
  const cols = n.cols;
  const bytes = <usize>cols << 2;
  const inverse = f32x4.splat(n.inverse);
  const end = share(n.rows, part + 1, parts);
  for (let r = share(n.rows, part, parts); r < end; r++) {
    const x = n.x + <usize>r * bytes;
    const y = n.y + <usize>r * bytes;
    const mu = mean(x, cols, inverse, scratch);
    for (let i: usize = 0; i < bytes; i += 16) {
      const d = sub(v128.load(x + i), mu);
      v128.store(squares + i, mul(d, d));
    }
    const scale = rsqrt(add(mean(squares, cols, inverse, scratch), bits(epsBits)));
    for (let i: usize = 0; i < bytes; i += 16) {
      const xhat = mul(sub(v128.load(x + i), mu), scale);
      put(y + i, add(mul(xhat, v128.load(n.gain + i)), v128.load(n.bias + i)), cols - <i32>(i >> 2));
    }
    v128.store_lane<u32>(n.mean + (<usize>r << 2), mu, 0);
    v128.store_lane<u32>(n.rstd + (<usize>r << 2), scale, 0);
  }
}

export function layerNormGrad(n: LayerNorm, scratch: usize, part: i32, parts: i32): void {
  const cols = n.cols;
  const bytes = <usize>cols << 2;
  const g = scratch + sumBytes(n.cols);
  const xhat = g + ((bytes + 31) & ~15);
  const product = xhat + ((bytes + 31) & ~15);
  const inverse = f32x4.splat(n.inverse);
  const end = share(n.rows, part + 1, parts);
  for (let r = share(n.rows, part, parts); r < end; r++) {
    const at = <usize>r * bytes;
    const mu = v128.load_splat<u32>(n.mean + (<usize>r << 2));
    const scale = v128.load_splat<u32>(n.rstd + (<usize>r << 2));
    for (let i: usize = 0; i < bytes; i += 16) {
      const h = mul(sub(v128.load(n.x + at + i), mu), scale);
      const d = mul(v128.load(n.dy + at + i), v128.load(n.gain + i));
      v128.store(xhat + i, h);
      v128.store(g + i, d);
      v128.store(product + i, mul(d, h));
    }
    const s1 = mean(g, cols, inverse, scratch);
    const s2 = mean(product, cols, inverse, scratch);
    for (let i: usize = 0; i < bytes; i += 16) {
      const inner = sub(sub(v128.load(g + i), s1), mul(v128.load(xhat + i), s2));
      let value = mul(scale, inner);
      if (n.residual != 0) value = add(v128.load(n.residual + at + i), value);
      put(n.dx + at + i, clamp(value), cols - <i32>(i >> 2));
    }
  }
}

/** Vectors of the columns that are summed together, and bytes of their 64 lanes for both sums. */
const wide: i32 = 4;
const lanesBytes: usize = 64 * 16 * 4 * 2;

/** Scratch of a part: 8 KiB of lanes, and 128 bytes for every block of 4096 rows when there are several. */
export function layerNormParamGrad(n: LayerNorm, scratch: usize, part: i32, parts: i32): void {
  const acc = scratch;
  const partials = acc + lanesBytes;
  const groups = (n.cols + 15) >> 4;
  const blocks = (n.rows + 4095) >> 12;
  const end = share(groups, part + 1, parts);
  for (let group = share(groups, part, parts); group < end; group++) {
    const column = group << 4;
    for (let b = 0; b < blocks; b++) {
      memory.fill(acc, 0, lanesBytes);
      addRows(n, column, b << 12, min(n.rows, (b + 1) << 12), acc);
      columnTree(acc, wide * 2);
      if (blocks > 1) memory.copy(partials + (<usize>b << 7), acc, 128);
    }
    if (blocks > 1) {
      memory.fill(acc, 0, lanesBytes);
      addPartials(partials, blocks, acc);
      columnTree(acc, wide * 2);
    }
    for (let i = 0; i < wide; i++) {
      const at = <usize>(column + (i << 2)) << 2;
      const left = n.cols - column - (i << 2);
      put(n.dgain + at, v128.load(acc + (<usize>i << 4)), left);
      put(n.dbias + at, v128.load(acc + 64 + (<usize>i << 4)), left);
    }
  }
}

/** Rows from .. to of 16 columns into their lanes: 64 bytes of dgain, then 64 of dbias. */
function addRows(n: LayerNorm, column: i32, from: i32, to: i32, acc: usize): void {
  const bytes = <usize>n.cols << 2;
  let at = <usize>from * bytes + (<usize>column << 2);
  for (let r = from; r < to; r++, at += bytes) {
    const mu = v128.load_splat<u32>(n.mean + (<usize>r << 2));
    const scale = v128.load_splat<u32>(n.rstd + (<usize>r << 2));
    const lane = acc + (<usize>((r - from) & 63) << 7);
    for (let i: usize = 0; i < 64; i += 16) {
      const dy = v128.load(n.dy + at + i);
      const xhat = mul(sub(v128.load(n.x + at + i), mu), scale);
      v128.store(lane + i, add(v128.load(lane + i), mul(dy, xhat)));
      v128.store(lane + i, add(v128.load(lane + i, 64), dy), 64);
    }
  }
}

/** The sums of up to 4096 blocks, as rows of 128 bytes, into lanes. */
function addPartials(partials: usize, blocks: i32, acc: usize): void {
  for (let b = 0; b < blocks; b++) {
    const lane = acc + (<usize>(b & 63) << 7);
    const row = partials + (<usize>b << 7);
    for (let i: usize = 0; i < 128; i += 16) {
      v128.store(lane + i, add(v128.load(lane + i), v128.load(row + i)));
    }
  }
}

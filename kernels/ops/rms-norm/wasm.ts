/**
 * RMSNorm in AssemblyScript. Forward and dx go by rows; dgain by 16 columns at a time, whose 64 lanes lie in scratch.
 */
import { share } from '../../tensor/wasm.ts';
import { add, bits, clamp, mul, put, rsqrt, sub } from '../math/wasm.ts';
import { columnTree, sumBytes, sumRow } from '../reduce/wasm.ts';

/** Addresses; what a kernel does not use is 0. */
@unmanaged
export class RmsNorm {
  x: usize;
  gain: usize;
  y: usize;
  dy: usize;
  dx: usize;
  /** Or 0. */
  residual: usize;
  dgain: usize;
  rstd: usize;
  rows: i32;
  cols: i32;
  /** 1 / cols. */
  inverse: f32;
}

/** 1e-5. */
const epsBits: u32 = 0x3727c5ac;

/** Scratch: the sum's, and a row. */
export function rmsNorm(n: RmsNorm, scratch: usize, part: i32, parts: i32): void {
  const squares = scratch + sumBytes(n.cols);
  const cols = n.cols;
  const bytes = <usize>cols << 2;
  const end = share(n.rows, part + 1, parts);
  for (let r = share(n.rows, part, parts); r < end; r++) {
    const x = n.x + <usize>r * bytes;
    const y = n.y + <usize>r * bytes;
    for (let i: usize = 0; i < bytes; i += 16) {
      const value = v128.load(x + i);
      v128.store(squares + i, mul(value, value));
    }
    const mean = mul(f32x4.splat(sumRow(squares, cols, scratch)), f32x4.splat(n.inverse));
    const scale = rsqrt(add(mean, bits(epsBits)));
    for (let i: usize = 0; i < bytes; i += 16) {
      put(y + i, mul(mul(v128.load(x + i), scale), v128.load(n.gain + i)), cols - <i32>(i >> 2));
    }
    v128.store_lane<u32>(n.rstd + (<usize>r << 2), scale, 0);
  }
}

/** Scratch: the sum's, and a row. */
export function rmsNormGrad(n: RmsNorm, scratch: usize, part: i32, parts: i32): void {
  const cols = n.cols;
  const bytes = <usize>cols << 2;
  const product = scratch + sumBytes(n.cols);
  const end = share(n.rows, part + 1, parts);
  for (let r = share(n.rows, part, parts); r < end; r++) {
    const at = <usize>r * bytes;
    const scale = v128.load_splat<u32>(n.rstd + (<usize>r << 2));
    for (let i: usize = 0; i < bytes; i += 16) {
      const g = mul(v128.load(n.dy + at + i), v128.load(n.gain + i));
      v128.store(product + i, mul(g, mul(v128.load(n.x + at + i), scale)));
    }
    const mean = mul(f32x4.splat(sumRow(product, cols, scratch)), f32x4.splat(n.inverse));
    for (let i: usize = 0; i < bytes; i += 16) {
      const g = mul(v128.load(n.dy + at + i), v128.load(n.gain + i));
      let value = mul(scale, sub(g, mul(mul(v128.load(n.x + at + i), scale), mean)));
      if (n.residual != 0) value = add(v128.load(n.residual + at + i), value);
      put(n.dx + at + i, clamp(value), cols - <i32>(i >> 2));
    }
  }
}

/** Bytes of 64 lanes of 16 columns. */
const lanesBytes: usize = 64 * 64;

/** Scratch of a part: 4 KiB of lanes, and 64 bytes for every block of 4096 rows when there are several. */
export function rmsNormParamGrad(n: RmsNorm, scratch: usize, part: i32, parts: i32): void {
  const partials = scratch + lanesBytes;
  const groups = (n.cols + 15) >> 4;
  const blocks = (n.rows + 4095) >> 12;
  const end = share(groups, part + 1, parts);
  for (let group = share(groups, part, parts); group < end; group++) {
    const column = group << 4;
    for (let b = 0; b < blocks; b++) {
      memory.fill(scratch, 0, lanesBytes);
      addRows(n, column, b << 12, min(n.rows, (b + 1) << 12), scratch);
      columnTree(scratch, 4);
      if (blocks > 1) memory.copy(partials + (<usize>b << 6), scratch, 64);
    }
    if (blocks > 1) {
      memory.fill(scratch, 0, lanesBytes);
      for (let b = 0; b < blocks; b++) {
        for (let i: usize = 0; i < 64; i += 16) {
          const lane = scratch + (<usize>(b & 63) << 6) + i;
          v128.store(lane, add(v128.load(lane), v128.load(partials + (<usize>b << 6) + i)));
        }
      }
      columnTree(scratch, 4);
    }
    for (let i = 0; i < 4; i++) {
      const at = <usize>(column + (i << 2)) << 2;
      put(n.dgain + at, v128.load(scratch + (<usize>i << 4)), n.cols - column - (i << 2));
    }
  }
}

/** Rows from .. to of 16 columns into their lanes. */
function addRows(n: RmsNorm, column: i32, from: i32, to: i32, acc: usize): void {
  const bytes = <usize>n.cols << 2;
  let at = <usize>from * bytes + (<usize>column << 2);
  for (let r = from; r < to; r++, at += bytes) {
    const scale = v128.load_splat<u32>(n.rstd + (<usize>r << 2));
    const lane = acc + (<usize>((r - from) & 63) << 6);
    for (let i: usize = 0; i < 64; i += 16) {
      const xhat = mul(v128.load(n.x + at + i), scale);
      v128.store(lane + i, add(v128.load(lane + i), mul(v128.load(n.dy + at + i), xhat)));
    }
  }
}

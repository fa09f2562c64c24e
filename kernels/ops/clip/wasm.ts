/** The gradient's norm and the clipping factor in AssemblyScript. Squares are summed in blocks of 4096, which parts share; `sum` adds the blocks up. */
import { share } from '../../tensor/wasm.ts';
import { mul, recip, sqrt } from '../math/wasm.ts';
import { sumBytes, sumRow } from '../reduce/wasm.ts';

/** Sums of the squares of each 4096 values, one word a block. Scratch: what `sumRow` takes, then a block and a cache line. */
export function squareBlocks(src: usize, count: i32, blocks: usize, scratch: usize, part: i32, parts: i32): void {
  const squares = scratch + sumBytes(4096);
  const all = (count + 4095) >> 12;
  const end = share(all, part + 1, parts);
  for (let b = share(all, part, parts); b < end; b++) {
    const from = src + (<usize>b << 14);
    const length = min(4096, count - (b << 12));
    for (let i: usize = 0; i < <usize>length << 2; i += 16) {
      const x = v128.load(from + i);
      v128.store(squares + i, mul(x, x));
    }
    store<f32>(blocks + (<usize>b << 2), sumRow(squares, length, scratch));
  }
}

/** norm > max ? max / norm : 1. Part 0 does it all. */
export function clipScale(partials: usize, count: i32, max: f32, dst: usize, scratch: usize, part: i32, _parts: i32): void {
  if (part != 0) return;
  const norm = sqrt(f32x4.splat(sumRow(partials, count, scratch)));
  const scaled = mul(f32x4.splat(max), recip(norm));
  store<f32>(dst, f32x4.extract_lane(norm, 0) > max ? f32x4.extract_lane(scaled, 0) : 1);
}

/**
 * Sums down the columns in AssemblyScript: 16 columns at a time, a cache line of each row, whose 64 lanes lie in scratch.
 */
import { share } from '../../tensor/wasm.ts';
import { add, clamp, put } from '../math/wasm.ts';
import { columnTree } from '../reduce/wasm.ts';

/** Bytes of 64 lanes of 16 columns. */
const lanesBytes: usize = 64 * 64;

/** Scratch of a part: 4 KiB of lanes, and 64 bytes for every block of 4096 rows when there are several. */
export function columnSum(
  src: usize,
  dst: usize,
  rows: i32,
  cols: i32,
  accumulate: i32,
  scratch: usize,
  part: i32,
  parts: i32,
): void {
  const partials = scratch + lanesBytes;
  const bytes = <usize>cols << 2;
  const groups = (cols + 15) >> 4;
  const blocks = (rows + 4095) >> 12;
  const end = share(groups, part + 1, parts);
  for (let group = share(groups, part, parts); group < end; group++) {
    const at = <usize>group << 6;
    for (let b = 0; b < blocks; b++) {
      const from = b << 12;
      sumLines(src + <usize>from * bytes + at, bytes, min(4096, rows - from), scratch);
      if (blocks > 1) memory.copy(partials + (<usize>b << 6), scratch, 64);
    }
    if (blocks > 1) sumLines(partials, 64, blocks, scratch);
    for (let i = 0; i < 4; i++) {
      const to = dst + at + (<usize>i << 4);
      const sum = v128.load(scratch + (<usize>i << 4));
      put(to, clamp(accumulate ? add(v128.load(to), sum) : sum), cols - (group << 4) - (i << 2));
    }
  }
}

/** The sums of 16 columns over at most 4096 rows at p, in the first 64 bytes of `acc`. */
function sumLines(p: usize, stride: usize, count: i32, acc: usize): void {
  memory.fill(acc, 0, lanesBytes);
  for (let r = 0; r < count; r++, p += stride) {
    const lane = acc + (<usize>(r & 63) << 6);
    v128.store(lane, add(v128.load(lane), v128.load(p)));
    v128.store(lane, add(v128.load(lane, 16), v128.load(p, 16)), 16);
    v128.store(lane, add(v128.load(lane, 32), v128.load(p, 32)), 32);
    v128.store(lane, add(v128.load(lane, 48), v128.load(p, 48)), 48);
  }
  columnTree(acc, 4);
}

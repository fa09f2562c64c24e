/**
 * Sampling in AssemblyScript: parts share the rows. The k-th largest is found eight bits a round, as sample.wgsl does it.
 *
 * Scratch of a part: 256 words of a histogram.
 */
import { share } from '../../tensor/wasm.ts';
import { add, bits, hash, laneMask, ln, lowbias32, mul, recipPositive, sub } from '../math/wasm.ts';

@unmanaged
export class Sample {
  logits: usize;
  temperature: usize;
  scalars: usize;
  dst: usize;
  rows: i32;
  V: i32;
  /** 0: every logit is a candidate. */
  topK: i32;
  site: u32;
}

const golden: u32 = 0x9e3779b9;

/** Orders the bits of f32 as i32. Its own inverse. */
@inline
function order(x: v128): v128 {
  return v128.xor(x, i32x4.shr_u(i32x4.shr_s(x, 31), 1));
}

@inline
function keyOf(u: u32): u32 {
  return u ^ (u >> 31 ? <u32>0xffffffff : <u32>0x80000000);
}

/** Exponentially distributed values from random bits. */
@inline
function exponential(random: v128): v128 {
  const small = i32x4.lt_u(random, i32x4.splat(0x400000));
  const odd = v128.or(i32x4.shl(random, 1), i32x4.splat(1));
  const w = mul(f32x4.convert_i32x4_s(odd), bits(0x2f000000));
  const series = mul(w, add(bits(0x3f800000), mul(w, add(bits(0x3f000000), mul(w, bits(0x3eaaaaab))))));
  const rest = i32x4.sub(i32x4.splat(0xffffff), i32x4.shl(i32x4.shr_u(random, 9), 1));
  const log = ln(mul(f32x4.convert_i32x4_s(rest), bits(0x33800000)));
  return v128.bitselect(series, v128.xor(log, bits(0x80000000)), small);
}

/** The k-th largest of V logits, as the key of its bits. */
function threshold(row: usize, V: i32, k: u32, histogram: usize): u32 {
  let digits: u32 = 0;
  for (let shift = 24; shift >= 0; shift -= 8) {
    memory.fill(histogram, 0, 1024);
    for (let i = 0; i < V; i++) {
      const key = keyOf(load<u32>(row + (<usize>i << 2)));
      if (((key ^ digits) >> shift) >> 8 != 0) continue;
      const bin = histogram + (<usize>((key >> shift) & 255) << 2);
      store<u32>(bin, load<u32>(bin) + 1);
    }
    let bin: u32 = 255;
    for (; bin > 0; bin--) {
      const count = load<u32>(histogram + (<usize>bin << 2));
      if (count >= k) break;
      k -= count;
    }
    digits |= bin << shift;
  }
  return digits;
}

/** First column of the largest ordered score; what is kept between vectors is the best of each lane. */
function firstOfLargest(best: v128, columns: v128): u32 {
  let key = i32x4.extract_lane(best, 0);
  let column = <u32>i32x4.extract_lane(columns, 0);
  for (let lane = 1; lane < 4; lane++) {
    best = v128.shuffle<u32>(best, best, 1, 2, 3, 0);
    columns = v128.shuffle<u32>(columns, columns, 1, 2, 3, 0);
    const other = i32x4.extract_lane(best, 0);
    const at = <u32>i32x4.extract_lane(columns, 0);
    if (other < key || (other == key && at > column)) continue;
    key = other;
    column = at;
  }
  return column;
}

/** Of the logits that are at least `least` (a key): the column of the largest score. A seed is looked at where `inverse` is not 0. */
function choose(row: usize, V: i32, least: u32, max: v128, inverse: f32, counter: u32): u32 {
  const floor = i32x4.splat(least ^ 0x80000000);
  const by = f32x4.splat(inverse);
  let best = i32x4.splat(0x80000000);
  let columns = i32x4.splat(-1);
  let column = i32x4(0, 1, 2, 3);
  let random = i32x4.add(i32x4.splat(counter), i32x4.mul(column, i32x4.splat(golden)));
  for (let i = 0; i < V; i += 4) {
    const l = v128.load(row + (<usize>i << 2));
    let score = order(l);
    const wanted = v128.and(i32x4.ge_s(score, floor), laneMask(V - i));
    if (v128.any_true(wanted)) {
      if (inverse != 0) score = order(sub(mul(sub(l, max), by), ln(exponential(lowbias32(random)))));
      const better = v128.and(i32x4.gt_s(score, best), wanted);
      best = v128.bitselect(score, best, better);
      columns = v128.bitselect(column, columns, better);
    }
    column = i32x4.add(column, i32x4.splat(4));
    random = i32x4.add(random, i32x4.splat(golden << 2));
  }
  return firstOfLargest(best, columns);
}

export function sample(s: Sample, scratch: usize, part: i32, parts: i32): void {
  const size = load<u32>(s.temperature) & 0x7fffffff;
  const inverse = recipPositive(i32x4.splat(min(max(size, 0x35800000), 0x53800000)));
  const seed = hash(load<u32>(s.scalars) ^ (s.site * 0x85ebca6b));
  const end = share(s.rows, part + 1, parts);
  for (let r = share(s.rows, part, parts); r < end; r++) {
    const at = <u32>r * <u32>s.V;
    const row = s.logits + (<usize>at << 2);
    let column = choose(row, s.V, 0, inverse, 0, 0);
    if (size >= 0x0d800000) {
      const least = s.topK == 0 ? 0 : threshold(row, s.V, s.topK, scratch);
      const largest = v128.load_splat<u32>(row + (<usize>column << 2));
      column = choose(row, s.V, least, largest, f32x4.extract_lane(inverse, 0), seed + at * golden);
    }
    store<u32>(s.dst + (<usize>r << 2), column);
  }
}

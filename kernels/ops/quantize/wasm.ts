/**
 * QUANT without shifts by lane, which SIMD does not have. Three readings: along rows, across columns (and into transposed operands), and any other strides.
 *
 * y = x * 2^(nb - E) is exact (a result too small for f32 is below every threshold), |y| < 2^15. RNE: y + 1.5 * 2^23 rounds y to an integer, ties to even,
 * which is then the low bits of the sum. A size below 2^-100 gives y < 1/2, so 0, unless E < nb - 98: only then is it flushed first.
 * SR: with s the shift of the definition, (M + (rnd & (2^s - 1))) >> s is floor(|y|), plus 1 when the fractions of |y| and of the random bits carry.
 * Both fractions are taken as 31-bit integers: trunc(frac * 2^31) and (rnd << (31 - s)) & 0x7fffffff, the power of two being built in an exponent field,
 * at least 1; for s > 31 that is M >> (s - 31) against 31 random bits, as defined.
 */
import { batchOffset, Operand, panelAt, panelsOf, share, View } from '../../tensor/wasm.ts';
import { c } from '../constants/wasm.ts';
import * as k from '../constants/wasm.ts';
import { fl, gather, hash, laneMask, lowbias32, mul, put, take } from '../math/wasm.ts';

/** Ways to round; arguments of this type are constants where they are used. */
type Mode = i32;
const nearest: Mode = 0;
const nearestFlushed: Mode = 1;
const stochastic: Mode = 2;
const stochasticFlushed: Mode = 3;

const golden: i32 = <i32>0x9e3779b9;

@inline
function qmaxOf(nb: i32): i32 {
  return nb == 7 ? 127 : nb == 10 ? 1023 : 32639;
}

/** Bits of 2^(nb - E) for rows whose largest sizes have these bits; 0 for a row of zeros. */
@inline
function scaleOf(amax: v128, nb: i32): v128 {
  const scale = i32x4.sub(i32x4.splat((253 + nb) << 23), v128.and(amax, c(k.exponentMask)));
  return v128.andnot(scale, i32x4.lt_s(amax, c(k.tiny)));
}

/** E of rows whose largest sizes have these bits. */
@inline
function exponentOf(amax: v128): v128 {
  const exponent = i32x4.sub(i32x4.shr_u(amax, 23), i32x4.splat(126));
  return v128.bitselect(i32x4.splat(-99), exponent, i32x4.lt_s(amax, c(k.tiny)));
}

@inline
function sizes(x: v128): v128 {
  return v128.and(x, c(k.absMask));
}

/** The largest lane, in every lane. */
@inline
function maxLane(x: v128): v128 {
  x = i32x4.max_s(x, v128.shuffle<u32>(x, x, 2, 3, 0, 1));
  return i32x4.max_s(x, v128.shuffle<u32>(x, x, 1, 0, 3, 2));
}

/** Four signed integers before the cap. `counter`: seed + index * golden of each lane. */
@inline
function integers(mode: Mode, x: v128, scale: v128, counter: v128): v128 {
  if (mode == stochastic) return stochasticIntegers(x, scale, counter);
  if (mode == stochasticFlushed) return stochasticIntegers(fl(x), scale, counter);
  const value = mode == nearestFlushed ? fl(x) : x;
  return i32x4.sub(f32x4.add(f32x4.mul(value, scale), c(k.magic)), c(k.magic));
}

@inline
function stochasticIntegers(x: v128, scale: v128, counter: v128): v128 {
  const size = sizes(x);
  const y = f32x4.mul(size, scale);
  const whole = f32x4.floor(y);
  const fraction = i32x4.trunc_sat_f32x4_s(f32x4.mul(f32x4.sub(y, whole), c(k.two31)));
  // 2^(31 - s) = 2^(7 + nb - amax's exponent + x's), at least 1 and at most 2^22, as the low bits of its sum with 2^23.
  const field = i32x4.sub(i32x4.add(v128.and(size, c(k.exponentMask)), scale), c(k.powerBias));
  const power = f32x4.add(i32x4.max_s(field, c(k.one)), c(k.two23));
  const random = i32x4.mul(lowbias32(counter), v128.and(power, c(k.mantissaMask)));
  const carry = i32x4.shr_u(i32x4.add(fraction, v128.and(random, c(k.absMask))), 31);
  const q = i32x4.add(v128.and(f32x4.add(whole, c(k.two23)), c(k.mantissaMask)), carry);
  const sign = i32x4.shr_s(x, 31);
  return i32x4.sub(v128.xor(q, sign), sign);
}

/** Two vectors of integers as i16, capped. */
@inline
function pack(a: v128, b: v128, qmax: v128): v128 {
  const q = i16x8.narrow_i32x4_s(a, b);
  return i16x8.max_s(i16x8.min_s(q, qmax), i16x8.neg(qmax));
}

/** Largest size among n values at p, in every lane. */
function rowMax(p: usize, n: i32): v128 {
  const mask = c(k.absMask);
  let a = i32x4.splat(0);
  let b = a;
  const end = p + (<usize>(n & ~7) << 2);
  for (; p < end; p += 32) {
    a = i32x4.max_s(a, v128.and(v128.load(p), mask));
    b = i32x4.max_s(b, v128.and(v128.load(p, 16), mask));
  }
  const rest = n & 7;
  if (rest > 0) a = i32x4.max_s(a, sizes(take(p, rest)));
  if (rest > 4) b = i32x4.max_s(b, sizes(take(p + 16, rest - 4)));
  return maxLane(i32x4.max_s(a, b));
}

/** seed of the site in this step; `scalars` is 0 when there is none. */
@inline
function siteSeed(scalars: usize, site: u32): i32 {
  return scalars == 0 ? 0 : <i32>hash(load<u32>(scalars) ^ (site * 0x85ebca6b));
}

/** Stores four lines of eight contraction steps as a panel has them: a 4 x 4 transposition of words. */
@inline
function storePanel(to: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab = v128.shuffle<u32>(a, b, 0, 4, 1, 5);
  const cd = v128.shuffle<u32>(c, d, 0, 4, 1, 5);
  const ab2 = v128.shuffle<u32>(a, b, 2, 6, 3, 7);
  const cd2 = v128.shuffle<u32>(c, d, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<u64>(ab, cd, 0, 2));
  v128.store(to, v128.shuffle<u64>(ab, cd, 1, 3), 16);
  v128.store(to, v128.shuffle<u64>(ab2, cd2, 0, 2), 32);
  v128.store(to, v128.shuffle<u64>(ab2, cd2, 1, 3), 48);
}

/** Eight values of one row; `n` of them count. `by`: what the counters grow by in four elements. */
@inline
function eight(mode: Mode, p: usize, scale: v128, counter: v128, by: v128, qmax: v128, n: i32): v128 {
  const x = n >= 8 ? v128.load(p) : take(p, n);
  const y = n >= 8 ? v128.load(p, 16) : take(p + 16, n - 4);
  const next = mode >= stochastic ? i32x4.add(counter, by) : counter;
  return pack(integers(mode, x, scale, counter), integers(mode, y, scale, next), qmax);
}

/** Whether eight words at each of four addresses are 0. */
@inline
function areZero(a: usize, b: usize, d: usize, e: usize): bool {
  const low = v128.or(v128.or(v128.load(a), v128.load(b)), v128.or(v128.load(d), v128.load(e)));
  const high = v128.or(v128.or(v128.load(a, 16), v128.load(b, 16)), v128.or(v128.load(d, 16), v128.load(e, 16)));
  return !v128.any_true(v128.or(low, high));
}

/** The four rows of a panel, `stride` bytes apart; scales and counters of the rows (16 bytes each) lie at `state`. */
@inline
function rowsToPanel(
  mode: Mode,
  p: usize,
  stride: usize,
  cols: i32,
  indexStride: i32,
  to: usize,
  state: usize,
  qmax: v128,
): void {
  const scaleA = v128.load(state);
  const scaleB = v128.load(state, 16);
  const scaleC = v128.load(state, 32);
  const scaleD = v128.load(state, 48);
  // A row whose scale is 0 may be missing: the first is read in its place.
  const a = p;
  const b = v128.any_true(scaleB) ? p + stride : p;
  const c = v128.any_true(scaleC) ? p + 2 * stride : p;
  const d = v128.any_true(scaleD) ? p + 3 * stride : p;
  const by = i32x4.splat(golden * 4 * indexStride);
  let step = i32x4.splat(0);
  let at: usize = 0;
  let left = cols;
  for (; left >= 8; left -= 8, at += 32, to += 64) {
    if (mode >= stochastic && areZero(a + at, b + at, c + at, d + at)) {
      // Half of a causal matrix is.
      memory.fill(to, 0, 64);
      step = i32x4.add(i32x4.add(step, by), by);
      continue;
    }
    const qa = eight(mode, a + at, scaleA, i32x4.add(v128.load(state, 64), step), by, qmax, 8);
    const qb = eight(mode, b + at, scaleB, i32x4.add(v128.load(state, 80), step), by, qmax, 8);
    const qc = eight(mode, c + at, scaleC, i32x4.add(v128.load(state, 96), step), by, qmax, 8);
    const qd = eight(mode, d + at, scaleD, i32x4.add(v128.load(state, 112), step), by, qmax, 8);
    storePanel(to, qa, qb, qc, qd);
    if (mode >= stochastic) step = i32x4.add(i32x4.add(step, by), by);
  }
  if (left == 0) return;
  const qa = eight(mode, a + at, scaleA, i32x4.add(v128.load(state, 64), step), by, qmax, left);
  const qb = eight(mode, b + at, scaleB, i32x4.add(v128.load(state, 80), step), by, qmax, left);
  const qc = eight(mode, c + at, scaleC, i32x4.add(v128.load(state, 96), step), by, qmax, left);
  const qd = eight(mode, d + at, scaleD, i32x4.add(v128.load(state, 112), step), by, qmax, left);
  storePanel(to, qa, qb, qc, qd);
}

/**
 * Whether values below 2^-100 must be flushed first with one of these scales (2^(nb - E)): to the nearest when they could reach half a step, from 2^98 on;
 * stochastically when they could reach the last of 31 random bits, from 2^69 on.
 */
@inline
function needsFlush(scale: v128, random: bool): bool {
  const from = random ? (127 + 69) << 23 : (127 + 98) << 23;
  return v128.any_true(i32x4.ge_s(scale, i32x4.splat(from)));
}

/** The greatest of four rows' scales. */
@inline
function greatest(state: usize): v128 {
  const low = i32x4.max_s(v128.load(state), v128.load(state, 16));
  return i32x4.max_s(low, i32x4.max_s(v128.load(state, 32), v128.load(state, 48)));
}

function nearestPanel(p: usize, stride: usize, cols: i32, to: usize, state: usize, qmax: v128): void {
  if (needsFlush(greatest(state), false)) rowsToPanel(nearestFlushed, p, stride, cols, 0, to, state, qmax);
  else rowsToPanel(nearest, p, stride, cols, 0, to, state, qmax);
}

function stochasticPanel(p: usize, stride: usize, v: View, to: usize, state: usize, qmax: v128): void {
  if (needsFlush(greatest(state), true)) {
    rowsToPanel(stochasticFlushed, p, stride, v.cols, v.colStride, to, state, qmax);
  } else rowsToPanel(stochastic, p, stride, v.cols, v.colStride, to, state, qmax);
}

/** Bytes of a row copied to scratch. */
@inline
function copyBytes(v: View): usize {
  return <usize>((v.cols + 3) & ~3) << 2;
}

/** Copies a row, its columns multiplied by 2^(exponent - nb) unless `exponents` is 0. */
function copyRow(v: View, p: usize, exponents: usize, nb: i32, to: usize): void {
  const stride = <usize>v.colStride << 2;
  for (let c = 0; c < v.cols; c += 4, to += 16) {
    let x = stride == 4 ? v128.load(p) : gather(p, stride, v.cols - c);
    if (exponents != 0) {
      const e = v128.load(exponents + (<usize>c << 2));
      x = mul(x, i32x4.shl(i32x4.add(e, i32x4.splat(127 - nb)), 23));
    }
    v128.store(to, x);
    p += stride << 2;
  }
}

/** Bytes of `state`: scales and counters of four rows. */
const stateBytes: usize = 128;

/** Scales and exponents of up to four rows at p; the rest of the panel gets a scale of 0. */
function scaleRows(p: usize, stride: usize, count: i32, cols: i32, nb: i32, exponents: usize, state: usize): void {
  for (let r = 0; r < 4; r++) {
    let scale = i32x4.splat(0);
    if (r < count) {
      const amax = rowMax(p + <usize>r * stride, cols);
      scale = scaleOf(amax, nb);
      v128.store_lane<u32>(exponents + (<usize>r << 2), exponentOf(amax), 0);
    }
    v128.store(state + (<usize>r << 4), scale);
  }
}

/** seed + index * golden for the first four elements of each row. */
function countRows(v: View, first: i32, seed: i32, state: usize): void {
  const lanes = i32x4.mul(i32x4(0, 1, 2, 3), i32x4.splat(v.colStride * golden));
  for (let r = 0; r < 4; r++) {
    const index = first + r * v.rowStride;
    v128.store(state + 64 + (<usize>r << 4), i32x4.add(i32x4.splat(seed + index * golden), lanes));
  }
}

/** A panel of i16 as i8; `groups` of eight contraction steps. */
function narrowPanel(from: usize, to: usize, groups: i32): void {
  for (; groups > 0; groups--, from += 64, to += 32) {
    v128.store(to, i8x16.narrow_i16x8_s(v128.load(from), v128.load(from, 16)));
    v128.store(to, i8x16.narrow_i16x8_s(v128.load(from, 32), v128.load(from, 48)), 16);
  }
}

/**
 * Rows, four at a time, into an operand that is not transposed. With `fold` (an operand's exponents, else 0) or spaced columns the rows are first copied
 * to scratch: 128 bytes, four rows of cols + 4 words, and a panel of i16 if the operand is narrow. `foldRows`: exponents of a batch.
 */
export function quantizeRows(
  v: View,
  o: Operand,
  nb: i32,
  scalars: usize,
  site: u32,
  fold: usize,
  foldRows: i32,
  scratch: usize,
  part: i32,
  parts: i32,
): void {
  const panels = panelsOf(o);
  const seed = siteSeed(scalars, site);
  const qmax = i16x8.splat(<i16>qmaxOf(nb));
  const end = share(o.batch * panels, part + 1, parts);
  for (let i = share(o.batch * panels, part, parts); i < end; i++) {
    const batch = i / panels;
    const row = (i % panels) << 2;
    const count = min(4, v.rows - row);
    const first = batchOffset(v, batch) + row * v.rowStride;
    let p = v.data + (<usize>first << 2);
    let stride = <usize>v.rowStride << 2;
    if (fold != 0 || v.colStride != 1) {
      const exponents: usize = fold == 0 ? 0 : fold + (<usize>(batch * foldRows) << 2);
      for (let r = 0; r < count; r++) {
        copyRow(v, p + <usize>r * stride, exponents, nb, scratch + stateBytes + <usize>r * copyBytes(v));
      }
      p = scratch + stateBytes;
      stride = copyBytes(v);
    }
    scaleRows(p, stride, count, v.cols, nb, o.exponents + (<usize>(batch * o.rows + row) << 2), scratch);
    const panel = panelAt(o, batch, row >> 2);
    const to = o.narrow ? scratch + stateBytes + (copyBytes(v) << 2) : panel;
    if (scalars != 0) {
      countRows(v, first, seed, scratch);
      stochasticPanel(p, stride, v, to, scratch, qmax);
    } else nearestPanel(p, stride, v.cols, to, scratch, qmax);
    if (o.narrow) narrowPanel(to, panel, (v.cols + 7) >> 3);
  }
}

/**
 * Panels that are taken together: many, so that memory is read in long runs (3 KB where there is that much: five times as fast as two cache lines at a
 * time, measured over 50,257 steps), and few where threads would otherwise have nothing to do.
 */
const chunkMost: i32 = 192;
const chunkLeast: i32 = 8;

/** Memory rows (contraction steps) of `lines` contiguous words: how both cases of `quantizeAcross` read. */
@unmanaged
class Across {
  p: usize;
  strideBytes: usize;
  steps: i32;
  lines: i32;
  /** seed + index * golden of the first word, and what a memory row adds to it. */
  counter: i32;
  counterStep: i32;
  /** Scales: one a line (words), or one a memory row (words). */
  scales: usize;
}
const acrossBytes: usize = 32;

/**
 * Lines that lie side by side in memory: columns (view rows are contiguous, the contraction strides), or rows into a transposed operand, whose scales
 * belong to memory rows. Scratch: 32 bytes and a word for every line of a chunk or for every memory row.
 */
export function quantizeAcross(
  v: View,
  o: Operand,
  nb: i32,
  scalars: usize,
  site: u32,
  scratch: usize,
  part: i32,
  parts: i32,
): void {
  const panels = panelsOf(o);
  const fair = max(chunkLeast, (o.batch * panels + parts - 1) / parts);
  const chunk = o.transposed ? panels : min(chunkMost, fair);
  const chunks = (panels + chunk - 1) / chunk;
  const seed = siteSeed(scalars, site);
  const m = changetype<Across>(scratch);
  const stride = o.transposed ? v.rowStride : v.colStride;
  m.strideBytes = <usize>stride << 2;
  m.steps = o.length;
  m.counterStep = stride * golden;
  m.scales = scratch + acrossBytes;
  const end = share(o.batch * chunks, part + 1, parts);
  for (let i = share(o.batch * chunks, part, parts); i < end; i++) {
    const batch = i / chunks;
    const panel = (i % chunks) * chunk;
    const first = batchOffset(v, batch) + (panel << 2);
    m.p = v.data + (<usize>first << 2);
    m.lines = min(chunk << 2, o.lines - (panel << 2));
    m.counter = seed + first * golden;
    const exponents = o.exponents + (<usize>(batch * o.rows) << 2);
    const random = scalars != 0;
    let flush = true;
    if (o.transposed) scaleSteps(m, nb, exponents);
    else flush = scaleLines(m, nb, exponents + (<usize>panel << 4), random);
    const mode = random ? (flush ? stochasticFlushed : stochastic) : flush ? nearestFlushed : nearest;
    acrossChunk(m, o, nb, mode, panelAt(o, batch, panel));
  }
}

/** One scale a memory row. */
function scaleSteps(m: Across, nb: i32, exponents: usize): void {
  for (let k = 0; k < m.steps; k++) {
    const amax = rowMax(m.p + <usize>k * m.strideBytes, m.lines);
    v128.store_lane<u32>(m.scales + (<usize>k << 2), scaleOf(amax, nb), 0);
    v128.store_lane<u32>(exponents + (<usize>k << 2), exponentOf(amax), 0);
  }
}

/** One scale a line: largest sizes over the memory rows, four rows at a time. Returns whether one needs its values flushed. */
function scaleLines(m: Across, nb: i32, exponents: usize, random: bool): bool {
  const end = m.scales + (<usize>m.lines << 2);
  for (let q = m.scales; q < end; q += 16) v128.store(q, i32x4.splat(0));
  const stride = m.strideBytes;
  const mask = c(k.absMask);
  let step = 0;
  for (; step + 4 <= m.steps; step += 4) {
    let p = m.p + <usize>step * stride;
    for (let q = m.scales; q < end; q += 16, p += 16) {
      const a = i32x4.max_s(v128.and(v128.load(p), mask), v128.and(v128.load(p + stride), mask));
      const p2 = p + 2 * stride;
      const b = i32x4.max_s(v128.and(v128.load(p2), mask), v128.and(v128.load(p2 + stride), mask));
      v128.store(q, i32x4.max_s(v128.load(q), i32x4.max_s(a, b)));
    }
  }
  for (; step < m.steps; step++) {
    let p = m.p + <usize>step * stride;
    for (let q = m.scales; q < end; q += 16, p += 16) {
      v128.store(q, i32x4.max_s(v128.load(q), sizes(v128.load(p))));
    }
  }
  let largest = i32x4.splat(0);
  for (let i = 0; i < m.lines; i += 4) {
    const q = m.scales + (<usize>i << 2);
    const amax = v128.load(q);
    const scale = scaleOf(amax, nb);
    largest = i32x4.max_s(largest, scale);
    put(exponents + (<usize>i << 2), exponentOf(amax), m.lines - i);
    v128.store(q, scale);
  }
  return needsFlush(largest, random);
}

function acrossChunk(m: Across, o: Operand, nb: i32, mode: Mode, to: usize): void {
  const bytes = <usize>o.panelBytes;
  const qmax = i16x8.splat(<i16>qmaxOf(nb));
  for (let k = 0; k < m.steps; k += 8, to += 64) {
    if (o.transposed) {
      if (mode >= stochastic) acrossRows(stochasticFlushed, true, m, k, to, bytes, qmax);
      else acrossRows(nearestFlushed, true, m, k, to, bytes, qmax);
    } else if (mode == stochastic) acrossRows(stochastic, false, m, k, to, bytes, qmax);
    else if (mode == stochasticFlushed) acrossRows(stochasticFlushed, false, m, k, to, bytes, qmax);
    else if (mode == nearest) acrossRows(nearest, false, m, k, to, bytes, qmax);
    else acrossRows(nearestFlushed, false, m, k, to, bytes, qmax);
  }
}

/** Whether four words in each of eight memory rows are 0. */
@inline
function columnsAreZero(p: usize, stride: usize): bool {
  let any = v128.or(v128.load(p), v128.load(p + stride));
  any = v128.or(any, v128.or(v128.load(p + 2 * stride), v128.load(p + 3 * stride)));
  any = v128.or(any, v128.or(v128.load(p + 4 * stride), v128.load(p + 5 * stride)));
  return !v128.any_true(v128.or(any, v128.or(v128.load(p + 6 * stride), v128.load(p + 7 * stride))));
}

/** Eight memory rows, from the kth on, of all lines of the chunk. */
@inline
function acrossRows(mode: Mode, byStep: bool, m: Across, k: i32, to: usize, panelBytes: usize, qmax: v128): void {
  const left = m.steps - k;
  const stride = m.strideBytes;
  let p = m.p + <usize>k * stride;
  let scales = byStep ? m.scales + (<usize>k << 2) : m.scales;
  let counter = i32x4.mul(i32x4(0, 1, 2, 3), i32x4.splat(golden));
  counter = i32x4.add(counter, i32x4.splat(m.counter + k * m.counterStep));
  const step = i32x4.splat(m.counterStep);
  const twoSteps = i32x4.splat(m.counterStep * 2);
  for (let lines = m.lines; lines > 0; lines -= 4) {
    if (mode >= stochastic && left >= 8 && lines >= 4 && columnsAreZero(p, stride)) {
      memory.fill(to, 0, 64);
    } else if (left >= 8 && lines >= 4) {
      let c = counter;
      v128.store(to, pair(mode, byStep, p, stride, scales, 0, c, step, qmax));
      if (mode >= stochastic) c = i32x4.add(c, twoSteps);
      v128.store(to, pair(mode, byStep, p, stride, scales, 2, c, step, qmax), 16);
      if (mode >= stochastic) c = i32x4.add(c, twoSteps);
      v128.store(to, pair(mode, byStep, p, stride, scales, 4, c, step, qmax), 32);
      if (mode >= stochastic) c = i32x4.add(c, twoSteps);
      v128.store(to, pair(mode, byStep, p, stride, scales, 6, c, step, qmax), 48);
    } else {
      const mask = laneMask(lines);
      let c = counter;
      for (let j = 0; j < 8; j += 2) {
        let q = i32x4.splat(0);
        // Where the second step of the last pair is missing, the first is read twice and masked.
        if (left - j >= 2) q = pair(mode, byStep, p, stride, scales, j, c, step, qmax);
        else if (left - j == 1) {
          q = v128.and(pair(mode, byStep, p + <usize>j * stride, 0, scales, j, c, step, qmax), i32x4.splat(0xffff));
        }
        if (mode >= stochastic) c = i32x4.add(c, twoSteps);
        v128.store(to + (<usize>j << 3), v128.and(q, mask));
      }
    }
    p += 16;
    to += panelBytes;
    if (!byStep) scales += 16;
    if (mode >= stochastic) counter = i32x4.add(counter, i32x4.splat(golden * 4));
  }
}

/** Memory rows j and j + 1 of four lines, as a panel has them. With a stride of 0 row j is at p and read twice. */
@inline
function pair(
  mode: Mode,
  byStep: bool,
  p: usize,
  stride: usize,
  scales: usize,
  j: i32,
  counter: v128,
  step: v128,
  qmax: v128,
): v128 {
  const from = p + <usize>j * stride;
  const scaleA = byStep ? v128.load_splat<u32>(scales + (<usize>j << 2)) : v128.load(scales);
  const scaleB = byStep ? v128.load_splat<u32>(scales + (<usize>j << 2) + 4) : scaleA;
  const next = mode >= stochastic ? i32x4.add(counter, step) : counter;
  const a = integers(mode, v128.load(from), scaleA, counter);
  const q = pack(a, integers(mode, v128.load(from + stride), scaleB, next), qmax);
  return v128.shuffle<u16>(q, q, 0, 4, 1, 5, 2, 6, 3, 7);
}

/**
 * Rows one by one: into a transposed operand, for folds and spaced columns; into part of an operand, from row `row` on, or from the row that is the word at
 * `rowAt`. Scratch: 160 bytes and two rows of cols + 4 words.
 */
export function quantizeScattered(
  v: View,
  o: Operand,
  nb: i32,
  scalars: usize,
  site: u32,
  fold: usize,
  foldRows: i32,
  row: i32,
  rowAt: usize,
  scratch: usize,
  part: i32,
  parts: i32,
): void {
  const seed = siteSeed(scalars, site);
  const from = rowAt == 0 ? row : <i32>min(load<u32>(rowAt), <u32>o.rows);
  const copy = scratch + stateBytes;
  const rows = min(v.rows, o.rows - from);
  const end = share(o.batch * rows, part + 1, parts);
  for (let i = share(o.batch * rows, part, parts); i < end; i++) {
    const batch = i / rows;
    const r = i % rows;
    const to = from + r;
    const first = batchOffset(v, batch) + r * v.rowStride;
    const exponents: usize = fold == 0 ? 0 : fold + (<usize>(batch * foldRows) << 2);
    copyRow(v, v.data + (<usize>first << 2), exponents, nb, copy);
    scaleRows(copy, 0, 1, v.cols, nb, o.exponents + (<usize>(batch * o.rows + to) << 2), scratch);
    countRows(v, first, seed, scratch);
    scatterRow(o, batch, to, copy, v.cols, nb, scalars != 0, scratch, golden * 4 * v.colStride);
  }
}

/** One row to line `row`, or to step `row` of every line of a transposed operand; scale and counter lie at `state`. */
function scatterRow(
  o: Operand,
  batch: i32,
  row: i32,
  from: usize,
  cols: i32,
  nb: i32,
  random: bool,
  state: usize,
  counterStep: i32,
): void {
  const qmax = i32x4.splat(qmaxOf(nb));
  const scale = v128.load(state);
  const by = i32x4.splat(counterStep);
  const half = <usize>(row & 1) << 1;
  const line: usize = o.transposed ? 0 : panelAt(o, batch, row >> 2) + (<usize>(row & 3) << 2);
  let counter = v128.load(state, 64);
  for (let c = 0; c < cols; c += 4) {
    const x = v128.load(from + (<usize>c << 2));
    let q = random ? integers(stochasticFlushed, x, scale, counter) : integers(nearestFlushed, x, scale, counter);
    q = i32x4.max_s(i32x4.min_s(q, qmax), i32x4.neg(qmax));
    // Consecutive steps of a line are pairs, 16 bytes apart; consecutive lines of a panel are 4 bytes apart.
    const to = o.transposed ? panelAt(o, batch, c >> 2) + (<usize>(row >> 1) << 4) + half : line + (<usize>c << 3);
    for (let j = 0; j < min(4, cols - c); j++) {
      const at = o.transposed ? <usize>j << 2 : (<usize>(j >> 1) << 4) + (<usize>(j & 1) << 1);
      store<i16>(to + at, <i16>i32x4.extract_lane(q, 0));
      q = v128.shuffle<u32>(q, q, 1, 2, 3, 0);
    }
    counter = i32x4.add(counter, by);
  }
}

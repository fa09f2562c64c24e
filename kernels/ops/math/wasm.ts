/**
 * PF32 on four lanes, in AssemblyScript: the twin of cpu.ts that every WASM kernel builds on.
 *
 * WebAssembly's f32 is strict, so each operation is RNE by its spec; FL is one compare and one and-not. A function leaves FL out where it cannot
 * change the outcome, and says why: `raw` below means a plain f32 operation. Two facts carry most of it. (1) c + t with |c| >= 2^-75 is the same for every
 * |t| < 2^-100, so what feeds such an addition need not be flushed. (2) c + t with |c| >= 2^-75 is 0 or at least 2^-99, so neither must its sum.
 */

import { c } from '../constants/wasm.ts';
import * as k from '../constants/wasm.ts';

/** f32 constant by its bits in all lanes. */
@inline
export function bits(u: u32): v128 {
  return i32x4.splat(u);
}

/** FL: sizes below 2^-100, and -0, become +0. */
@inline
export function fl(x: v128): v128 {
  return v128.andnot(x, f32x4.lt(v128.and(x, c(k.absMask)), c(k.tiny)));
}

@inline
export function add(a: v128, b: v128): v128 {
  return fl(f32x4.add(a, b));
}

@inline
export function sub(a: v128, b: v128): v128 {
  return fl(f32x4.sub(a, b));
}

@inline
export function mul(a: v128, b: v128): v128 {
  return fl(f32x4.mul(a, b));
}

/** To +-2^40. */
@inline
export function clamp(x: v128): v128 {
  return f32x4.pmax(f32x4.pmin(x, c(k.clampHigh)), c(k.clampLow));
}

/** All ones in the first n lanes. */
@inline
export function laneMask(n: i32): v128 {
  return i32x4.gt_s(i32x4.splat(n), c(k.lanes));
}

/** Four words, of which only the first n are taken; the rest is 0. Reads 16 bytes: memory has room after its last tensor. */
@inline
export function take(p: usize, n: i32): v128 {
  return v128.and(v128.load(p), laneMask(n));
}

/** Writes the first n lanes only, or all four when n is more. */
@inline
export function put(p: usize, x: v128, n: i32): void {
  if (n >= 4) v128.store(p, x);
  else putSome(p, x, n);
}

function putSome(p: usize, x: v128, n: i32): void {
  if (n < 1) return;
  v128.store_lane<u32>(p, x, 0);
  if (n < 2) return;
  v128.store_lane<u32>(p, x, 1, 4);
  if (n < 3) return;
  v128.store_lane<u32>(p, x, 2, 8);
}

/** Up to four words that are `stride` bytes apart. */
export function gather(p: usize, stride: usize, n: i32): v128 {
  let x = v128.load_zero<u32>(p);
  if (n > 1) x = v128.load_lane<u32>(p + stride, x, 1);
  if (n > 2) x = v128.load_lane<u32>(p + 2 * stride, x, 2);
  if (n > 3) x = v128.load_lane<u32>(p + 3 * stride, x, 3);
  return x;
}

/** Lane 0 in every lane. */
@inline
export function first(x: v128): v128 {
  return v128.shuffle<u32>(x, x, 0, 0, 0, 0);
}

/** raw x * p + c, for a constant |c| >= 2^-75: facts 1 and 2. */
@inline
function step(p: v128, x: v128, constant: usize): v128 {
  return f32x4.add(f32x4.mul(p, x), c(constant));
}

/**
 * e^x. Raw throughout: x * log2e only feeds "+ .5"; n * ln2Hi is 0 or at least .69, so y minus it is y, 0 or a multiple of 2^-24, and minus n * ln2Lo 0
 * or at least 2^-40; the rest is Horner's steps. n << 23 is taken from the low bits of n + 1.5 * 2^23.
 */
@inline
export function exp(x: v128): v128 {
  const y = f32x4.pmax(f32x4.pmin(x, c(k.high68)), c(k.low68));
  const n = f32x4.floor(f32x4.add(f32x4.mul(y, c(k.log2e)), c(k.half)));
  const f = f32x4.sub(f32x4.sub(y, f32x4.mul(n, c(k.ln2High))), f32x4.mul(n, c(k.ln2Low)));
  let p = c(k.exp0);
  p = step(p, f, k.exp1);
  p = step(p, f, k.exp2);
  p = step(p, f, k.exp3);
  p = step(p, f, k.exp4);
  p = step(p, f, k.one);
  p = step(p, f, k.one);
  return i32x4.add(p, i32x4.shl(f32x4.add(n, c(k.magic)), 23));
}

/** 1 / m for m in [1, 2). Raw: m * y is near 1, 1 - m * y is 0 or at least 2^-25, y near 1. */
@inline
function recipMantissa(m: v128): v128 {
  const one = c(k.one);
  let y = i32x4.sub(c(k.recipStart), m);
  y = f32x4.add(y, f32x4.mul(y, f32x4.sub(one, f32x4.mul(m, y))));
  y = f32x4.add(y, f32x4.mul(y, f32x4.sub(one, f32x4.mul(m, y))));
  return f32x4.add(y, f32x4.mul(y, f32x4.sub(one, f32x4.mul(m, y))));
}

/** 1 / x for 0 < x < 2^99, so that the result is not flushed. */
@inline
export function recipPositive(x: v128): v128 {
  const m = v128.or(v128.and(x, c(k.mantissaMask)), c(k.one));
  // x - m holds (e - 127) << 23.
  return i32x4.sub(recipMantissa(m), i32x4.sub(x, m));
}

/** 1 / x for x != 0. */
@inline
export function recip(x: v128): v128 {
  const size = v128.and(x, c(k.absMask));
  const m = v128.or(v128.and(x, c(k.mantissaMask)), c(k.one));
  const y = i32x4.sub(recipMantissa(m), i32x4.sub(size, m));
  return fl(v128.or(v128.and(y, c(k.absMask)), v128.andnot(x, c(k.absMask))));
}

@inline
function rsqrtStep(a: v128, y: v128): v128 {
  const half = c(k.half);
  return f32x4.mul(y, f32x4.sub(c(k.oneAndHalf), f32x4.mul(half, f32x4.mul(f32x4.mul(a, y), y))));
}

/** 1 / sqrt(a) for a > 0. Raw: y lies in 2^-64 .. 2^51, a * y in 2^-50 .. 2^64, (a * y) * y near 1, and 1 minus it is 0 or at least 2^-24. */
@inline
export function rsqrt(a: v128): v128 {
  let y = i32x4.sub(c(k.rsqrtStart), i32x4.shr_u(a, 1));
  y = rsqrtStep(a, y);
  y = rsqrtStep(a, y);
  const rest = f32x4.sub(c(k.one), f32x4.mul(f32x4.mul(a, y), y));
  return f32x4.add(y, f32x4.mul(f32x4.mul(c(k.half), y), rest));
}

/** sqrt(x) for x >= 0; 0 for 0. Raw: at least 2^-50. */
@inline
export function sqrt(x: v128): v128 {
  return f32x4.mul(x, rsqrt(x));
}

@inline
function flStep(p: v128, x: v128, constant: u32): v128 {
  return add(mul(p, x), bits(constant));
}

/** Natural logarithm of x > 0. Once a row, so every FL is written out. */
@inline
export function ln(x: v128): v128 {
  const e = i32x4.shr_s(i32x4.sub(x, bits(0x3f3504f3)), 23);
  const t = sub(i32x4.sub(x, i32x4.shl(e, 23)), f32x4.splat(1));
  const n = f32x4.convert_i32x4_s(e);
  const z = mul(t, t);
  let p = bits(0x3d8a2bd3);
  p = flStep(p, t, 0xbdef1e0b);
  p = flStep(p, t, 0x3df37835);
  p = flStep(p, t, 0xbdfe1104);
  p = flStep(p, t, 0x3e119bb4);
  p = flStep(p, t, 0xbe2aae27);
  p = flStep(p, t, 0x3e4cd25b);
  p = flStep(p, t, 0xbe800003);
  p = flStep(p, t, 0x3eaaaaa4);
  let y = mul(mul(p, t), z);
  y = add(y, mul(n, bits(0xb95e8083)));
  y = sub(y, mul(f32x4.splat(0.5), z));
  return add(add(t, y), mul(n, bits(0x3f318000)));
}

/**
 * tanh of x below .625 in size. Raw: where z, P * z or (P * z) * x would be flushed, that last product is below 2^-49 of x (x < 2^-49, or
 * x >= 2^-49 and the product < 2^-100), so x plus it is x either way. For x = 0 all is 0.
 */
@inline
function tanhSmall(x: v128): v128 {
  const z = f32x4.mul(x, x);
  let p = c(k.tanh0);
  p = step(p, z, k.tanh1);
  p = step(p, z, k.tanh2);
  p = step(p, z, k.tanh3);
  p = step(p, z, k.tanh4);
  return f32x4.add(x, f32x4.mul(f32x4.mul(p, z), x));
}

/** 1 + e^(2 |x|), the first half of tanh for sizes from .625 on; below 2^99. */
@inline
export function tanhExp(x: v128): v128 {
  const a = v128.and(x, c(k.absMask));
  return f32x4.add(c(k.one), exp(f32x4.add(a, a)));
}

/**
 * tanh of x, given `tanhExp` of it. Raw: the reciprocal is above 2^-99. x itself may be what a raw product left, smaller than 2^-100: the result is then as
 * small, or 0.
 */
@inline
export function tanhFromExp(x: v128, e: v128): v128 {
  const r = recipPositive(e);
  const sign = v128.and(x, c(k.signMask));
  const large = v128.or(f32x4.sub(c(k.one), f32x4.add(r, r)), sign);
  return v128.bitselect(tanhSmall(x), large, f32x4.lt(v128.xor(x, sign), c(k.tanhSplit)));
}

/** Four 32-bit hashes with full avalanche. */
@inline
export function lowbias32(seed: v128): v128 {
  let x = v128.xor(seed, i32x4.shr_u(seed, 16));
  x = i32x4.mul(x, c(k.hash1));
  x = v128.xor(x, i32x4.shr_u(x, 15));
  x = i32x4.mul(x, c(k.hash2));
  return v128.xor(x, i32x4.shr_u(x, 16));
}

/** The same on one number. */
export function hash(seed: u32): u32 {
  let x = seed ^ (seed >> 16);
  x *= 0x7feb352d;
  x ^= x >> 15;
  x *= 0x846ca68b;
  return x ^ (x >> 16);
}

// PF32 on one f32 in CUDA: the twin of math/cpu.ts and pf32.wgsl. Put in front of every .cu by cudaSource (math/cuda.ts).
//
// Equation   FL(x) = |x| < 2^-100 ? 0 : x; add, sub, mul = FL(RNE(op)); functions by the recipes of NUMERICS.md, Horner, no fused steps.
// Raw        radd, rsub, rmul leave FL out. A function uses them where that cannot change the outcome; pf32.wgsl says why, function by function: (1) c + t
//            with |c| >= 2^-75 is the same for every |t| < 2^-100; (2) such a sum is 0 or at least 2^-99 itself.
// Exact      ROUND and the hash are integers, and conversions of integers that round once.
// Comparing  A float compare or minimum of PF32 values, subnormals and infinities included, is the compare of their bits: no NaN, and -0 is flushed.
// Not used   fmaf, division, sqrtf, expf, logf and the like; -ftz, --fmad, fast-math: the result would differ.

typedef unsigned int u32;
typedef int i32;
typedef long long i64;
typedef unsigned long long u64;
typedef unsigned char u8;
typedef signed char i8;

namespace pf {

__device__ __forceinline__ u32 bits(float x) {
  return __float_as_uint(x);
}

__device__ __forceinline__ float value(u32 u) {
  return __uint_as_float(u);
}

// x * 2^n by its exponent field; the caller keeps the result in range.
__device__ __forceinline__ float scale_bits(float x, u32 n) {
  return value(bits(x) + (n << 23));
}

__device__ __forceinline__ float radd(float a, float b) {
  return __fadd_rn(a, b);
}

__device__ __forceinline__ float rsub(float a, float b) {
  return __fadd_rn(a, -b);
}

__device__ __forceinline__ float rmul(float a, float b) {
  return __fmul_rn(a, b);
}

// Sizes below 2^-100, and -0, become +0.
__device__ __forceinline__ float fl(float x) {
  return fabsf(x) < value(0x0d800000u) ? 0.0f : x;
}

__device__ __forceinline__ float add(float a, float b) {
  return fl(radd(a, b));
}

__device__ __forceinline__ float sub(float a, float b) {
  return fl(rsub(a, b));
}

__device__ __forceinline__ float mul(float a, float b) {
  return fl(rmul(a, b));
}

__device__ __forceinline__ float neg(float x) {
  return fl(-x);
}

// Sizes above `bound` become `bound`.
__device__ __forceinline__ float within(float x, float bound) {
  return fminf(fmaxf(x, -bound), bound);
}

// Sizes above 2^40 become 2^40.
__device__ __forceinline__ float limit(float x) {
  return within(x, value(0x53800000u));
}

__device__ __forceinline__ float larger(float a, float b) {
  return fmaxf(a, b);
}

// Orders bit patterns as i32: a < b as f32 exactly when order(a) < order(b). `unorder` turns it back.
__device__ __forceinline__ i32 order(float x) {
  const i32 i = (i32)bits(x);
  return i ^ ((i >> 31) & 0x7fffffff);
}

__device__ __forceinline__ float unorder(i32 i) {
  return value((u32)(i ^ ((i >> 31) & 0x7fffffff)));
}

// r * x + c in two roundings: a step of Horner.
__device__ __forceinline__ float horner(float r, float x, u32 c) {
  return add(mul(r, x), value(c));
}

// The same, raw: |c| >= 2^-75.
__device__ __forceinline__ float step(float r, float x, u32 c) {
  return radd(rmul(r, x), value(c));
}

// n + 1.5 * 2^23 holds the integer n in its low bits, which a shift brings to the exponent field.
__device__ __forceinline__ float times_power(float x, float n) {
  return scale_bits(x, bits(radd(n, value(0x4b400000u))));
}

__device__ __forceinline__ float exp(float x) {
  const float y = within(x, 68.0f);
  const float n = floorf(radd(rmul(y, value(0x3fb8aa3bu)), 0.5f));
  const float f = rsub(rsub(y, rmul(n, value(0x3f318000u))), rmul(n, value(0xb95e8083u)));
  float p = step(value(0x3ab5731du), f, 0x3c093444u);
  p = step(p, f, 0x3d2aac13u);
  p = step(p, f, 0x3e2aaa0cu);
  p = step(p, f, 0x3efffffeu);
  p = step(p, f, 0x3f800000u);
  return times_power(step(p, f, 0x3f800000u), n);
}

__device__ __forceinline__ float exp2(float x) {
  const float y = within(x, 99.0f);
  const float n = floorf(radd(y, 0.5f));
  const float f = rsub(y, n);
  float p = step(value(0x3920fddeu), f, 0x3aaf9f2au);
  p = step(p, f, 0x3c1d96a6u);
  p = step(p, f, 0x3d635774u);
  p = step(p, f, 0x3e75fdeeu);
  p = step(p, f, 0x3f317218u);
  return times_power(step(p, f, 0x3f800000u), n);
}

// 1 / m for m in [1, 2).
__device__ __forceinline__ float recip_mantissa(float m) {
  float y = value(0x7ef311c7u - bits(m));
  y = radd(y, rmul(y, rsub(1.0f, rmul(m, y))));
  y = radd(y, rmul(y, rsub(1.0f, rmul(m, y))));
  return radd(y, rmul(y, rsub(1.0f, rmul(m, y))));
}

// 1 / x for 0 < x < 2^99: the result needs no FL.
__device__ __forceinline__ float recip_positive(float x) {
  const u32 m = (bits(x) & 0x7fffffu) | 0x3f800000u;
  return value(bits(recip_mantissa(value(m))) - (bits(x) - m));
}

// 1 / x for x != 0.
__device__ __forceinline__ float recip(float x) {
  const u32 m = (bits(x) & 0x7fffffu) | 0x3f800000u;
  const u32 y = bits(recip_mantissa(value(m))) - ((bits(x) & 0x7fffffffu) - m);
  return fl(value((y & 0x7fffffffu) | (bits(x) & 0x80000000u)));
}

__device__ __forceinline__ float rsqrt_step(float a, float y) {
  return rmul(y, rsub(1.5f, rmul(0.5f, rmul(rmul(a, y), y))));
}

// 1 / sqrt(a) for a > 0; finite for 0.
__device__ __forceinline__ float rsqrt(float a) {
  const float y = rsqrt_step(a, rsqrt_step(a, value(0x5f375a86u - (bits(a) >> 1))));
  return radd(y, rmul(rmul(0.5f, y), rsub(1.0f, rmul(rmul(a, y), y))));
}

// sqrt(x) for x >= 0.
__device__ __forceinline__ float sqrt(float x) {
  return rmul(x, rsqrt(x));
}

// Natural logarithm of x > 0.
__device__ __forceinline__ float ln(float x) {
  const i32 e = ((i32)bits(x) - 0x3f3504f3) >> 23;
  const float n = (float)e;
  const float t = sub(value(bits(x) - ((u32)e << 23)), 1.0f);
  const float w = mul(t, t);
  float p = horner(value(0x3d8a2bd3u), t, 0xbdef1e0bu);
  p = horner(p, t, 0x3df37835u);
  p = horner(p, t, 0xbdfe1104u);
  p = horner(p, t, 0x3e119bb4u);
  p = horner(p, t, 0xbe2aae27u);
  p = horner(p, t, 0x3e4cd25bu);
  p = horner(p, t, 0xbe800003u);
  p = horner(p, t, 0x3eaaaaa4u);
  float y = mul(mul(p, t), w);
  y = add(y, mul(n, value(0xb95e8083u)));
  y = sub(y, mul(0.5f, w));
  return add(add(t, y), mul(n, value(0x3f318000u)));
}

// 1 + e^-x is below 2^99.
__device__ __forceinline__ float sigmoid(float x) {
  return recip_positive(radd(1.0f, exp(-x)));
}

__device__ __forceinline__ float silu(float x) {
  return mul(x, sigmoid(x));
}

// tanh below .625 in size.
__device__ __forceinline__ float tanh_small(float x) {
  const float w = rmul(x, x);
  float p = step(value(0xbbbaf0e7u), w, 0x3ca9134eu);
  p = step(p, w, 0xbd5c1e2du);
  p = step(p, w, 0x3e088393u);
  p = step(p, w, 0xbeaaaa99u);
  return radd(x, rmul(rmul(p, w), x));
}

// Both recipes, then a choice: the threads of a warp seldom agree. A raw x below 2^-100 gives a result as small, or 0.
__device__ __forceinline__ float tanh(float x) {
  const float a = fabsf(x);
  const float r = recip_positive(radd(1.0f, exp(radd(a, a))));
  const float large = value(bits(rsub(1.0f, radd(r, r))) | (bits(x) & 0x80000000u));
  const float small = tanh_small(x);
  return a < 0.625f ? small : large;
}

__device__ __forceinline__ float erf(float x) {
  const float a = fabsf(x);
  if (a < value(0x3f6b851fu)) {
    const float w = mul(x, x);
    float p = horner(value(0x38b0a2e1u), w, 0xba55d2bbu);
    p = horner(p, w, 0x3baa796eu);
    p = horner(p, w, 0xbcdc09b6u);
    p = horner(p, w, 0x3de71726u);
    p = horner(p, w, 0xbec093a2u);
    return mul(x, add(value(0x3f906ebbu), mul(p, w)));
  }
  const float y = fminf(a, 4.0f);
  float q = horner(value(0x37af66c3u), y, 0xb9e2a69du);
  q = horner(q, y, 0x3b8854ffu);
  q = horner(q, y, 0xbccd8caau);
  q = horner(q, y, 0x3dddab27u);
  q = horner(q, y, 0x3f2225a1u);
  q = horner(q, y, 0x3f90934cu);
  q = horner(q, y, 0xb932d5edu);
  return value(bits(sub(1.0f, exp(-q))) | (bits(x) & 0x80000000u));
}

__device__ __forceinline__ u32 lowbias32(u32 x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  x ^= x >> 16;
  return x;
}

// sign * x * 2^e for an f32 x >= 0 of an integer: below 2^-100 is 0, above 2^40 is 2^40.
__device__ __forceinline__ float pack(float x, i32 e, bool negative) {
  const i32 field = (i32)(bits(x) >> 23) + e;
  if (x == 0.0f || field < 27) return 0.0f;
  const u32 size = field >= 167 ? 0x53800000u : bits(x) + ((u32)e << 23);
  return value(size | (negative ? 0x80000000u : 0u));
}

// ROUND of NUMERICS.md: sum * 2^e to the nearest f32, ties to even, within 2^40. A size of more than 32 bits keeps its top 32 and, as the lowest of
// them, whether anything was left below: the conversion then rounds as the whole would.
__device__ __forceinline__ float round_sum(i64 sum, i32 e) {
  const u64 size = sum < 0 ? 0ull - (u64)sum : (u64)sum;
  const u32 high = (u32)(size >> 32);
  const i32 shift = 32 - __clz((i32)high);
  const u32 kept = (u32)(size >> shift);
  const u32 lost = ((u64)kept << shift) != size ? 1u : 0u;
  return pack((float)(kept | lost), e + shift, sum < 0);
}

// The same for a sum that fits 32 bits.
__device__ __forceinline__ float round_sum(i32 sum, i32 e) {
  return pack((float)(sum < 0 ? 0u - (u32)sum : (u32)sum), e, sum < 0);
}

}  // namespace pf

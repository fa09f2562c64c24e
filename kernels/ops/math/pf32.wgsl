// PF32 on one number, as u32 bit patterns: the twin of math/cpu.ts, put in front of every kernel body (see math/gpu.ts).
//
// Equation   FL(u) = |u| < 2^-100 ? 0 : u; add, sub, mul = FL(RNE(op)); functions by the recipes of NUMERICS.md, Horner, no fused steps.
// Barrier    Every f32 result passes through `^ z`, z being a word the compiler cannot know to be 0: it may then neither fuse nor reassociate.
//            An entry point must begin with `z = zero[0];`.
// Exact      ROUND and the hash are integers only. floor, f32 -> i32 and i32 -> f32 below 2^24 are exact by the WGSL specification.
// Not used   division, sqrt, exp, log, tanh, inverseSqrt, fma, u32 -> f32: their results differ from device to device.
// Bindings   Group 0: 0 is the kernel's uniform struct, 1 is `zero`, a kernel's own buffers start at 2.

@group(0) @binding(1) var<storage, read_write> zero: array<u32>;
var<private> z: u32;

const one = 0x3f800000u;
const half = 0x3f000000u;
const two = 0x40000000u;
const sign_bit = 0x80000000u;
const abs_mask = 0x7fffffffu;
const tiny = 0x0d800000u; // 2^-100
const clamp_max = 0x53800000u; // 2^40

fn fl(u: u32) -> u32 {
  return select(u, 0u, (u & abs_mask) < tiny);
}

fn add(a: u32, b: u32) -> u32 {
  return fl(bitcast<u32>(bitcast<f32>(a) + bitcast<f32>(b)) ^ z);
}

fn sub(a: u32, b: u32) -> u32 {
  return fl(bitcast<u32>(bitcast<f32>(a) - bitcast<f32>(b)) ^ z);
}

fn mul(a: u32, b: u32) -> u32 {
  return fl(bitcast<u32>(bitcast<f32>(a) * bitcast<f32>(b)) ^ z);
}

// Sizes above 2^40 become 2^40.
fn limit(u: u32) -> u32 {
  return select(u, (u & sign_bit) | clamp_max, (u & abs_mask) > clamp_max);
}

// Orders bit patterns as i32: a < b as f32 exactly when order(a) < order(b). Its own inverse.
fn order(u: u32) -> i32 {
  let i = bitcast<i32>(u);
  return i ^ ((i >> 31u) & 0x7fffffff);
}

// r * x + c: one step of Horner, two roundings.
fn horner(r: u32, x: u32, c: u32) -> u32 {
  return add(mul(r, x), c);
}

// Sizes above `bound` become `bound`.
fn within(x: u32, bound: u32) -> u32 {
  return select(x, (x & sign_bit) | bound, (x & abs_mask) > bound);
}

fn exp_(x: u32) -> u32 {
  let y = within(x, 0x42880000u); // 68
  let n = floor(bitcast<f32>(add(mul(y, 0x3fb8aa3bu), half)));
  let nu = bitcast<u32>(n);
  let f = sub(sub(y, mul(nu, 0x3f318000u)), mul(nu, 0xb95e8083u));
  var p = horner(0x3ab5731du, f, 0x3c093444u);
  p = horner(p, f, 0x3d2aac13u);
  p = horner(p, f, 0x3e2aaa0cu);
  p = horner(p, f, 0x3efffffeu);
  p = horner(p, f, one);
  return horner(p, f, one) + (bitcast<u32>(i32(n)) << 23u);
}

fn exp2_(x: u32) -> u32 {
  let y = within(x, 0x42c60000u); // 99
  let n = floor(bitcast<f32>(add(y, half)));
  let f = sub(y, bitcast<u32>(n));
  var p = horner(0x3920fddeu, f, 0x3aaf9f2au);
  p = horner(p, f, 0x3c1d96a6u);
  p = horner(p, f, 0x3d635774u);
  p = horner(p, f, 0x3e75fdeeu);
  p = horner(p, f, 0x3f317218u);
  return horner(p, f, one) + (bitcast<u32>(i32(n)) << 23u);
}

fn recip_(x: u32) -> u32 {
  let m = (x & 0x7fffffu) | one;
  var y = 0x7ef311c7u - m;
  y = add(y, mul(y, sub(one, mul(m, y))));
  y = add(y, mul(y, sub(one, mul(m, y))));
  y = add(y, mul(y, sub(one, mul(m, y))));
  let bits = y - ((((x >> 23u) & 255u) - 127u) << 23u);
  return fl((bits & abs_mask) | (x & sign_bit));
}

fn rsqrt_(a: u32) -> u32 {
  var y = 0x5f375a86u - (a >> 1u);
  y = mul(y, sub(0x3fc00000u, mul(half, mul(mul(a, y), y))));
  y = mul(y, sub(0x3fc00000u, mul(half, mul(mul(a, y), y))));
  return add(y, mul(mul(half, y), sub(one, mul(mul(a, y), y))));
}

fn sqrt_(x: u32) -> u32 {
  return mul(x, rsqrt_(x));
}

fn ln_(x: u32) -> u32 {
  let e = (bitcast<i32>(x) - 0x3f3504f3) >> 23u;
  let eu = bitcast<u32>(f32(e));
  let t = sub(x - (bitcast<u32>(e) << 23u), one);
  let w = mul(t, t);
  var p = horner(0x3d8a2bd3u, t, 0xbdef1e0bu);
  p = horner(p, t, 0x3df37835u);
  p = horner(p, t, 0xbdfe1104u);
  p = horner(p, t, 0x3e119bb4u);
  p = horner(p, t, 0xbe2aae27u);
  p = horner(p, t, 0x3e4cd25bu);
  p = horner(p, t, 0xbe800003u);
  p = horner(p, t, 0x3eaaaaa4u);
  var y = mul(mul(p, t), w);
  y = add(y, mul(eu, 0xb95e8083u));
  y = sub(y, mul(half, w));
  return add(add(t, y), mul(eu, 0x3f318000u));
}

fn sigmoid_(x: u32) -> u32 {
  return recip_(add(one, exp_(x ^ sign_bit)));
}

fn silu_(x: u32) -> u32 {
  return mul(x, sigmoid_(x));
}

fn tanh_(x: u32) -> u32 {
  let a = x & abs_mask;
  if (a < 0x3f200000u) { // 0.625
    let w = mul(x, x);
    var p = horner(0xbbbaf0e7u, w, 0x3ca9134eu);
    p = horner(p, w, 0xbd5c1e2du);
    p = horner(p, w, 0x3e088393u);
    p = horner(p, w, 0xbeaaaa99u);
    return add(x, mul(mul(p, w), x));
  }
  return sub(one, mul(two, recip_(add(one, exp_(add(a, a)))))) | (x & sign_bit);
}

fn erf_(x: u32) -> u32 {
  let a = x & abs_mask;
  if (a < 0x3f6b851fu) { // 0.92
    let w = mul(x, x);
    var p = horner(0x38b0a2e1u, w, 0xba55d2bbu);
    p = horner(p, w, 0x3baa796eu);
    p = horner(p, w, 0xbcdc09b6u);
    p = horner(p, w, 0x3de71726u);
    p = horner(p, w, 0xbec093a2u);
    return mul(x, add(0x3f906ebbu, mul(p, w)));
  }
  let y = min(a, 0x40800000u); // 4
  var q = horner(0x37af66c3u, y, 0xb9e2a69du);
  q = horner(q, y, 0x3b8854ffu);
  q = horner(q, y, 0xbccd8caau);
  q = horner(q, y, 0x3dddab27u);
  q = horner(q, y, 0x3f2225a1u);
  q = horner(q, y, 0x3f90934cu);
  q = horner(q, y, 0xb932d5edu);
  return sub(one, exp_(q ^ sign_bit)) | (x & sign_bit);
}

fn lowbias32(seed: u32) -> u32 {
  var x = seed;
  x ^= x >> 16u;
  x *= 0x7feb352du;
  x ^= x >> 15u;
  x *= 0x846ca68bu;
  x ^= x >> 16u;
  return x;
}

// q * 2^e with a 24-bit (25 after a carry) q > 0 as f32 bits without a sign: below 2^-100 is 0, above 2^40 is 2^40.
fn pack(q: u32, e: i32) -> u32 {
  let l = i32(countLeadingZeros(q)) - 8;
  let m = select(q >> 1u, q << u32(max(l, 0)), l >= 0);
  let field = 150 + e - l;
  if (field < 27) {
    return 0u;
  }
  return min((u32(min(field, 226)) << 23u) | (m & 0x7fffffu), clamp_max);
}

// ROUND of NUMERICS.md: (hi * 65536 + lo) * 2^e, 0 <= lo < 65536, to the nearest f32, ties to even, then clamped to 2^40.
fn round_sum(hi_in: i32, lo_in: u32, e: i32) -> u32 {
  var hi = hi_in;
  var lo = lo_in;
  var sign = 0u;
  if (hi < 0) {
    sign = sign_bit;
    hi = -hi - select(0, 1, lo != 0u);
    lo = (65536u - lo) & 0xffffu;
  }
  let h = bitcast<u32>(hi);
  if (h < 256u) {
    let small = (h << 16u) | lo;
    if (small == 0u) {
      return 0u;
    }
    let packed = pack(small, e);
    return select(packed | sign, 0u, packed == 0u);
  }
  let s = 24u - countLeadingZeros(h); // 1 .. 24
  var q: u32;
  var r: u32;
  if (s <= 16u) {
    q = (h << (16u - s)) | (lo >> s);
    r = lo & ((1u << s) - 1u);
  } else {
    q = h >> (s - 16u);
    r = ((h & ((1u << (s - 16u)) - 1u)) << 16u) | lo;
  }
  let tie = 1u << (s - 1u);
  q += select(0u, 1u, r > tie || (r == tie && (q & 1u) == 1u));
  let packed = pack(q, e + i32(s));
  return select(packed | sign, 0u, packed == 0u);
}

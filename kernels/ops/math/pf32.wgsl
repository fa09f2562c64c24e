// PF32 as u32 bit patterns, on one number and on four: the twin of math/cpu.ts. Put in front of every kernel body, behind one of pf32-barrier.wgsl,
// pf32-plain.wgsl and pf32-soft.wgsl, which define the raw operations (see device/webgpu-pipelines.ts).
//
// Equation   FL(u) = |u| < 2^-100 ? 0 : u; add, sub, mul = FL(RNE(op)); functions by the recipes of NUMERICS.md, Horner, no fused steps.
// Raw        A function leaves FL out where it cannot change the outcome, and says why. Two facts carry most of it. (1) c + t with |c| >= 2^-75 is the
//            same for every |t| < 2^-100, so what feeds such an addition need not be flushed. (2) c + t with |c| >= 2^-75 is 0 or at least 2^-99, so
//            neither must its sum.
// Exact      ROUND and the hash are integers only.
// Not used   division, sqrt, exp, log, tanh, inverseSqrt, fma, u32 -> f32: their results differ from device to device.

const one = 0x3f800000u;
const half = 0x3f000000u;
const two = 0x40000000u;
const sign_bit = 0x80000000u;
const abs_mask = 0x7fffffffu;
const tiny = 0x0d800000u; // 2^-100
const clamp_max = 0x53800000u; // 2^40
const one4 = vec4u(one);
const half4 = vec4u(half);
const int_base = 0x4b400000u; // 1.5 * 2^23: an integer added to it lies in the low bits.

fn fl(u: u32) -> u32 {
  return select(u, 0u, bitcast<i32>(u & abs_mask) < i32(tiny));
}

fn fl4(u: vec4u) -> vec4u {
  return select(u, vec4u(), bitcast<vec4i>(u & vec4u(abs_mask)) < vec4i(i32(tiny)));
}

fn add(a: u32, b: u32) -> u32 {
  return fl(radd(a, b));
}

fn sub(a: u32, b: u32) -> u32 {
  return fl(rsub(a, b));
}

fn mul(a: u32, b: u32) -> u32 {
  return fl(rmul(a, b));
}

fn add4(a: vec4u, b: vec4u) -> vec4u {
  return fl4(radd4(a, b));
}

fn sub4(a: vec4u, b: vec4u) -> vec4u {
  return fl4(rsub4(a, b));
}

fn mul4(a: vec4u, b: vec4u) -> vec4u {
  return fl4(rmul4(a, b));
}

// Sizes above `bound` become `bound`.
fn within(x: u32, bound: u32) -> u32 {
  return select(x, (x & sign_bit) | bound, (x & abs_mask) > bound);
}

fn within4(x: vec4u, bound: u32) -> vec4u {
  let size = bitcast<vec4i>(x & vec4u(abs_mask));
  return bitcast<vec4u>(min(size, vec4i(i32(bound)))) | (x & vec4u(sign_bit));
}

// Sizes above 2^40 become 2^40.
fn limit(u: u32) -> u32 {
  return within(u, clamp_max);
}

fn limit4(u: vec4u) -> vec4u {
  return within4(u, clamp_max);
}

// Orders bit patterns as i32: a < b as f32 exactly when order(a) < order(b). Its own inverse.
fn order(u: u32) -> i32 {
  let i = bitcast<i32>(u);
  return i ^ ((i >> 31u) & 0x7fffffff);
}

fn order4(u: vec4u) -> vec4i {
  let i = bitcast<vec4i>(u);
  return i ^ ((i >> vec4u(31u)) & vec4i(0x7fffffff));
}

// r * x + c: one step of Horner, two roundings.
fn horner(r: u32, x: u32, c: u32) -> u32 {
  return add(mul(r, x), c);
}

// The same, raw: |c| >= 2^-75.
fn step4(r: vec4u, x: vec4u, c: u32) -> vec4u {
  return radd4(rmul4(r, x), vec4u(c));
}

// Raw throughout: x * log2e only feeds "+ .5"; n * ln2Hi is 0 or at least .69, so y minus it is y, 0 or a multiple of 2^-24, and minus n * ln2Lo 0 or at
// least 2^-40; the rest is Horner's steps.
fn exp4(x: vec4u) -> vec4u {
  let y = within4(x, 0x42880000u); // 68
  let n = floor4(radd4(rmul4(y, vec4u(0x3fb8aa3bu)), half4));
  let f = rsub4(rsub4(y, rmul4(n, vec4u(0x3f318000u))), rmul4(n, vec4u(0xb95e8083u)));
  var p = step4(vec4u(0x3ab5731du), f, 0x3c093444u);
  p = step4(p, f, 0x3d2aac13u);
  p = step4(p, f, 0x3e2aaa0cu);
  p = step4(p, f, 0x3efffffeu);
  p = step4(p, f, one);
  return step4(p, f, one) + (radd4(n, vec4u(int_base)) << vec4u(23u));
}

fn exp_(x: u32) -> u32 {
  return exp4(vec4u(x)).x;
}

// Raw: what f leaves below 2^-100 feeds Horner's steps.
fn exp2_(x: u32) -> u32 {
  let y = vec4u(within(x, 0x42c60000u)); // 99
  let n = floor4(radd4(y, half4));
  let f = rsub4(y, n);
  var p = step4(vec4u(0x3920fddeu), f, 0x3aaf9f2au);
  p = step4(p, f, 0x3c1d96a6u);
  p = step4(p, f, 0x3d635774u);
  p = step4(p, f, 0x3e75fdeeu);
  p = step4(p, f, 0x3f317218u);
  return (step4(p, f, one) + (radd4(n, vec4u(int_base)) << vec4u(23u))).x;
}

// 1 / m for m in [1, 2). Raw: m * y is near 1, 1 - m * y is 0 or at least 2^-25, y near 1.
fn recip_mantissa4(m: vec4u) -> vec4u {
  var y = vec4u(0x7ef311c7u) - m;
  y = radd4(y, rmul4(y, rsub4(one4, rmul4(m, y))));
  y = radd4(y, rmul4(y, rsub4(one4, rmul4(m, y))));
  return radd4(y, rmul4(y, rsub4(one4, rmul4(m, y))));
}

// 1 / x for 0 < x < 2^99, so that the result is not flushed. x - m holds (e - 127) << 23.
fn recip_positive4(x: vec4u) -> vec4u {
  let m = (x & vec4u(0x7fffffu)) | one4;
  return recip_mantissa4(m) - (x - m);
}

fn recip4(x: vec4u) -> vec4u {
  let m = (x & vec4u(0x7fffffu)) | one4;
  let y = recip_mantissa4(m) - ((x & vec4u(abs_mask)) - m);
  return fl4((y & vec4u(abs_mask)) | (x & vec4u(sign_bit)));
}

fn recip_(x: u32) -> u32 {
  return recip4(vec4u(x)).x;
}

fn rsqrt_step4(a: vec4u, y: vec4u) -> vec4u {
  return rmul4(y, rsub4(vec4u(0x3fc00000u), rmul4(half4, rmul4(rmul4(a, y), y))));
}

// Raw: y lies in 2^-64 .. 2^51, a * y in 2^-50 .. 2^64, (a * y) * y near 1, and 1 minus it is 0 or at least 2^-24.
fn rsqrt4(a: vec4u) -> vec4u {
  let y = rsqrt_step4(a, rsqrt_step4(a, vec4u(0x5f375a86u) - (a >> vec4u(1u))));
  return radd4(y, rmul4(rmul4(half4, y), rsub4(one4, rmul4(rmul4(a, y), y))));
}

fn rsqrt_(a: u32) -> u32 {
  return rsqrt4(vec4u(a)).x;
}

// Raw: 0, or at least 2^-50.
fn sqrt4(x: vec4u) -> vec4u {
  return rmul4(x, rsqrt4(x));
}

fn sqrt_(x: u32) -> u32 {
  return sqrt4(vec4u(x)).x;
}

fn ln_(x: u32) -> u32 {
  let e = bitcast<u32>((bitcast<i32>(x) - 0x3f3504f3) >> 23u);
  let n = rsub(int_base + e, int_base);
  let t = sub(x - (e << 23u), one);
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
  y = add(y, mul(n, 0xb95e8083u));
  y = sub(y, mul(half, w));
  return add(add(t, y), mul(n, 0x3f318000u));
}

fn sigmoid_(x: u32) -> u32 {
  return recip_(add(one, exp_(x ^ sign_bit)));
}

fn silu_(x: u32) -> u32 {
  return mul(x, sigmoid_(x));
}

// tanh below .625 in size. Raw: where w, P * w or (P * w) * x would be flushed, that last product is below 2^-49 of x (x < 2^-49, or x >= 2^-49 and the
// product < 2^-100), so x plus it is x either way. For x = 0 all is 0.
fn tanh_small4(x: vec4u) -> vec4u {
  let w = rmul4(x, x);
  var p = step4(vec4u(0xbbbaf0e7u), w, 0x3ca9134eu);
  p = step4(p, w, 0xbd5c1e2du);
  p = step4(p, w, 0x3e088393u);
  p = step4(p, w, 0xbeaaaa99u);
  return radd4(x, rmul4(rmul4(p, w), x));
}

// Raw: 1 + e^(2 |x|) is below 2^99. x itself may be what a raw product left, smaller than 2^-100: the result is then as small, or 0.
fn tanh4(x: vec4u) -> vec4u {
  let a = x & vec4u(abs_mask);
  let r = recip_positive4(radd4(one4, exp4(radd4(a, a))));
  let large = rsub4(one4, radd4(r, r)) | (x & vec4u(sign_bit));
  return select(large, tanh_small4(x), bitcast<vec4i>(a) < vec4i(0x3f200000)); // 0.625
}

fn tanh_(x: u32) -> u32 {
  return tanh4(vec4u(x)).x;
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

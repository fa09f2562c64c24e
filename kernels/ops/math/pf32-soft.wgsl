// Rounded f32 operations on u32 bit patterns by integers only: for a device whose f32 arithmetic fails the conformance suite. The same bits, some ten
// times slower; may stand where pf32-barrier.wgsl stands.
//
// Equation   radd, rsub, rmul = FL(RNE(op)) of finite numbers without subnormals; what exceeds f32 becomes infinity. floor4 is exact.
// Work       A sum: the smaller operand is shifted under the larger, three more bits and a sticky one below; a product: 24 x 24 bits in 16-bit halves.
// Bindings   As in pf32-barrier.wgsl, whose `z` an entry point may set here too.

@group(0) @binding(1) var<storage, read_write> zero: array<u32>;
var<private> z: u32;

const soft_tiny = 0x0d800000u; // 2^-100
const soft_infinity = 0x7f800000u;

// The 24 bits of a number, or 0.
fn soft_mantissa(size: vec4u) -> vec4u {
  return select((size & vec4u(0x7fffffu)) | vec4u(0x800000u), vec4u(), size < vec4u(0x800000u));
}

// q rounded to the nearest by r, the bits below it, ties (r == tie) to even.
fn soft_nearest(q: vec4u, r: vec4u, tie: vec4u) -> vec4u {
  // r + odd > tie: above the tie, or at it and odd.
  return q + select(vec4u(), vec4u(1u), r + (q & vec4u(1u)) > tie);
}

// q * 2^(e - 150) for q of 24 bits, or 25 after rounding up: the carry goes on into the exponent.
fn soft_pack(sign: vec4u, q: vec4u, e: vec4i) -> vec4u {
  let size = min((vec4u(clamp(e, vec4i(1), vec4i(255)) - vec4i(1)) << vec4u(23u)) + q, vec4u(soft_infinity));
  return select(sign | size, vec4u(), size < vec4u(soft_tiny));
}

fn radd4(a: vec4u, b: vec4u) -> vec4u {
  let size_a = a & vec4u(0x7fffffffu);
  let size_b = b & vec4u(0x7fffffffu);
  let size = max(size_a, size_b);
  let smaller = min(size_a, size_b);
  let sign = select(b, a, size_a >= size_b) & vec4u(0x80000000u);
  let large = soft_mantissa(size) << vec4u(3u);
  let other = soft_mantissa(smaller) << vec4u(3u);
  let shift = min((size >> vec4u(23u)) - (smaller >> vec4u(23u)), vec4u(31u));
  let kept = other >> shift;
  let small = kept | select(vec4u(), vec4u(1u), (kept << shift) != other);
  let m = select(large - small, large + small, ((a ^ b) & vec4u(0x80000000u)) == vec4u());
  // The leading bit to bit 26: one down, its lowest bit sticky, or as far up as a cancellation took.
  let zeros = vec4i(countLeadingZeros(m)) - vec4i(5);
  let down = (m >> vec4u(1u)) | (m & vec4u(1u));
  let n = select(m << vec4u(clamp(zeros, vec4i(), vec4i(31))), down, zeros < vec4i());
  let q = soft_nearest(n >> vec4u(3u), n & vec4u(7u), vec4u(4u));
  return select(soft_pack(sign, q, vec4i(size >> vec4u(23u)) - zeros), vec4u(), m == vec4u());
}

fn rsub4(a: vec4u, b: vec4u) -> vec4u {
  return radd4(a, b ^ vec4u(0x80000000u));
}

fn rmul4(a: vec4u, b: vec4u) -> vec4u {
  let low_half = vec4u(0xffffu);
  let half_word = vec4u(16u);
  let size_a = a & vec4u(0x7fffffffu);
  let size_b = b & vec4u(0x7fffffffu);
  let m = soft_mantissa(size_a);
  let n = soft_mantissa(size_b);
  // high * 2^32 + low = m * n: 0, or between 2^46 and 2^48.
  let middle = (m >> half_word) * (n & low_half) + (m & low_half) * (n >> half_word);
  let shifted = middle << half_word;
  let low = (m & low_half) * (n & low_half) + shifted;
  let carry = select(vec4u(), vec4u(1u), low < shifted);
  let high = (m >> half_word) * (n >> half_word) + (middle >> half_word) + carry;
  let top = high >> vec4u(15u);
  let s = vec4u(23u) + top;
  let rest = low & ((vec4u(1u) << s) - vec4u(1u));
  let q = soft_nearest((high << (vec4u(32u) - s)) | (low >> s), rest, vec4u(1u) << (s - vec4u(1u)));
  let e = vec4i((size_a >> vec4u(23u)) + (size_b >> vec4u(23u)) + top) - vec4i(127);
  return select(soft_pack((a ^ b) & vec4u(0x80000000u), q, e), vec4u(), high == vec4u());
}

// Clears the bits below the point; a negative number that had any is then 1 too large.
fn floor4(x: vec4u) -> vec4u {
  let sign = x & vec4u(0x80000000u);
  let exponent = (x >> vec4u(23u)) & vec4u(255u);
  let below = vec4u(0x7fffffu) >> min(max(exponent, vec4u(127u)) - vec4u(127u), vec4u(23u));
  let whole = select(x & ~below, sign, exponent < vec4u(127u));
  let inside = (x & vec4u(0x7fffffffu)) == (whole & vec4u(0x7fffffffu));
  return select(rsub4(whole, vec4u(0x3f800000u)), whole, inside | (sign == vec4u()));
}

fn radd(a: u32, b: u32) -> u32 {
  return radd4(vec4u(a), vec4u(b)).x;
}

fn rsub(a: u32, b: u32) -> u32 {
  return rsub4(vec4u(a), vec4u(b)).x;
}

fn rmul(a: u32, b: u32) -> u32 {
  return rmul4(vec4u(a), vec4u(b)).x;
}

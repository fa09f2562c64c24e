// int8 rows back to values. Body; pf32.wgsl comes first.
//
// Equation   v = FL(code * 2^(E - 7)), a code of 0 counting as 1/2 with HALF_STEP; v * v with SQUARE; then ADD 1: clamp(dst + v), 2: clamp(other + v).
// Layout     codes [rows][cols] bytes, exponents [rows] bytes, four to a word; dst, other [rows][cols].
// Work       One invocation a word of codes.
// Exact      A step below 2^-117 makes every value smaller than 2^-100, so 0; all others, and their products, are normal numbers.

override HALF_STEP: bool = false;
override SQUARE: bool = false;
override ADD: u32 = 0;

struct Params {
  size: u32,
  cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> exponents: array<u32>;
@group(0) @binding(4) var<storage, read> other: array<u32>;
@group(0) @binding(5) var<storage, read_write> dst: array<u32>;

fn byte_of(word: u32, i: u32) -> i32 {
  return bitcast<i32>(word << (24u - 8u * i)) >> 24u;
}

fn value(code: i32, exponent: i32) -> u32 {
  if (exponent < -110) {
    return 0u;
  }
  let size = select(bitcast<u32>(f32(code)), half, HALF_STEP && code == 0);
  let v = mul(size, u32(exponent + 120) << 23u);
  return select(v, mul(v, v), SQUARE);
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  z = zero[0];
  let at = ((group.y * grid.x + group.x) * 256u + local) * 4u;
  if (at >= params.size) {
    return;
  }
  let word = codes[at / 4u];
  for (var i = at; i < min(at + 4u, params.size); i++) {
    let row = i / params.cols;
    var v = value(byte_of(word, i % 4u), byte_of(exponents[row / 4u], row % 4u));
    if (ADD == 1u) {
      v = limit(add(dst[i], v));
    } else if (ADD == 2u) {
      v = limit(add(other[i], v));
    }
    dst[i] = v;
  }
}

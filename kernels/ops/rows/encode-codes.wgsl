// Second half of encodeRows: the codes, four to a word. Body; pf32.wgsl comes first.
//
// Equation   code = QUANT(x) to 7 bits, RNE, with the exponent of x's row (NUMERICS.md); x as in encode-exponents.wgsl.
// Layout     src, minus [rows][cols]; exponents [rows] bytes; codes [rows][cols] bytes, packed wherever rows end, what is left of the last word 0.
// Work       One invocation a word of codes.

struct Params {
  size: u32,
  cols: u32,
  kind: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> src: array<u32>;
@group(0) @binding(3) var<storage, read> minus: array<u32>;
@group(0) @binding(4) var<storage, read> exponents: array<u32>;
@group(0) @binding(5) var<storage, read_write> codes: array<u32>;

fn value(i: u32) -> u32 {
  if (params.kind == 1u) {
    return limit(sub(src[i], minus[i]));
  }
  if (params.kind == 2u) {
    return limit(sqrt_(src[i]));
  }
  return src[i];
}

// Exponent field of the row's largest. No row has an exponent below -99: such a byte stands for one above 127.
fn field_of(row: u32) -> u32 {
  let e = bitcast<i32>(exponents[row / 4u] << (24u - 8u * (row % 4u))) >> 24u;
  return u32(e + 126 + select(0, 256, e < -99));
}

fn code(u: u32, field: u32) -> u32 {
  let a = u & abs_mask;
  if (a < tiny) {
    return 0u;
  }
  let m = (a & 0x7fffffu) | 0x800000u;
  let s = min(17u + field - (a >> 23u), 25u);
  let r = m & ((1u << s) - 1u);
  let tie = 1u << (s - 1u);
  let q = m >> s;
  let i = i32(min(q + select(0u, 1u, r > tie || (r == tie && (q & 1u) == 1u)), 127u));
  return bitcast<u32>(select(i, -i, (u & sign_bit) != 0u)) & 255u;
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
  var word = 0u;
  for (var i = 0u; i < min(4u, params.size - at); i++) {
    word |= code(value(at + i), field_of((at + i) / params.cols)) << (8u * i);
  }
  codes[at / 4u] = word;
}

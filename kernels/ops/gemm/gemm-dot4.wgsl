// GEMM for mantissas of 7 bits by integer dot products of four, exact. Body; pf32.wgsl, gemm-tile.wgsl and gemm-packed.wgsl come first, and
// gpu.ts adds BK4 and the lengths of the two arrays as constants. Needs the language feature packed_4x8_integer_dot_product.
//
// Equation   See gemm-tile.wgsl.
// Exactness  Integers; the whole sum stays below 2^31.
// Work       As gemm-shared.wgsl, with 16 products where that has 4 a vec4.
// Requires   K * qmax^2 < 2^31.

var<workgroup> a_tile: array<vec4u, a_tile_length>;
var<workgroup> b_tile: array<vec4u, b_tile_length>;

// Puts steps k .. k + BK4 - 1 of the workgroup's lines where all its invocations read them; steps from K4 on are zeros. Row l of A goes to place
// (l mod 8) WY + l / 8, so that invocations which read at once read side by side.
fn stage(first: Tile, k: u32, local: u32) {
  for (var t = local; t < 8u * WY * BK4; t += WX * WY) {
    let l = t / BK4;
    let step = k + t % BK4;
    var value = vec4u();
    if (step < params.K4) {
      value = a[(first.batch * params.a_lines + min(first.m0 + l, params.M - 1u)) * params.a_stride + step];
    }
    a_tile[(t % BK4) * 8u * WY + (l % 8u) * WY + l / 8u] = value;
  }
  for (var t = local; t < 8u * WX * BK4; t += WX * WY) {
    let l = t / BK4;
    let step = k + t % BK4;
    var value = vec4u();
    if (step < params.K4) {
      value = b[(first.batch * params.b_lines + min(first.n0 + l, params.N - 1u)) * params.b_stride + step];
    }
    b_tile[(t % BK4) * 8u * WX + l] = value;
  }
}

fn dot16(x: vec4u, y: vec4u) -> i32 {
  return dot4I8Packed(x.x, y.x) + dot4I8Packed(x.y, y.y) + dot4I8Packed(x.z, y.z) + dot4I8Packed(x.w, y.w);
}

fn dots(x: vec4u, p: vec4u, q: vec4u, r: vec4u, s: vec4u) -> vec4i {
  return vec4i(dot16(x, p), dot16(x, q), dot16(x, r), dot16(x, s));
}

@compute @workgroup_size(WX, WY)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  z = zero[0];
  let first = tile_of(group, grid, vec3u());
  var sums: Sums;
  var s0 = vec4i();
  var s1 = vec4i();
  var s2 = vec4i();
  var s3 = vec4i();
  var s4 = vec4i();
  var s5 = vec4i();
  var s6 = vec4i();
  var s7 = vec4i();
  var s8 = vec4i();
  var s9 = vec4i();
  var s10 = vec4i();
  var s11 = vec4i();
  var s12 = vec4i();
  var s13 = vec4i();
  var s14 = vec4i();
  var s15 = vec4i();
  let steps = select(0u, params.K4, group_sums(first));
  for (var k = 0u; k < steps; k += BK4) {
    workgroupBarrier();
    stage(first, k, local.y * WX + local.x);
    workgroupBarrier();
    for (var j = 0u; j < BK4; j++) {
      let from_a = j * 8u * WY + local.y;
      let from_b = j * 8u * WX + local.x;
      let c0 = b_tile[from_b + 0u * WX];
      let c1 = b_tile[from_b + 1u * WX];
      let c2 = b_tile[from_b + 2u * WX];
      let c3 = b_tile[from_b + 3u * WX];
      let c4 = b_tile[from_b + 4u * WX];
      let c5 = b_tile[from_b + 5u * WX];
      let c6 = b_tile[from_b + 6u * WX];
      let c7 = b_tile[from_b + 7u * WX];
      let r0 = a_tile[from_a + 0u * WY];
      s0 += dots(r0, c0, c1, c2, c3);
      s1 += dots(r0, c4, c5, c6, c7);
      let r1 = a_tile[from_a + 1u * WY];
      s2 += dots(r1, c0, c1, c2, c3);
      s3 += dots(r1, c4, c5, c6, c7);
      let r2 = a_tile[from_a + 2u * WY];
      s4 += dots(r2, c0, c1, c2, c3);
      s5 += dots(r2, c4, c5, c6, c7);
      let r3 = a_tile[from_a + 3u * WY];
      s6 += dots(r3, c0, c1, c2, c3);
      s7 += dots(r3, c4, c5, c6, c7);
      let r4 = a_tile[from_a + 4u * WY];
      s8 += dots(r4, c0, c1, c2, c3);
      s9 += dots(r4, c4, c5, c6, c7);
      let r5 = a_tile[from_a + 5u * WY];
      s10 += dots(r5, c0, c1, c2, c3);
      s11 += dots(r5, c4, c5, c6, c7);
      let r6 = a_tile[from_a + 6u * WY];
      s12 += dots(r6, c0, c1, c2, c3);
      s13 += dots(r6, c4, c5, c6, c7);
      let r7 = a_tile[from_a + 7u * WY];
      s14 += dots(r7, c0, c1, c2, c3);
      s15 += dots(r7, c4, c5, c6, c7);
    }
  }
  let whole = array(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15);
  for (var i = 0u; i < 16u; i++) {
    sums.hi[i] = whole[i] >> vec4u(16u);
    sums.lo[i] = whole[i] & vec4i(0xffff);
  }
  let tile = tile_of(group, grid, local);
  if (tile.live) {
    store_tile(tile, &sums);
  }
}

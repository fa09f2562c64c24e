// GEMM for mantissas of 7 and 10 bits through workgroup memory, exact. Body; pf32.wgsl, gemm-tile.wgsl, gemm-operands.wgsl come first, and
// gpu.ts adds BK4 and the lengths of the two arrays as constants: not every implementation takes an override there.
//
// Equation   See gemm-tile.wgsl.
// Exactness  As gemm.wgsl: four products of |q| <= 1023 stay below 2^22, so magic + sum is exact in f32 in any order, fused or not, and its bits are
//            an integer that is added in i32 modulo 2^32. A span of i32 sums stays below 2^31; spans are added as (hi, lo16).
// Work       A workgroup stages BK4 vec4 steps of its 8 WY rows and 8 WX columns, each read once from memory; an invocation holds 8 x 8 sums in
//            registers and reads 16 staged vec4 a step. All its invocations reach every barrier, those past the end too.
// Requires   4 * qmax^2 <= 2^22, span * 4 * qmax^2 < 2^31, BK4 divides span.

// 1: the whole contraction is one span, and no sums are held beside the registers'.
override ONE: u32 = 0;

var<workgroup> a_tile: array<vec4f, a_tile_length>;
var<workgroup> b_tile: array<vec4f, b_tile_length>;

// Puts steps k .. k + BK4 - 1 of the workgroup's lines where all its invocations read them; steps from K4 on are zeros. Row l of A goes to place
// (l mod 8) WY + l / 8, so that invocations which read at once read side by side.
fn stage(first: Tile, k: u32, local: u32) {
  for (var t = local; t < 8u * WY * BK4; t += WX * WY) {
    let l = t / BK4;
    let step = k + t % BK4;
    var value = vec4f();
    if (step < params.K4) {
      value = a_at((first.batch * params.a_lines + min(first.m0 + l, params.M - 1u)) * params.a_stride, step);
    }
    a_tile[(t % BK4) * 8u * WY + (l % 8u) * WY + l / 8u] = value;
  }
  for (var t = local; t < 8u * WX * BK4; t += WX * WY) {
    let l = t / BK4;
    let step = k + t % BK4;
    var value = vec4f();
    if (step < params.K4) {
      value = b[(first.batch * params.b_lines + min(first.n0 + l, params.N - 1u)) * params.b_stride + step];
    }
    b_tile[(t % BK4) * 8u * WX + l] = value;
  }
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
  let steps = select(0u, params.K4, group_sums(first));
  for (var start = 0u; start < steps; start += params.span) {
    let end = min(start + params.span, steps);
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
    var done = 0;
    for (var k = start; k < end; k += BK4) {
      workgroupBarrier();
      stage(first, k, local.y * WX + local.x);
      workgroupBarrier();
      done += i32(BK4);
      for (var j = 0u; j < BK4; j++) {
        let from_a = j * 8u * WY + local.y;
        let from_b = j * 8u * WX + local.x;
        let left = mat4x4f(b_tile[from_b], b_tile[from_b + WX], b_tile[from_b + 2u * WX], b_tile[from_b + 3u * WX]);
        let right = mat4x4f(
          b_tile[from_b + 4u * WX],
          b_tile[from_b + 5u * WX],
          b_tile[from_b + 6u * WX],
          b_tile[from_b + 7u * WX],
        );
        let r0 = a_tile[from_a + 0u * WY];
        s0 += bitcast<vec4i>(magic + r0 * left);
        s1 += bitcast<vec4i>(magic + r0 * right);
        let r1 = a_tile[from_a + 1u * WY];
        s2 += bitcast<vec4i>(magic + r1 * left);
        s3 += bitcast<vec4i>(magic + r1 * right);
        let r2 = a_tile[from_a + 2u * WY];
        s4 += bitcast<vec4i>(magic + r2 * left);
        s5 += bitcast<vec4i>(magic + r2 * right);
        let r3 = a_tile[from_a + 3u * WY];
        s6 += bitcast<vec4i>(magic + r3 * left);
        s7 += bitcast<vec4i>(magic + r3 * right);
        let r4 = a_tile[from_a + 4u * WY];
        s8 += bitcast<vec4i>(magic + r4 * left);
        s9 += bitcast<vec4i>(magic + r4 * right);
        let r5 = a_tile[from_a + 5u * WY];
        s10 += bitcast<vec4i>(magic + r5 * left);
        s11 += bitcast<vec4i>(magic + r5 * right);
        let r6 = a_tile[from_a + 6u * WY];
        s12 += bitcast<vec4i>(magic + r6 * left);
        s13 += bitcast<vec4i>(magic + r6 * right);
        let r7 = a_tile[from_a + 7u * WY];
        s14 += bitcast<vec4i>(magic + r7 * left);
        s15 += bitcast<vec4i>(magic + r7 * right);
      }
    }
    let biased = array(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15);
    let bias = vec4i(done * magic_bits);
    for (var i = 0u; i < 16u; i++) {
      let sum = biased[i] - bias;
      if (ONE == 1u) {
        sums.hi[i] = sum >> vec4u(16u);
        sums.lo[i] = sum & vec4i(0xffff);
      } else {
        let low = sums.lo[i] + (sum & vec4i(0xffff));
        sums.hi[i] += (sum >> vec4u(16u)) + (low >> vec4u(16u));
        sums.lo[i] = low & vec4i(0xffff);
      }
    }
    if (ONE == 1u) {
      break;
    }
  }
  let tile = tile_of(group, grid, local);
  if (tile.live) {
    store_tile(tile, &sums);
  }
}

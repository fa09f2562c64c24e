// GEMM for mantissas of 7 and 10 bits, exact. Body; pf32.wgsl and gemm-tile.wgsl come first.
//
// Equation   See gemm-tile.wgsl.
// Exactness  Four products of |q| <= 1023 stay below 2^22, so magic + sum is exact in f32 in any order, fused or not, and its bits are an integer
//            that is added in i32 without a conversion. A span of i32 sums stays below 2^31; spans are added as (hi, lo16).
// Work       An invocation holds its 8 x 8 sums in registers and reads 16 vec4 a step. No workgroup memory.
// Requires   4 * qmax^2 <= 2^22, span * 4 * qmax^2 < 2^31.

@compute @workgroup_size(WX, WY)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  z = zero[0];
  let tile = tile_of(group, grid, local);
  if (!tile.live) {
    return;
  }
  var sums: Sums;
  if (tile.sums) {
    let a0 = a_row(tile, 0u);
    let a1 = a_row(tile, 1u);
    let a2 = a_row(tile, 2u);
    let a3 = a_row(tile, 3u);
    let a4 = a_row(tile, 4u);
    let a5 = a_row(tile, 5u);
    let a6 = a_row(tile, 6u);
    let a7 = a_row(tile, 7u);
    let b0 = b_row(tile, 0u);
    let b1 = b_row(tile, 1u);
    let b2 = b_row(tile, 2u);
    let b3 = b_row(tile, 3u);
    let b4 = b_row(tile, 4u);
    let b5 = b_row(tile, 5u);
    let b6 = b_row(tile, 6u);
    let b7 = b_row(tile, 7u);
    for (var start = 0u; start < params.K4; start += params.span) {
      let end = min(start + params.span, params.K4);
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
      for (var k = start; k < end; k++) {
        let left = mat4x4f(b[b0 + k], b[b1 + k], b[b2 + k], b[b3 + k]);
        let right = mat4x4f(b[b4 + k], b[b5 + k], b[b6 + k], b[b7 + k]);
        let r0 = a_at(a0, k);
        s0 += bitcast<vec4i>(magic + r0 * left);
        s1 += bitcast<vec4i>(magic + r0 * right);
        let r1 = a_at(a1, k);
        s2 += bitcast<vec4i>(magic + r1 * left);
        s3 += bitcast<vec4i>(magic + r1 * right);
        let r2 = a_at(a2, k);
        s4 += bitcast<vec4i>(magic + r2 * left);
        s5 += bitcast<vec4i>(magic + r2 * right);
        let r3 = a_at(a3, k);
        s6 += bitcast<vec4i>(magic + r3 * left);
        s7 += bitcast<vec4i>(magic + r3 * right);
        let r4 = a_at(a4, k);
        s8 += bitcast<vec4i>(magic + r4 * left);
        s9 += bitcast<vec4i>(magic + r4 * right);
        let r5 = a_at(a5, k);
        s10 += bitcast<vec4i>(magic + r5 * left);
        s11 += bitcast<vec4i>(magic + r5 * right);
        let r6 = a_at(a6, k);
        s12 += bitcast<vec4i>(magic + r6 * left);
        s13 += bitcast<vec4i>(magic + r6 * right);
        let r7 = a_at(a7, k);
        s14 += bitcast<vec4i>(magic + r7 * left);
        s15 += bitcast<vec4i>(magic + r7 * right);
      }
      let biased = array(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15);
      let bias = vec4i(i32(end - start) * magic_bits);
      for (var i = 0u; i < 16u; i++) {
        let sum = biased[i] - bias;
        let low = sums.lo[i] + (sum & vec4i(0xffff));
        sums.hi[i] += (sum >> vec4u(16u)) + (low >> vec4u(16u));
        sums.lo[i] = low & vec4i(0xffff);
      }
    }
  }
  store_tile(tile, &sums);
}

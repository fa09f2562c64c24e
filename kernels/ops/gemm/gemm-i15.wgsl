// GEMM for mantissas of 15 bits, exact. Body; pf32.wgsl and gemm-tile.wgsl come first.
//
// Equation   See gemm-tile.wgsl.
// Exactness  A span's sum S is known twice: modulo 2^32 by wrapping i32 sums, and as an f32 sum F. 4096 products of at most 2^30 bring F, at an
//            ulp an addition, no further than 2^30 + 2^19 from S in any order, fused or not; so S is the number nearest to F that has those low
//            32 bits. That takes two multiply-adds a product where int8 digits take four. Spans are added as (hi, lo16).
// Work       An invocation holds its 8 x 8 sums twice and reads 16 vec4 a step. No workgroup memory.
// Requires   span <= 1024.

fn integers(x: vec4f) -> vec4i {
  return bitcast<vec4i>(x + magic) - vec4i(magic_bits);
}

fn dots(x: vec4i, p: vec4i, q: vec4i, r: vec4i, s: vec4i) -> vec4i {
  return vec4i(dot(x, p), dot(x, q), dot(x, r), dot(x, s));
}

// Multiples of 2^32 between the low words, as signed numbers, and the sums near f.
fn wraps(f: vec4f, low: vec4i) -> vec4i {
  let near = vec4f(low >> vec4u(8u)) * 256.0;
  return vec4i(floor((f - near) * 0x1p-32 + 0.5));
}

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
      var f0 = vec4f();
      var f1 = vec4f();
      var s2 = vec4i();
      var s3 = vec4i();
      var f2 = vec4f();
      var f3 = vec4f();
      var s4 = vec4i();
      var s5 = vec4i();
      var f4 = vec4f();
      var f5 = vec4f();
      var s6 = vec4i();
      var s7 = vec4i();
      var f6 = vec4f();
      var f7 = vec4f();
      var s8 = vec4i();
      var s9 = vec4i();
      var f8 = vec4f();
      var f9 = vec4f();
      var s10 = vec4i();
      var s11 = vec4i();
      var f10 = vec4f();
      var f11 = vec4f();
      var s12 = vec4i();
      var s13 = vec4i();
      var f12 = vec4f();
      var f13 = vec4f();
      var s14 = vec4i();
      var s15 = vec4i();
      var f14 = vec4f();
      var f15 = vec4f();
      for (var k = start; k < end; k++) {
        let c0 = b[b0 + k];
        let d0 = integers(c0);
        let c1 = b[b1 + k];
        let d1 = integers(c1);
        let c2 = b[b2 + k];
        let d2 = integers(c2);
        let c3 = b[b3 + k];
        let d3 = integers(c3);
        let c4 = b[b4 + k];
        let d4 = integers(c4);
        let c5 = b[b5 + k];
        let d5 = integers(c5);
        let c6 = b[b6 + k];
        let d6 = integers(c6);
        let c7 = b[b7 + k];
        let d7 = integers(c7);
        let left = mat4x4f(c0, c1, c2, c3);
        let right = mat4x4f(c4, c5, c6, c7);
        let r0 = a_at(a0, k);
        let t0 = integers(r0);
        s0 += dots(t0, d0, d1, d2, d3);
        s1 += dots(t0, d4, d5, d6, d7);
        f0 += r0 * left;
        f1 += r0 * right;
        let r1 = a_at(a1, k);
        let t1 = integers(r1);
        s2 += dots(t1, d0, d1, d2, d3);
        s3 += dots(t1, d4, d5, d6, d7);
        f2 += r1 * left;
        f3 += r1 * right;
        let r2 = a_at(a2, k);
        let t2 = integers(r2);
        s4 += dots(t2, d0, d1, d2, d3);
        s5 += dots(t2, d4, d5, d6, d7);
        f4 += r2 * left;
        f5 += r2 * right;
        let r3 = a_at(a3, k);
        let t3 = integers(r3);
        s6 += dots(t3, d0, d1, d2, d3);
        s7 += dots(t3, d4, d5, d6, d7);
        f6 += r3 * left;
        f7 += r3 * right;
        let r4 = a_at(a4, k);
        let t4 = integers(r4);
        s8 += dots(t4, d0, d1, d2, d3);
        s9 += dots(t4, d4, d5, d6, d7);
        f8 += r4 * left;
        f9 += r4 * right;
        let r5 = a_at(a5, k);
        let t5 = integers(r5);
        s10 += dots(t5, d0, d1, d2, d3);
        s11 += dots(t5, d4, d5, d6, d7);
        f10 += r5 * left;
        f11 += r5 * right;
        let r6 = a_at(a6, k);
        let t6 = integers(r6);
        s12 += dots(t6, d0, d1, d2, d3);
        s13 += dots(t6, d4, d5, d6, d7);
        f12 += r6 * left;
        f13 += r6 * right;
        let r7 = a_at(a7, k);
        let t7 = integers(r7);
        s14 += dots(t7, d0, d1, d2, d3);
        s15 += dots(t7, d4, d5, d6, d7);
        f14 += r7 * left;
        f15 += r7 * right;
      }
      let lows = array(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15);
      let nears = array(f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15);
      for (var i = 0u; i < 16u; i++) {
        let low = sums.lo[i] + (lows[i] & vec4i(0xffff));
        let high = (wraps(nears[i], lows[i]) << vec4u(16u)) + (lows[i] >> vec4u(16u));
        sums.hi[i] += high + (low >> vec4u(16u));
        sums.lo[i] = low & vec4i(0xffff);
      }
    }
  }
  store_tile(tile, &sums);
}

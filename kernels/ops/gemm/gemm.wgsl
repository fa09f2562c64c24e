// GEMM for mantissas of 7 and 10 bits: C = ROUND(A B^T), exact. Body; pf32.wgsl comes first.
//
// Equation   C[b][m][n] = clamp(residual + clamp(ROUND(sum_k A[b][m][k] * B[b][n][k], Ea[m] + Eb[n] - 2 NB))); NUMERICS.md, GEMM.
// Layout     A [batch][M][K4], B [batch][N][K4]: vec4 of integers held as f32, K padded with zeros. C and residual: strides, two batch dimensions.
// Exactness  A f32 sum of at most CHUNK * 4 products stays below 2^24, so it is exact in any order, fused or not; an i32 sum of SPAN * 4 products
//            stays below 2^31; spans are added into (hi, lo16) pairs, which hold 2^47.
// Work       An invocation computes 8 x 8 of C in registers; a workgroup WX x WY of them, columns interleaved so that writes are contiguous.
//            No workgroup memory. Rows past the end read the last one and are not stored.
// Requires   CHUNK * 4 * qmax^2 <= 2^24, SPAN * 4 * qmax^2 < 2^31, SPAN a multiple of CHUNK.

override NB: i32 = 10;
override CHUNK: u32 = 4;
override SPAN: u32 = 512;
override WX: u32 = 8;
override WY: u32 = 8;
override CAUSAL: bool = false;
// 0: none, 1: added from dst itself, 2: from `residual`.
override RESIDUAL: u32 = 0;
// The scales of B are folded into A: its exponents are not used.
override FOLDED: bool = false;

struct Params {
  offset: u32,
  s0: u32,
  n1: u32,
  s1: u32,
  row_stride: u32,
  col_stride: u32,
  M: u32,
  N: u32,
  K4: u32,
  batch: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> a: array<vec4f>;
@group(0) @binding(3) var<storage, read> a_exponents: array<i32>;
@group(0) @binding(4) var<storage, read> b: array<vec4f>;
@group(0) @binding(5) var<storage, read> b_exponents: array<i32>;
@group(0) @binding(6) var<storage, read> residual: array<u32>;
@group(0) @binding(7) var<storage, read_write> dst: array<u32>;

fn store(batch: u32, m: u32, n: u32, hi: i32, lo: u32) {
  let at = params.offset + (batch / params.n1) * params.s0 + (batch % params.n1) * params.s1 +
    m * params.row_stride + n * params.col_stride;
  var value = 0u;
  if (!CAUSAL || n <= m) {
    var e = a_exponents[batch * params.M + m] - NB;
    if (!FOLDED) {
      e += b_exponents[batch * params.N + n] - NB;
    }
    value = round_sum(hi, lo, e);
  }
  if (RESIDUAL == 1u) {
    value = limit(add(dst[at], value));
  } else if (RESIDUAL == 2u) {
    value = limit(add(residual[at], value));
  }
  dst[at] = value;
}

@compute @workgroup_size(WX, WY)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  z = zero[0];
  let tiles_n = (params.N + 8u * WX - 1u) / (8u * WX);
  let tiles_m = (params.M + 8u * WY - 1u) / (8u * WY);
  let tile = group.y * grid.x + group.x;
  let batch = tile / (tiles_n * tiles_m);
  if (batch >= params.batch) {
    return;
  }
  let m0 = ((tile / tiles_n) % tiles_m) * 8u * WY + local.y * 8u;
  let n0 = (tile % tiles_n) * 8u * WX + local.x;
  if (m0 >= params.M || n0 >= params.N) {
    return;
  }

  var hi: array<vec4i, 16>;
  var lo: array<vec4i, 16>;
  if (!CAUSAL || n0 <= m0 + 7u) {
    let am = batch * params.M;
    let bn = batch * params.N;
    let m_end = params.M - 1u;
    let n_end = params.N - 1u;
    let a0 = (am + m0) * params.K4;
    let a1 = (am + min(m0 + 1u, m_end)) * params.K4;
    let a2 = (am + min(m0 + 2u, m_end)) * params.K4;
    let a3 = (am + min(m0 + 3u, m_end)) * params.K4;
    let a4 = (am + min(m0 + 4u, m_end)) * params.K4;
    let a5 = (am + min(m0 + 5u, m_end)) * params.K4;
    let a6 = (am + min(m0 + 6u, m_end)) * params.K4;
    let a7 = (am + min(m0 + 7u, m_end)) * params.K4;
    let b0 = (bn + n0) * params.K4;
    let b1 = (bn + min(n0 + WX, n_end)) * params.K4;
    let b2 = (bn + min(n0 + 2u * WX, n_end)) * params.K4;
    let b3 = (bn + min(n0 + 3u * WX, n_end)) * params.K4;
    let b4 = (bn + min(n0 + 4u * WX, n_end)) * params.K4;
    let b5 = (bn + min(n0 + 5u * WX, n_end)) * params.K4;
    let b6 = (bn + min(n0 + 6u * WX, n_end)) * params.K4;
    let b7 = (bn + min(n0 + 7u * WX, n_end)) * params.K4;

    var k = 0u;
    while (k < params.K4) {
      let span_end = min(k + SPAN, params.K4);
      var i00 = vec4i(); var i01 = vec4i(); var i10 = vec4i(); var i11 = vec4i();
      var i20 = vec4i(); var i21 = vec4i(); var i30 = vec4i(); var i31 = vec4i();
      var i40 = vec4i(); var i41 = vec4i(); var i50 = vec4i(); var i51 = vec4i();
      var i60 = vec4i(); var i61 = vec4i(); var i70 = vec4i(); var i71 = vec4i();
      while (k < span_end) {
        let chunk_end = min(k + CHUNK, span_end);
        var f00 = vec4f(); var f01 = vec4f(); var f10 = vec4f(); var f11 = vec4f();
        var f20 = vec4f(); var f21 = vec4f(); var f30 = vec4f(); var f31 = vec4f();
        var f40 = vec4f(); var f41 = vec4f(); var f50 = vec4f(); var f51 = vec4f();
        var f60 = vec4f(); var f61 = vec4f(); var f70 = vec4f(); var f71 = vec4f();
        for (; k < chunk_end; k++) {
          let left = mat4x4f(b[b0 + k], b[b1 + k], b[b2 + k], b[b3 + k]);
          let right = mat4x4f(b[b4 + k], b[b5 + k], b[b6 + k], b[b7 + k]);
          var row = a[a0 + k];
          f00 += row * left;
          f01 += row * right;
          row = a[a1 + k];
          f10 += row * left;
          f11 += row * right;
          row = a[a2 + k];
          f20 += row * left;
          f21 += row * right;
          row = a[a3 + k];
          f30 += row * left;
          f31 += row * right;
          row = a[a4 + k];
          f40 += row * left;
          f41 += row * right;
          row = a[a5 + k];
          f50 += row * left;
          f51 += row * right;
          row = a[a6 + k];
          f60 += row * left;
          f61 += row * right;
          row = a[a7 + k];
          f70 += row * left;
          f71 += row * right;
        }
        i00 += vec4i(f00); i01 += vec4i(f01); i10 += vec4i(f10); i11 += vec4i(f11);
        i20 += vec4i(f20); i21 += vec4i(f21); i30 += vec4i(f30); i31 += vec4i(f31);
        i40 += vec4i(f40); i41 += vec4i(f41); i50 += vec4i(f50); i51 += vec4i(f51);
        i60 += vec4i(f60); i61 += vec4i(f61); i70 += vec4i(f70); i71 += vec4i(f71);
      }
      let sums = array(
        i00, i01, i10, i11, i20, i21, i30, i31, i40, i41, i50, i51, i60, i61, i70, i71,
      );
      for (var i = 0u; i < 16u; i++) {
        let low = lo[i] + (sums[i] & vec4i(0xffff));
        hi[i] += (sums[i] >> vec4u(16u)) + (low >> vec4u(16u));
        lo[i] = low & vec4i(0xffff);
      }
    }
  }
  for (var i = 0u; i < 64u; i++) {
    let m = m0 + i / 8u;
    let n = n0 + (i % 8u) * WX;
    if (m < params.M && n < params.N) {
      store(batch, m, n, hi[i / 4u][i % 4u], u32(lo[i / 4u][i % 4u]));
    }
  }
}

// RMSNorm backward, gradient of the input. Body; pf32.cuh and row.cuh come first.
//
// Equation   g = dy * gain; xhat = x * rstd; s = sum(g * xhat) * inverse; dx = clamp(residual + rstd * (g - xhat * s)), without the residual where it is null.
// Layout     dy, x, residual, dx [rows][cols]; gain [cols]; rstd [rows].
// Work       A warp a row, read once (PAIRS > 0), or a block a row. The residual may be dx: a thread reads what it then writes.
// Requires   PAIRS <= 32: two rows are kept.

// (g, g, xhat, xhat) of elements c and c + 1.
__device__ __forceinline__ float4 terms_of(float2 d, float2 v, float2 gain, float scale) {
  return make_float4(pf::mul(d.x, gain.x), pf::mul(d.y, gain.y), pf::mul(v.x, scale), pf::mul(v.y, scale));
}

extern "C" __global__ void __launch_bounds__(ROW_THREADS, row_blocks<2>)
    rms_norm_grad(const float* __restrict__ dy, const float* __restrict__ x, const float* __restrict__ gain,
                  const float* __restrict__ rstd, const float* residual, float* dx, u32 rows, u32 cols,
                  u32 inverse) {
  const u32 r = row_index();
  if (r >= rows) return;
  const size_t at = (size_t)r * cols;
  const float scale = rstd[r];
  Row g(dy + at, cols, cols);
  Row xhat(x + at, cols, cols);
  const auto made = [&](u32 k, u32 c) {
    return terms_of(g.at(k, c), xhat.at(k, c), read_pair(gain, c, cols), scale);
  };
  if constexpr (KEPT) each_pair(cols, [&](u32 k, u32 c) {
    const float4 v = made(k, c);
    g.keep(k, make_float2(v.x, v.y));
    xhat.keep(k, make_float2(v.z, v.w));
  });
  const auto terms = [&](u32 k, u32 c) {
    if constexpr (KEPT) return make_float4(g.kept[k].x, g.kept[k].y, xhat.kept[k].x, xhat.kept[k].y);
    else return made(k, c);
  };
  const float s = pf::mul(pair_sum(cols, [&](u32 k, u32 c) {
    const float4 v = terms(k, c);
    return make_float2(pf::mul(v.x, v.z), pf::mul(v.y, v.w));
  }), pf::value(inverse));
  each_pair(cols, [&](u32 k, u32 c) {
    const float4 v = terms(k, c);
    float2 value = make_float2(pf::mul(scale, pf::sub(v.x, pf::mul(v.z, s))),
                               pf::mul(scale, pf::sub(v.y, pf::mul(v.w, s))));
    if (residual) {
      const float2 past = read_pair(residual + at, c, cols);
      value = make_float2(pf::add(past.x, value.x), pf::add(past.y, value.y));
    }
    write_pair(dx + at, c, cols, make_float2(pf::limit(value.x), pf::limit(value.y)));
  });
}

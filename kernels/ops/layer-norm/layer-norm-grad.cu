// LayerNorm backward, gradient of the input. Body; pf32.cuh and row.cuh come first.
//
// Equation   g = dy * gain; xhat = (x - mean) * rstd; s1 = sum(g) * inverse; s2 = sum(g * xhat) * inverse;
//            dx = clamp(residual + rstd * ((g - s1) - xhat * s2)), without the residual where it is null.
// Layout     dy, x, residual, dx [rows][cols]; gain [cols]; mean, rstd [rows].
// Work       A warp a row, read once (PAIRS > 0), or a block a row. The residual may be dx: a thread reads what it then writes.
// Requires   PAIRS <= 32: two rows are kept.

// (g, g, xhat, xhat) of elements c and c + 1.
__device__ __forceinline__ float4 terms_of(float2 d, float2 v, float2 gain, float mu, float scale) {
  return make_float4(pf::mul(d.x, gain.x), pf::mul(d.y, gain.y), pf::mul(pf::sub(v.x, mu), scale),
                     pf::mul(pf::sub(v.y, mu), scale));
}

extern "C" __global__ void __launch_bounds__(ROW_THREADS, row_blocks<2>)
    layer_norm_grad(const float* __restrict__ dy, const float* __restrict__ x, const float* __restrict__ gain,
                    const float* __restrict__ mean, const float* __restrict__ rstd, const float* residual, float* dx,
                    u32 rows, u32 cols, u32 inverse_bits) {
  const u32 r = row_index();
  if (r >= rows) return;
  const size_t at = (size_t)r * cols;
  const float inverse = pf::value(inverse_bits);
  const float scale = rstd[r];
  const float mu = mean[r];
  Row g(dy + at, cols, cols);
  Row xhat(x + at, cols, cols);
  const auto made = [&](u32 k, u32 c) {
    return terms_of(g.at(k, c), xhat.at(k, c), read_pair(gain, c, cols), mu, scale);
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
  const float s1 = pf::mul(pair_sum(cols, [&](u32 k, u32 c) {
    const float4 v = terms(k, c);
    return make_float2(v.x, v.y);
  }), inverse);
  const float s2 = pf::mul(pair_sum(cols, [&](u32 k, u32 c) {
    const float4 v = terms(k, c);
    return make_float2(pf::mul(v.x, v.z), pf::mul(v.y, v.w));
  }), inverse);
  each_pair(cols, [&](u32 k, u32 c) {
    const float4 v = terms(k, c);
    float2 value = make_float2(pf::mul(scale, pf::sub(pf::sub(v.x, s1), pf::mul(v.z, s2))),
                               pf::mul(scale, pf::sub(pf::sub(v.y, s1), pf::mul(v.w, s2))));
    if (residual) {
      const float2 past = read_pair(residual + at, c, cols);
      value = make_float2(pf::add(past.x, value.x), pf::add(past.y, value.y));
    }
    write_pair(dx + at, c, cols, make_float2(pf::limit(value.x), pf::limit(value.y)));
  });
}

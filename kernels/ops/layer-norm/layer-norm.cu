// LayerNorm over rows. Body; pf32.cuh and row.cuh come first.
//
// Equation   mean = sum(x) * inverse; d = x - mean; rstd = rsqrt(sum(d * d) * inverse + eps); y = (d * rstd) * gain + bias.
// Layout     x, y [rows][cols]; gain, bias [cols]; mean, rstd [rows].
// Work       A warp a row, read once (PAIRS > 0), or a block a row.
// Requires   y, mean, rstd overlap nothing else; inverse and eps are bits.

extern "C" __global__ void __launch_bounds__(ROW_THREADS, row_blocks<1>)
    layer_norm(const float* __restrict__ x, const float* __restrict__ gain, const float* __restrict__ bias,
               float* __restrict__ y, float* __restrict__ mean, float* __restrict__ rstd, u32 rows, u32 cols,
               u32 inverse_bits, u32 eps) {
  const u32 r = row_index();
  if (r >= rows) return;
  const size_t at = (size_t)r * cols;
  const float inverse = pf::value(inverse_bits);
  const Row values(x + at, cols, cols);
  const float mu = pf::mul(pair_sum(cols, [&](u32 k, u32 c) { return values.at(k, c); }), inverse);
  const float squares = pair_sum(cols, [&](u32 k, u32 c) {
    const float2 v = values.at(k, c);
    const float2 d = make_float2(pf::sub(v.x, mu), pf::sub(v.y, mu));
    return make_float2(pf::mul(d.x, d.x), pf::mul(d.y, d.y));
  });
  const float scale = pf::rsqrt(pf::add(pf::mul(squares, inverse), pf::value(eps)));
  each_pair(cols, [&](u32 k, u32 c) {
    const float2 v = values.at(k, c);
    const float2 g = read_pair(gain, c, cols);
    const float2 b = read_pair(bias, c, cols);
    const float2 xhat = make_float2(pf::mul(pf::sub(v.x, mu), scale), pf::mul(pf::sub(v.y, mu), scale));
    write_pair(y + at, c, cols, make_float2(pf::add(pf::mul(xhat.x, g.x), b.x), pf::add(pf::mul(xhat.y, g.y), b.y)));
  });
  if (threadIdx.x == 0) {
    mean[r] = mu;
    rstd[r] = scale;
  }
}

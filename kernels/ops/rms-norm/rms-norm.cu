// RMSNorm over rows. Body; pf32.cuh and row.cuh come first.
//
// Equation   rstd = rsqrt(sum(x * x) * inverse + eps); y = (x * rstd) * gain.
// Layout     x, y [rows][cols]; gain [cols]; rstd [rows].
// Work       A warp a row, read once (PAIRS > 0), or a block a row.
// Requires   y and rstd overlap nothing else; inverse and eps are bits.

extern "C" __global__ void __launch_bounds__(ROW_THREADS, row_blocks<1>)
    rms_norm(const float* __restrict__ x, const float* __restrict__ gain, float* __restrict__ y,
             float* __restrict__ rstd, u32 rows, u32 cols, u32 inverse, u32 eps) {
  const u32 r = row_index();
  if (r >= rows) return;
  const size_t at = (size_t)r * cols;
  const Row values(x + at, cols, cols);
  const float squares = pair_sum(cols, [&](u32 k, u32 c) {
    const float2 v = values.at(k, c);
    return make_float2(pf::mul(v.x, v.x), pf::mul(v.y, v.y));
  });
  const float scale = pf::rsqrt(pf::add(pf::mul(squares, pf::value(inverse)), pf::value(eps)));
  each_pair(cols, [&](u32 k, u32 c) {
    const float2 v = values.at(k, c);
    const float2 g = read_pair(gain, c, cols);
    write_pair(y + at, c, cols, make_float2(pf::mul(pf::mul(v.x, scale), g.x), pf::mul(pf::mul(v.y, scale), g.y)));
  });
  if (threadIdx.x == 0) rstd[r] = scale;
}

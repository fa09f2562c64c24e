// Causal softmax of attention scores, in place. Body; pf32.cuh, row.cuh and causal.cuh come first.
//
// Equation   Row i attends to j <= i + offset + position, at most cols: s = scores * scale; e = exp(s - max s); P = e * recip(sum e); 0 beyond.
// Layout     scores [batch][rows][cols].
// Raw        A score that is below 2^-100 after scaling moves s - max by less than 2^-99: the difference is the same, or so small that its exp is 1.
//            The sum is at least 1, so its reciprocal is not flushed.
// Work       A warp a row, read once (PAIRS > 0), or a block a row. What lies beyond the diagonal is written, never used.

extern "C" __global__ void __launch_bounds__(ROW_THREADS, row_blocks<1>)
    softmax(float* scores, const u32* __restrict__ position, u32 all_rows, u32 rows, u32 cols, u32 offset,
            u32 scale_bits) {
  const u32 r = row_index();
  if (r >= all_rows) return;
  float* const row = scores + (size_t)r * cols;
  const u32 count = reach(r, rows, cols, offset, position);
  const float scale = pf::value(scale_bits);
  Row values(row, cols, count);
  const float largest = pair_max(count, [&](u32 k, u32 c) {
    const float2 v = values.at(k, c);
    const float2 s = make_float2(pf::rmul(v.x, scale), pf::rmul(v.y, scale));
    values.keep(k, s);
    return s;
  });
  const float total = pair_sum(count, [&](u32 k, u32 c) {
    float2 s = values.at(k, c);
    if constexpr (!KEPT) s = make_float2(pf::rmul(s.x, scale), pf::rmul(s.y, scale));
    const float2 e = make_float2(pf::exp(pf::rsub(s.x, largest)), pf::exp(pf::rsub(s.y, largest)));
    values.keep(k, e);
    if constexpr (!KEPT) write_pair(row, c, cols, e);
    return e;
  });
  const float inverse = pf::recip_positive(total);
  each_pair(cols, [&](u32 k, u32 c) {
    float2 p = make_float2(0.0f, 0.0f);
    if (c < count) {
      const float2 e = values.at(k, c);
      p = below(make_float2(pf::mul(e.x, inverse), pf::mul(e.y, inverse)), c, count);
    }
    write_pair(row, c, cols, p);
  });
}

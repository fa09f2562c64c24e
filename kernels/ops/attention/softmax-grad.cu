// Causal softmax backward, in place in the gradient. Body; pf32.cuh, row.cuh and causal.cuh come first.
//
// Equation   Row i, over j <= i + offset + position, at most cols: D = sum of P * dP; dS = (P * (dP - D)) * scale; 0 beyond.
// Layout     probabilities, gradient [batch][rows][cols].
// Work       A warp a row, read once (PAIRS > 0), or a block a row. What lies beyond the diagonal is written, never used.
// Requires   PAIRS <= 32: two rows are kept.

extern "C" __global__ void __launch_bounds__(ROW_THREADS, row_blocks<2>)
    softmax_grad(const float* __restrict__ probabilities, float* gradient, const u32* __restrict__ position,
                 u32 all_rows, u32 rows, u32 cols, u32 offset, u32 scale_bits) {
  const u32 r = row_index();
  if (r >= all_rows) return;
  float* const row = gradient + (size_t)r * cols;
  const u32 count = reach(r, rows, cols, offset, position);
  const float scale = pf::value(scale_bits);
  const Row p(probabilities + (size_t)r * cols, cols, count);
  const Row d(row, cols, count);
  const float total = pair_sum(count, [&](u32 k, u32 c) {
    const float2 v = p.at(k, c);
    const float2 w = d.at(k, c);
    return make_float2(pf::mul(v.x, w.x), pf::mul(v.y, w.y));
  });
  each_pair(cols, [&](u32 k, u32 c) {
    float2 value = make_float2(0.0f, 0.0f);
    if (c < count) {
      const float2 v = p.at(k, c);
      const float2 w = d.at(k, c);
      value = below(make_float2(pf::mul(pf::mul(v.x, pf::sub(w.x, total)), scale),
                                pf::mul(pf::mul(v.y, pf::sub(w.y, total)), scale)), c, count);
    }
    write_pair(row, c, cols, value);
  });
}

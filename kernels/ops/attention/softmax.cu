// Causal softmax of attention scores, forward and backward, in place. Body; pf32.cuh and row.cuh come first.
//
// Equation   Row i attends to j <= i + offset + position, at most cols: s = scores * scale; e = exp(s - max s); P = e * recip(sum e); 0 beyond.
//            Backward, over the same j: D = sum of P * dP; dS = (P * (dP - D)) * scale; 0 beyond.
// Layout     scores, probabilities, gradient [batch][rows][cols]; position null where the op has none.
// Raw        A score that is below 2^-100 after scaling moves s - max by less than 2^-99: the difference is the same, or so small that its exp is 1.
//            The sum is at least 1, so its reciprocal is not flushed.
// Work       A warp a row, read once (PAIRS > 0), or a block a row. What lies beyond the diagonal is written, never used.
// Requires   softmax_grad: PAIRS <= 32, since two rows are kept.

constexpr u32 BLOCKS = row_blocks(1);
constexpr u32 GRAD_BLOCKS = row_blocks(2);

// How many elements the row attends to.
__device__ __forceinline__ u32 reach(u32 row, u32 rows, u32 cols, u32 offset, const u32* position) {
  const u64 count = (u64)(row % rows) + offset + (position ? position[0] : 0u) + 1;
  return count < cols ? (u32)count : cols;
}

// The first of two elements at c lies below `count`; the second may not.
__device__ __forceinline__ float2 below(float2 v, u32 c, u32 count) {
  return make_float2(c < count ? v.x : 0.0f, c + 1 < count ? v.y : 0.0f);
}

extern "C" __global__ void __launch_bounds__(ROW_THREADS, BLOCKS)
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

extern "C" __global__ void __launch_bounds__(ROW_THREADS, GRAD_BLOCKS)
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

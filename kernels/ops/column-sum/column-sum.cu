// Sums down the columns. Body; pf32.cuh and columns.cuh come first.
//
// Equation   dst[c] = clamp(sum over rows of src[r][c]), or clamp(dst[c] + that sum).
// Layout     src [rows][cols]; dst [cols]. column_partials: dst [blocks of 4096 rows][cols], neither clamped nor added to.
// Work       See columns.cuh. column_sum_of takes at most 4096 rows.

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    column_partials(const float* __restrict__ src, float* __restrict__ dst, u32 rows, u32 cols) {
  const u32 c = column_index();
  const float sum = column_sum<float>(rows, c < cols, [&](u32 r) { return src[(size_t)r * cols + c]; });
  if (c < cols && threadIdx.y == 0) dst[(size_t)blockIdx.y * cols + c] = sum;
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    column_sum_of(const float* __restrict__ src, float* __restrict__ dst, u32 rows, u32 cols, u32 accumulate) {
  const u32 c = column_index();
  const float sum = column_sum<float>(rows, c < cols, [&](u32 r) { return src[(size_t)r * cols + c]; });
  if (c < cols && threadIdx.y == 0) dst[c] = pf::limit(accumulate != 0 ? pf::add(dst[c], sum) : sum);
}

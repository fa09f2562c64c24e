// RMSNorm backward, gradient of the gain. Body; pf32.cuh and columns.cuh come first.
//
// Equation   dgain[c] = sum over rows of dy * (x * rstd).
// Layout     dy, x [rows][cols]; rstd [rows]; dgain [blocks of 4096 rows][cols]; so are the partial sums that the second kernel adds.
// Work       See columns.cuh.

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    rms_norm_param_grad(const float* __restrict__ dy, const float* __restrict__ x, const float* __restrict__ rstd,
                        float* __restrict__ dgain, u32 rows, u32 cols) {
  const u32 c = column_index();
  const float sum = column_sum<float>(rows, c < cols, [&](u32 r) {
    const size_t at = (size_t)r * cols + c;
    return pf::mul(dy[at], pf::mul(x[at], rstd[r]));
  });
  if (c < cols && threadIdx.y == 0) dgain[(size_t)blockIdx.y * cols + c] = sum;
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    rms_norm_param_grad_end(const float* __restrict__ gains, float* __restrict__ dgain, u32 rows, u32 cols) {
  const u32 c = column_index();
  const float sum = column_sum<float>(rows, c < cols, [&](u32 r) { return gains[(size_t)r * cols + c]; });
  if (c < cols && threadIdx.y == 0) dgain[c] = sum;
}

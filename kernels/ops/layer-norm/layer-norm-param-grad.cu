// LayerNorm backward, gradients of gain and bias. Body; pf32.cuh and columns.cuh come first.
//
// Equation   dgain[c] = sum over rows of dy * ((x - mean) * rstd); dbias[c] = sum over rows of dy.
// Layout     dy, x [rows][cols]; mean, rstd [rows]; dgain, dbias [blocks of 4096 rows][cols]; so are the partial sums that the second kernel adds.
// Work       See columns.cuh: both sums in one pass over dy and x.

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    layer_norm_param_grad(const float* __restrict__ dy, const float* __restrict__ x, const float* __restrict__ mean,
                          const float* __restrict__ rstd, float* __restrict__ dgain, float* __restrict__ dbias,
                          u32 rows, u32 cols) {
  const u32 c = column_index();
  const float2 sum = column_sum<float2>(rows, c < cols, [&](u32 r) {
    const size_t at = (size_t)r * cols + c;
    const float d = dy[at];
    return make_float2(pf::mul(d, pf::mul(pf::sub(x[at], mean[r]), rstd[r])), d);
  });
  if (c < cols && threadIdx.y == 0) {
    dgain[(size_t)blockIdx.y * cols + c] = sum.x;
    dbias[(size_t)blockIdx.y * cols + c] = sum.y;
  }
}

extern "C" __global__ void __launch_bounds__(COLUMN_THREADS)
    layer_norm_param_grad_end(const float* __restrict__ gains, const float* __restrict__ biases,
                              float* __restrict__ dgain, float* __restrict__ dbias, u32 rows, u32 cols) {
  const u32 c = column_index();
  const float2 sum = column_sum<float2>(rows, c < cols, [&](u32 r) {
    const size_t at = (size_t)r * cols + c;
    return make_float2(gains[at], biases[at]);
  });
  if (c < cols && threadIdx.y == 0) {
    dgain[c] = sum.x;
    dbias[c] = sum.y;
  }
}

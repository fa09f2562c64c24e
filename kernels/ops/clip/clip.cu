// The norm of a gradient and the factor that clips it. Behind pf32.cuh and warp.cuh.
//
// Equation   sum_squares: dst[at + b] = sum of src[i] * src[i] over block b of 4096 values. sum_blocks: dst[at] = sum of src. clip_scale: norm = sqrt of that
//            sum; dst[0] = norm > largest ? largest * recip(norm) : 1.
// Work       sum_squares: a warp a block of values. The others: one block of threads, each warp takes blocks of 4096.
// Requires   sum_blocks, clip_scale: blockDim = (1024), count at most 2^24.

__device__ __forceinline__ float sum_of(const float* src, u32 count) {
  __shared__ float partials[4096];
  return warp::shared_row_sum([&](u32 i) { return src[i]; }, count, partials);
}

extern "C" __global__ void __launch_bounds__(256) sum_squares(const float* src, float* dst, u32 count, u32 at) {
  const u32 b = blockIdx.x * blockDim.y + threadIdx.y;
  const u32 blocks = count / 4096 + (count % 4096 != 0);
  if (b >= blocks) return;
  const float* own = src + (size_t)b * 4096;
  const float sum = warp::block_sum([&](u32 i) {
    const float x = own[i];
    return pf::mul(x, x);
  }, 0, min(4096u, count - b * 4096));
  if (threadIdx.x == 0) dst[at + b] = sum;
}

extern "C" __global__ void __launch_bounds__(1024) sum_blocks(const float* src, float* dst, u32 count, u32 at) {
  const float sum = sum_of(src, count);
  if (threadIdx.x == 0) dst[at] = sum;
}

extern "C" __global__ void __launch_bounds__(1024) clip_scale(const float* src, float* dst, u32 count, u32 largest) {
  const float norm = pf::sqrt(sum_of(src, count));
  const float most = pf::value(largest);
  if (threadIdx.x == 0) dst[0] = norm > most ? pf::mul(most, pf::recip(norm)) : 1.0f;
}

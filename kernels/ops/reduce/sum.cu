// Sums of blocks of 4096 values. Body; pf32.cuh and warp.cuh come first.
//
// Equation   dst[at + b] = factor * (sum of block b of the first `count` values of src).
// Work       A warp a block. A longer sum is a sum of these sums: see cuda.ts.

extern "C" __global__ void __launch_bounds__(128)
    sum_blocks(const float* src, float* dst, u32 count, u32 at, u32 factor) {
  const u32 b = blockIdx.x * blockDim.y + threadIdx.y;
  const size_t start = (size_t)b * 4096;
  if (start >= count) return;
  const float* const from = src + start;
  const float sum = warp::block_sum([&](u32 i) { return from[i]; }, 0, (u32)min((u64)4096, (u64)(count - start)));
  if (threadIdx.x == 0) dst[at + b] = pf::mul(sum, pf::value(factor));
}

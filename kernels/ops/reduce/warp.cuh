// The reductions of NUMERICS.md by one warp. Behind pf32.cuh.
//
// Order      Lane j of 64 adds terms j, j + 64, ... of a block of 4096 in order; a tree of strides 32 .. 1 ends the block; a second such round adds the
//            blocks' sums, block b in lane b mod 64.
// Work       Thread t of the warp is lanes t and t + 32, so stride 32 lies inside a thread and the others are shuffles: no barrier, no shared memory. The
//            exchange goes both ways, and as addition commutes every thread ends with the sum.
// Requires   All 32 threads call these functions together.

namespace warp {

static const u32 all = 0xffffffffu;

__device__ __forceinline__ u32 lane() {
  return threadIdx.x & 31u;
}

// The tree over lanes t (`low`) and t + 32 (`high`).
__device__ __forceinline__ float tree(float low, float high) {
  float sum = pf::add(low, high);
#pragma unroll
  for (u32 s = 16; s > 0; s >>= 1) sum = pf::add(sum, __shfl_xor_sync(all, sum, s));
  return sum;
}

__device__ __forceinline__ float largest(float own) {
#pragma unroll
  for (u32 s = 16; s > 0; s >>= 1) own = pf::larger(own, __shfl_xor_sync(all, own, s));
  return own;
}

// Sum of term(start .. end), one block: at most 4096 of them. `term` is called once for each, in rising order within a thread.
template <class Term>
__device__ __forceinline__ float block_sum(Term term, u32 start, u32 end) {
  float low = 0.0f;
  float high = 0.0f;
  u32 i = start + lane();
#pragma unroll 4
  for (; i + 32 < end; i += 64) {
    const float a = term(i);
    const float b = term(i + 32);
    low = pf::add(low, a);
    high = pf::add(high, b);
  }
  if (i < end) low = pf::add(low, term(i));
  return tree(low, high);
}

// Sum of term(0 .. count), count at most 2^24.
template <class Term>
__device__ __forceinline__ float row_sum(Term term, u32 count) {
  if (count <= 4096) return block_sum(term, 0, count);
  float low = 0.0f;
  float high = 0.0f;
  for (u32 b = 0; b * 4096 < count; b++) {
    const float partial = block_sum(term, b * 4096, min(count, (b + 1) * 4096));
    if (lane() == (b & 63u)) low = pf::add(low, partial);
    if (lane() + 32 == (b & 63u)) high = pf::add(high, partial);
  }
  return tree(low, high);
}

// The same by all warps of a block that is a line of them: each takes blocks of 4096. `partials` has a word for each block of 4096. Every thread gets the sum.
template <class Term>
__device__ __forceinline__ float shared_row_sum(Term term, u32 count, float* partials) {
  const u32 blocks = (count + 4095) / 4096;
  for (u32 b = threadIdx.x >> 5; b < blocks; b += blockDim.x >> 5) {
    const float partial = block_sum(term, b * 4096, min(count, (b + 1) * 4096));
    if (lane() == 0) partials[b] = partial;
  }
  __syncthreads();
  return blocks == 1 ? partials[0] : block_sum([&](u32 b) { return partials[b]; }, 0, blocks);
}

}  // namespace warp

// Softmax cross-entropy over rows of logits, in place. Behind pf32.cuh and warp.cuh.
//
// Equation   e = exp(l - max l); loss = (ln(sum e) + max l) - l[target]; with a gradient the logits become (e * recip(sum e) - onehot) * factor.
// Layout     logits [rows][V]; targets, losses [rows].
// Work       blockDim.y rows a block, blockDim.x / 32 warps a row: warp w takes the 4096-blocks w, w + warps, ... of the sum, then every warp adds the
//            partials by itself, in the pinned order. The first `kept` logits of each 4096-block stay in shared memory (as e from the second walk on); the
//            others are read again, from L2, and their e computed again. A thread walks the same elements each time, so only maximum and partials cross threads.
// Shared     floats: for each row ceil(V / 4096) * kept logits, then for each row ceil(V / 4096) partials.
// Requires   kept a multiple of 64, at most 4096; V at most 2^24; no more warps a row than it has 4096-blocks.

extern __shared__ float memory[];

// One 4096-block of a row: elements start .. split have a place in shared memory, kept[i - start].
struct Span {
  float* kept;
  u32 start;
  u32 split;
  u32 end;
};

__device__ __forceinline__ Span span_of(float* cache, u32 b, u32 count, u32 kept) {
  const u32 start = b * 4096;
  const u32 end = min(count, start + 4096);
  return {cache + (size_t)b * kept, start, min(end, start + kept), end};
}

__device__ __forceinline__ float load_largest(const float* l, const Span& span) {
  float largest = pf::value(0xff7fffffu);
  u32 i = span.start + warp::lane();
#pragma unroll 8
  for (; i < span.split; i += 32) {
    const float x = l[i];
    span.kept[i - span.start] = x;
    largest = pf::larger(largest, x);
  }
#pragma unroll 8
  for (; i < span.end; i += 32) largest = pf::larger(largest, l[i]);
  return largest;
}

// The same for all threads of a row.
__device__ __forceinline__ float row_largest(float own, float* partials) {
  const u32 warps = blockDim.x >> 5;
  own = warp::largest(own);
  if (warps == 1) return own;
  if (warp::lane() == 0) partials[threadIdx.x >> 5] = own;
  __syncthreads();
  for (u32 w = 0; w < warps; w++) own = pf::larger(own, partials[w]);
  __syncthreads();
  return own;
}

__device__ __forceinline__ float sum_exp(const float* l, const Span& span, float largest) {
  return warp::block_sum([&](u32 i) {
    const bool kept = i < span.split;
    const float e = pf::exp(pf::sub(kept ? span.kept[i - span.start] : l[i], largest));
    if (kept) span.kept[i - span.start] = e;
    return e;
  }, span.start, span.end);
}

__device__ __forceinline__ void write_gradient(float* l, const Span& span, float largest, float inverse, u32 goal, float factor) {
  const auto gradient = [&](u32 i, float e) {
    const float p = pf::mul(e, inverse);
    return pf::mul(i == goal ? pf::sub(p, 1.0f) : p, factor);
  };
  u32 i = span.start + warp::lane();
#pragma unroll 4
  for (; i < span.split; i += 32) l[i] = gradient(i, span.kept[i - span.start]);
#pragma unroll 4
  for (; i < span.end; i += 32) l[i] = gradient(i, pf::exp(pf::sub(l[i], largest)));
}

extern "C" __global__ void __launch_bounds__(512) cross_entropy(
    float* logits, const u32* targets, float* losses, u32 rows, u32 V, u32 gradient, u32 factor, u32 kept) {
  const u32 blocks = (V + 4095) / 4096;
  const u32 warps = blockDim.x >> 5;
  const u32 row = blockIdx.x * blockDim.y + threadIdx.y;
  const bool live = row < rows;
  const u32 own_blocks = live ? blocks : 0;
  float* l = logits + (size_t)(live ? row : 0) * V;
  float* cache = memory + (size_t)threadIdx.y * blocks * kept;
  float* partials = memory + (size_t)blockDim.y * blocks * kept + threadIdx.y * blocks;
  // Nothing of a row that is not there: its place would be another block's.
  const u32 goal = live ? min(targets[row], V - 1) : 0;
  const float wanted = live ? l[goal] : 0.0f;

  float largest = pf::value(0xff7fffffu);
  for (u32 b = threadIdx.x >> 5; b < own_blocks; b += warps) {
    largest = pf::larger(largest, load_largest(l, span_of(cache, b, V, kept)));
  }
  largest = row_largest(largest, partials);
  for (u32 b = threadIdx.x >> 5; b < own_blocks; b += warps) {
    const float sum = sum_exp(l, span_of(cache, b, V, kept), largest);
    if (warp::lane() == 0) partials[b] = sum;
  }
  __syncthreads();
  const float total = blocks == 1 ? partials[0] : warp::block_sum([&](u32 b) { return partials[b]; }, 0, own_blocks);
  if (live && threadIdx.x == 0) losses[row] = pf::sub(pf::add(pf::ln(total), largest), wanted);
  if (gradient == 0) return;
  const float inverse = pf::recip(total);
  for (u32 b = threadIdx.x >> 5; b < own_blocks; b += warps) {
    write_gradient(l, span_of(cache, b, V, kept), largest, inverse, goal, pf::value(factor));
  }
}

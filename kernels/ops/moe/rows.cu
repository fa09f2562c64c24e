// Rows of tokens to the experts and back. Behind pf32.cuh and warp.cuh.
//
// Equation   gather_rows: dst[r] = src[order[r] div k]. combine: v = (g_0 * row_0 + g_1 * row_1) + ... over the rows at places[t][j], or their plain sum;
//            y = clamp(v) or clamp(residual + v). combine_grad: drows[places[s]] = clamp(gates[s] * dy[t]); dgates[s] = sum of dy[t] * rows[places[s]];
//            slot s = t * k + j.
// Layout     src, dy, residual, y [M][cols]; rows, dst, drows [slots][cols]; order, places, gates, dgates [slots].
// Work       gather_rows and combine: blockDim.x threads walk a row, blockDim.y rows a block, four columns at a time where cols and so every row allow
//            (the ..4 entries; cols then counts fours). combine_grad: a warp a slot, in one walk.
// Requires   blockDim.x = 32 for combine_grad. The residual may be y itself.

__device__ __forceinline__ float add_all(float a, float b) {
  return pf::add(a, b);
}

__device__ __forceinline__ float4 add_all(float4 a, float4 b) {
  return make_float4(pf::add(a.x, b.x), pf::add(a.y, b.y), pf::add(a.z, b.z), pf::add(a.w, b.w));
}

__device__ __forceinline__ float times(float g, float x) {
  return pf::mul(g, x);
}

__device__ __forceinline__ float4 times(float g, float4 x) {
  return make_float4(pf::mul(g, x.x), pf::mul(g, x.y), pf::mul(g, x.z), pf::mul(g, x.w));
}

__device__ __forceinline__ float limit_all(float x) {
  return pf::limit(x);
}

__device__ __forceinline__ float4 limit_all(float4 x) {
  return make_float4(pf::limit(x.x), pf::limit(x.y), pf::limit(x.z), pf::limit(x.w));
}

template <class Vec>
__device__ __forceinline__ void gather(const Vec* src, const u32* order, Vec* dst, u32 slots, u32 k, u32 cols) {
  const u32 r = blockIdx.x * blockDim.y + threadIdx.y;
  if (r >= slots) return;
  const u32 t = min(order[r] / k, slots / k - 1);
  const Vec* from = src + (size_t)t * cols;
  Vec* to = dst + (size_t)r * cols;
#pragma unroll 4
  for (u32 c = threadIdx.x; c < cols; c += blockDim.x) to[c] = from[c];
}

template <class Vec>
__device__ __forceinline__ void combine_rows(const Vec* rows, const u32* places, const float* gates,
                                             const Vec* residual, Vec* y, u32 M, u32 k, u32 cols) {
  const u32 t = blockIdx.x * blockDim.y + threadIdx.y;
  if (t >= M) return;
  const u32 slot = t * k;
  const u32 last = M * k - 1;
  for (u32 c = threadIdx.x; c < cols; c += blockDim.x) {
    Vec v;
    for (u32 j = 0; j < k; j++) {
      const Vec row = rows[(size_t)min(places[slot + j], last) * cols + c];
      const Vec own = gates ? times(gates[slot + j], row) : row;
      v = j == 0 ? own : add_all(v, own);
    }
    const size_t i = (size_t)t * cols + c;
    y[i] = limit_all(residual ? add_all(residual[i], v) : v);
  }
}

extern "C" __global__ void __launch_bounds__(256) gather_rows(
    const float* src, const u32* order, float* dst, u32 slots, u32 k, u32 cols) {
  gather(src, order, dst, slots, k, cols);
}

extern "C" __global__ void __launch_bounds__(256) gather_rows4(
    const float4* src, const u32* order, float4* dst, u32 slots, u32 k, u32 cols) {
  gather(src, order, dst, slots, k, cols);
}

extern "C" __global__ void __launch_bounds__(256) combine(
    const float* rows, const u32* places, const float* gates, const float* residual, float* y, u32 M, u32 k, u32 cols) {
  combine_rows(rows, places, gates, residual, y, M, k, cols);
}

extern "C" __global__ void __launch_bounds__(256) combine4(
    const float4* rows, const u32* places, const float* gates, const float4* residual, float4* y, u32 M, u32 k, u32 cols) {
  combine_rows(rows, places, gates, residual, y, M, k, cols);
}

extern "C" __global__ void __launch_bounds__(256) combine_grad(
    const float* dy, const float* rows, const u32* places, const float* gates, float* drows, float* dgates, u32 slots,
    u32 k, u32 cols) {
  const u32 s = blockIdx.x * blockDim.y + threadIdx.y;
  if (s >= slots) return;
  const size_t place = min(places[s], slots - 1);
  const float* d = dy + (size_t)(s / k) * cols;
  const float* row = rows + place * cols;
  float* drow = drows + place * cols;
  const float gate = gates[s];
  const float sum = warp::row_sum([&](u32 i) {
    const float x = d[i];
    drow[i] = pf::limit(pf::mul(gate, x));
    return pf::mul(x, row[i]);
  }, cols);
  if (threadIdx.x == 0) dgates[s] = sum;
}

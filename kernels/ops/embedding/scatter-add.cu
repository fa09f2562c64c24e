// Embedding backward: integers of equal index are summed, then rounded. Body; pf32.cuh comes first.
//
// Equation   sums[indices[m]][c] += q[c][m]: i32, so the order of the atomics does not matter; then dst[v][c] = clamp(dst[v][c] + ROUND(sums[v][c], E[c] - nb)),
//            or without the first term unless accumulate, and the sum is 0 again.
// Layout     low, high: digits [C][stride] (device/cuda/launch.ts); sums, dst [V][C]. An index past the end adds to nothing.
// Work       scatter_add: a warp takes 32 channels and 32 positions, a channel a thread: it reads 32 neighbouring digits, and the warp's atomics lie side by side.
//            scatter_round: one thread an element.

extern "C" __global__ void __launch_bounds__(256) scatter_add(const i8* low, const i8* high, const u32* indices, i32* sums, u32 channels, u32 positions, u32 stride,
                                                              u32 V, u32 nb, u32 columns) {
  const u32 warp = blockIdx.x * 8u + threadIdx.x / 32u;
  const u32 c = warp % columns * 32u + threadIdx.x % 32u;
  const u32 first = warp / columns * 32u;
  if (c >= channels || first >= positions) return;
  const size_t line = (size_t)c * stride;
  const u32 end = min(positions, first + 32u);
  for (u32 m = first; m < end; m++) {
    const u32 index = indices[m];
    if (index >= V) continue;
    i32 q = low[line + m];
    if (nb == 10u) q += 32 * high[line + m];
    if (nb == 15u) q += 256 * high[line + m];
    atomicAdd(sums + (size_t)index * channels + c, q);
  }
}

extern "C" __global__ void __launch_bounds__(256)
    scatter_round(i32* sums, const i32* exponents, float* dst, u32 channels, u32 size, u32 nb, u32 accumulate) {
  const u32 i = blockIdx.x * 256u + threadIdx.x;
  if (i >= size) return;
  const float value = pf::round_sum(sums[i], exponents[i % channels] - (i32)nb);
  sums[i] = 0;
  dst[i] = accumulate ? pf::limit(pf::add(dst[i], value)) : value;
}

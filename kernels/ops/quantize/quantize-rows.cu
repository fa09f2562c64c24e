// QUANT of rows whose elements lie side by side, into rows. Body; pf32.cuh, view.cuh and quantize.cuh come first.
//
// Equation   q[r][c] = round(src[r][c] * 2^(nb - E_r)); NUMERICS.md, QUANT.
// Layout     src: a view with col_stride 1. low, high: [batch][dst_rows][stride] bytes. fold [batch][folded] scales columns. Padding after the last word of a row stays.
// Work       A block takes blockDim.y rows, blockDim.x threads each; a thread takes four neighbours at once and keeps the first four such groups in registers
//            between the two passes, so that a row of up to 16 * blockDim.x elements is read once. QUADS: rows begin at multiples of 4 words.
// Requires   blockDim.x a multiple of 32, at most 1024 threads.

constexpr u32 HELD = 4;

struct Source {
  const u32* at;
  const i32* fold;
  u32 cols;
  u32 nb;
  bool quads;

  __device__ __forceinline__ u32 one(u32 c) const {
    if (c >= cols) return 0u;
    return fold ? folded(at[c], fold[c], nb) : at[c];
  }

  __device__ __forceinline__ uint4 four(u32 c) const {
    if (quads && fold == nullptr && c + 4u <= cols) return *(const uint4*)(at + c);
    return make_uint4(one(c), one(c + 1u), one(c + 2u), one(c + 3u));
  }
};

__device__ __forceinline__ u32 size_of(u32 u) {
  return u & 0x7fffffffu;
}

__device__ __forceinline__ u32 largest(uint4 v) {
  return max(max(size_of(v.x), size_of(v.y)), max(size_of(v.z), size_of(v.w)));
}

__device__ __forceinline__ void put(const Quant& quant, uint4 v, u32 c, u32 index, i8* low, i8* high) {
  const i32 x = quant.round(v.x, index);
  const i32 y = quant.round(v.y, index + 1u);
  const i32 z = quant.round(v.z, index + 2u);
  const i32 w = quant.round(v.w, index + 3u);
  *(u32*)(low + c) = bytes4(quant.low(x), quant.low(y), quant.low(z), quant.low(w));
  if (quant.nb != 7u) *(u32*)(high + c) = bytes4(quant.high(x), quant.high(y), quant.high(z), quant.high(w));
}

// The largest of a row, to all of its threads.
__device__ __forceinline__ u32 row_largest(u32 own) {
  __shared__ u32 partial[32];
  for (u32 stride = 16; stride > 0; stride >>= 1) own = max(own, __shfl_xor_sync(0xffffffffu, own, stride));
  if (blockDim.x == 32u) return own;
  const u32 warps = blockDim.x / 32u;
  if (threadIdx.x % 32u == 0u) partial[threadIdx.y * warps + threadIdx.x / 32u] = own;
  __syncthreads();
  for (u32 i = 0; i < warps; i++) own = max(own, partial[threadIdx.y * warps + i]);
  return own;
}

extern "C" __global__ void __launch_bounds__(1024)
    quantize_rows(const u32* src, const i32* fold, const u32* scalars, const u32* position, i8* low, i8* high,
                                         i32* exponents, u32* width, u32 offset, u32 s0, u32 n1, u32 s1, u32 row_stride, u32 col_stride, u32 rows,
                                         u32 cols, u32 total, u32 nb, u32 site, u32 fold_rows, u32 dst_rows, u32 dst_row, u32 stride, u32 quads) {
  const View view{offset, s0, n1, s1, row_stride, col_stride};
  const u32 index = blockIdx.x * blockDim.y + threadIdx.y;
  const u32 row = min(index, total - 1u);
  const u32 batch = row / rows;
  const u32 r = row % rows;
  const size_t base = view.at(batch, r, 0u);
  if (index == 0u && threadIdx.x == 0u) width[0] = nb;

  const Source source{src + base, fold ? fold + (size_t)batch * fold_rows : nullptr, cols, nb, quads != 0u};
  const u32 step = 4u * blockDim.x;
  const u32 first = 4u * threadIdx.x;
  uint4 held[HELD];
  u32 own = 0u;
#pragma unroll
  for (u32 i = 0; i < HELD; i++) {
    held[i] = source.four(first + i * step);
    own = max(own, largest(held[i]));
  }
  for (u32 c = first + HELD * step; c < cols; c += step) own = max(own, largest(source.four(c)));
  const u32 amax = row_largest(own);

  const u32 to = (position ? position[0] : dst_row) + r;
  if (index >= total || to < r || to >= dst_rows) return;
  Quant quant = quant_of(nb, scalars, site);
  quant.row(amax);
  const size_t out_row = (size_t)batch * dst_rows + to;
  if (threadIdx.x == 0u) exponents[out_row] = quant.exponent();
  i8* const to_low = low + out_row * stride;
  i8* const to_high = high ? high + out_row * stride : nullptr;
#pragma unroll
  for (u32 i = 0; i < HELD; i++) {
    const u32 c = first + i * step;
    if (c < cols) put(quant, held[i], c, (u32)base + c, to_low, to_high);
  }
  for (u32 c = first + HELD * step; c < cols; c += step) put(quant, source.four(c), c, (u32)base + c, to_low, to_high);
}

// Rotary positions, in place. Body; pf32.cuh comes first.
//
// Equation   y0 = clamp(x0 * c - x1 * s); y1 = clamp(x1 * c + x0 * s), with s of the other sign for the inverse; c, s of row positions[r] of the tables.
// Layout     element i of head h of row r at offset + r * row_stride + h * head_stride + i; cos, sin [table][half]. `width` is 4 where heads, their halves
//            and table rows begin at 16 bytes, else 1.
// Work       A thread turns `width` neighbouring pairs (i, i + half) at a time. A position past the tables leaves its row as it is.

// (y0, y1)
__device__ __forceinline__ float2 turn(float x0, float x1, float c, float s, bool inverse) {
  const float a = pf::mul(x0, c), b = pf::mul(x1, s), d = pf::mul(x1, c), e = pf::mul(x0, s);
  const float y0 = inverse ? pf::add(a, b) : pf::sub(a, b);
  const float y1 = inverse ? pf::sub(d, e) : pf::add(d, e);
  return make_float2(pf::limit(y0), pf::limit(y1));
}

extern "C" __global__ void __launch_bounds__(256)
    rotary(const float* __restrict__ cos, const float* __restrict__ sin, const u32* __restrict__ positions, float* x,
           u32 offset, u32 row_stride, u32 heads, u32 head_stride, u32 rows, u32 half, u32 table, u32 inverse,
           u32 width) {
  const u32 steps = half / width;
  const u32 of_row = heads * steps;
  const size_t total = (size_t)rows * of_row;
  const size_t stride = (size_t)gridDim.x * blockDim.x;
  for (size_t n = (size_t)blockIdx.x * blockDim.x + threadIdx.x; n < total; n += stride) {
    const u32 r = total <= 0xffffffffu ? (u32)n / of_row : (u32)(n / of_row);
    const u32 in_row = (u32)(n - (size_t)r * of_row);
    const u32 h = in_row / steps;
    const u32 i = (in_row - h * steps) * width;
    const u32 position = positions[r];
    if (position >= table) continue;
    const size_t at = (size_t)position * half + i;
    float* const low = x + ((size_t)offset + (size_t)r * row_stride + (size_t)h * head_stride + i);
    float* const high = low + half;
    if (width == 1) {
      const float2 y = turn(*low, *high, cos[at], sin[at], inverse != 0);
      *low = y.x;
      *high = y.y;
      continue;
    }
    const float4 x0 = *(const float4*)low, x1 = *(const float4*)high;
    const float4 c = *(const float4*)(cos + at), s = *(const float4*)(sin + at);
    const float2 a = turn(x0.x, x1.x, c.x, s.x, inverse != 0), b = turn(x0.y, x1.y, c.y, s.y, inverse != 0);
    const float2 d = turn(x0.z, x1.z, c.z, s.z, inverse != 0), e = turn(x0.w, x1.w, c.w, s.w, inverse != 0);
    *(float4*)low = make_float4(a.x, b.x, d.x, e.x);
    *(float4*)high = make_float4(a.y, b.y, d.y, e.y);
  }
}

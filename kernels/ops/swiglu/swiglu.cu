// SwiGLU, forward and backward. Body; pf32.cuh and silu.cuh come first.
//
// Equation   y = clamp(silu(gate) * up); dgate = clamp((dy * up) * silu_slope(gate)); dup = clamp(dy * silu(gate)).
// Layout     gate, up, dgate, dup: rows at strides; y, dy [rows][cols]. `width` is 4 where each row of each of them begins at 16 bytes, else 1.
// Work       A thread takes `width` neighbouring elements of a row at a time. dgate and dup may share a tensor without overlap.

// Words of a matrix whose rows lie apart.
struct Rows {
  u32 offset;
  u32 stride;

  __device__ __forceinline__ size_t at(u32 r, u32 c) const {
    return (size_t)offset + (size_t)r * stride + c;
  }
};

// Calls f(row, column, place) for this thread's elements, `width` apart.
template <class F>
__device__ __forceinline__ void each(u32 rows, u32 cols, u32 width, F f) {
  const u32 steps = cols / width;
  const size_t total = (size_t)rows * steps;
  const size_t stride = (size_t)gridDim.x * blockDim.x;
  for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += stride) {
    // In 32 bits where that will do: a division of 64 is a hundred instructions.
    const u32 r = total <= 0xffffffffu ? (u32)i / steps : (u32)(i / steps);
    f(r, (u32)(i - (size_t)r * steps) * width, i * width);
  }
}

__device__ __forceinline__ float swiglu_of(float g, float u) {
  return pf::limit(pf::mul(silu(g), u));
}

// dgate and dup.
__device__ __forceinline__ float2 swiglu_grad_of(float g, float u, float dy) {
  const float s = pf::sigmoid(g);
  return make_float2(pf::limit(pf::mul(pf::mul(dy, u), silu_slope(g, s))), pf::limit(pf::mul(dy, pf::mul(g, s))));
}

extern "C" __global__ void __launch_bounds__(256)
    swiglu(const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ y, u32 rows, u32 cols,
           u32 gate_offset, u32 gate_stride, u32 up_offset, u32 up_stride, u32 width) {
  const Rows gates = {gate_offset, gate_stride};
  const Rows ups = {up_offset, up_stride};
  if (width == 1) {
    each(rows, cols, 1, [&](u32 r, u32 c, size_t at) { y[at] = swiglu_of(gate[gates.at(r, c)], up[ups.at(r, c)]); });
    return;
  }
  each(rows, cols, 4, [&](u32 r, u32 c, size_t at) {
    const float4 g = *(const float4*)(gate + gates.at(r, c));
    const float4 u = *(const float4*)(up + ups.at(r, c));
    *(float4*)(y + at) = make_float4(swiglu_of(g.x, u.x), swiglu_of(g.y, u.y), swiglu_of(g.z, u.z),
                                     swiglu_of(g.w, u.w));
  });
}

extern "C" __global__ void __launch_bounds__(256)
    swiglu_grad(const float* __restrict__ gate, const float* __restrict__ up, const float* __restrict__ dy,
                float* dgate, float* dup, u32 rows, u32 cols, u32 gate_offset, u32 gate_stride, u32 up_offset,
                u32 up_stride, u32 dgate_offset, u32 dgate_stride, u32 dup_offset, u32 dup_stride, u32 width) {
  const Rows gates = {gate_offset, gate_stride};
  const Rows ups = {up_offset, up_stride};
  const Rows dgates = {dgate_offset, dgate_stride};
  const Rows dups = {dup_offset, dup_stride};
  if (width == 1) {
    each(rows, cols, 1, [&](u32 r, u32 c, size_t at) {
      const float2 v = swiglu_grad_of(gate[gates.at(r, c)], up[ups.at(r, c)], dy[at]);
      dgate[dgates.at(r, c)] = v.x;
      dup[dups.at(r, c)] = v.y;
    });
    return;
  }
  each(rows, cols, 4, [&](u32 r, u32 c, size_t at) {
    const float4 g = *(const float4*)(gate + gates.at(r, c));
    const float4 u = *(const float4*)(up + ups.at(r, c));
    const float4 d = *(const float4*)(dy + at);
    const float2 v0 = swiglu_grad_of(g.x, u.x, d.x);
    const float2 v1 = swiglu_grad_of(g.y, u.y, d.y);
    const float2 v2 = swiglu_grad_of(g.z, u.z, d.z);
    const float2 v3 = swiglu_grad_of(g.w, u.w, d.w);
    *(float4*)(dgate + dgates.at(r, c)) = make_float4(v0.x, v1.x, v2.x, v3.x);
    *(float4*)(dup + dups.at(r, c)) = make_float4(v0.y, v1.y, v2.y, v3.y);
  });
}

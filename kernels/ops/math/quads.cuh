// Four neighbouring elements at a time. Behind pf32.cuh.
//
// Layout     Tensors begin at 256 bytes, so a quad at a multiple of four words is one access of 16 bytes; `left`, the elements from there to the end, makes the
//            last one single words.
// Work       A grid of any size: thread i takes quads i, i + threads, ...

__device__ __forceinline__ size_t first_quad() {
  return ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * 4;
}

__device__ __forceinline__ size_t quad_stride() {
  return (size_t)gridDim.x * blockDim.x * 4;
}

__device__ __forceinline__ float4 load4(const float* p, size_t left) {
  if (left >= 4) return *(const float4*)p;
  float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  v.x = p[0];
  if (left > 1) v.y = p[1];
  if (left > 2) v.z = p[2];
  return v;
}

__device__ __forceinline__ void store4(float* p, size_t left, float4 v) {
  if (left >= 4) {
    *(float4*)p = v;
    return;
  }
  p[0] = v.x;
  if (left > 1) p[1] = v.y;
  if (left > 2) p[2] = v.z;
}

template <class F>
__device__ __forceinline__ float4 map4(F f, float4 a) {
  return make_float4(f(a.x), f(a.y), f(a.z), f(a.w));
}

template <class F>
__device__ __forceinline__ float4 map4(F f, float4 a, float4 b) {
  return make_float4(f(a.x, b.x), f(a.y, b.y), f(a.z, b.z), f(a.w, b.w));
}

template <class F>
__device__ __forceinline__ float4 map4(F f, float4 a, float4 b, float4 c) {
  return make_float4(f(a.x, b.x, c.x), f(a.y, b.y, c.y), f(a.z, b.z, c.z), f(a.w, b.w, c.w));
}

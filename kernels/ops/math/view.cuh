// The layout of a View (tensor/tensor.ts) in a kernel: six words, as viewWords of device/cuda/launch.ts writes them. Behind pf32.cuh.
//
// Layout     element (i0, i1, r, c) lies at offset + i0 * s0 + i1 * s1 + r * row_stride + c * col_stride; batch b is (b / n1, b % n1).

struct View {
  u32 offset;
  u32 s0;
  u32 n1;
  u32 s1;
  u32 row_stride;
  u32 col_stride;

  // Index of a batch's first element.
  __device__ __forceinline__ size_t base(u32 batch) const {
    return (size_t)offset + (size_t)(batch / n1) * s0 + (size_t)(batch % n1) * s1;
  }

  __device__ __forceinline__ size_t at(u32 batch, u32 r, u32 c) const {
    return base(batch) + (size_t)r * row_stride + (size_t)c * col_stride;
  }
};

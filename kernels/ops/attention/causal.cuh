// How far the rows of causal scores reach. Behind pf32.cuh.
//
// Layout     Row i of each matrix attends to columns j <= i + offset + position[0], at most cols; position is null where the op has none.

// How many elements the row attends to.
__device__ __forceinline__ u32 reach(u32 row, u32 rows, u32 cols, u32 offset, const u32* position) {
  const u64 count = (u64)(row % rows) + offset + (position ? position[0] : 0u) + 1;
  return count < cols ? (u32)count : cols;
}

// The first of two elements at c lies below `count`; the second may not.
__device__ __forceinline__ float2 below(float2 v, u32 c, u32 count) {
  return make_float2(c < count ? v.x : 0.0f, c + 1 < count ? v.y : 0.0f);
}

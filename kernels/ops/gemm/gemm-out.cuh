// Where a tile's sums go: to dst by way of the epilogue, or whole into i64 sums that several blocks share. Behind gemm-tile.cuh and gemm-epilogue.cuh.

// The block's tile begins at row m0, column n0.
struct Output {
  Target target;
  // [rows][columns], all 0 before the first block; null where this block's sums are all there is.
  u64* sums;
  u32 m0;
  u32 n0;

  __device__ __forceinline__ void add(u32 row0, u32 col0, const Whole* staged) const {
#pragma unroll 1
    for (u32 item = threadIdx.x % 32; item < 16 * WN; item += 32) {
      const u32 m = m0 + row0 + item / WN;
      const u32 n = n0 + col0 + item % WN;
      const i64 sum = staged[item / WN * STAGED + item % WN];
      if (m < target.m_end && n < target.n_end && sum != 0) atomicAdd(sums + (size_t)m * target.n_end + n, (u64)sum);
    }
  }

  // 16 rows from row0 of the tile on, WN columns from col0 on.
  __device__ __forceinline__ void rows(u32 row0, u32 col0, const Whole* staged) const {
    if (sums) {
      add(row0, col0, staged);
      return;
    }
#pragma unroll 1
    for (u32 first = threadIdx.x % 32; first < 16 * WN; first += 32 * HAND) {
      Hand hand;
#pragma unroll
      for (u32 i = 0; i < HAND; i++) {
        const u32 row = (first + 32 * i) / WN;
        const u32 col = (first + 32 * i) % WN;
        target.take(hand, i, m0 + row0 + row, n0 + col0 + col, staged[row * STAGED + col]);
      }
      target.epilogue.store(hand);
    }
  }
};

// Rows that a warp keeps in its registers, and their sums in the order of NUMERICS.md. Behind pf32.cuh and a line `constexpr u32 PAIRS = n;`.
//
// Lanes      Thread t of a warp stands for lanes 2t and 2t + 1 of 64: it owns elements 64k + 2t and 64k + 2t + 1, one access of 8 bytes. Stride 32 of the tree
//            is then an exchange with thread t ^ 16, ..., stride 2 with t ^ 1, and stride 1 lies inside the thread: no barrier, no shared memory. Sums
//            commute, so the butterfly gives every thread what the tree gives lane 0.
// Shapes     PAIRS > 0: a row of at most 64 * PAIRS <= 4096 elements, in registers from one read; blockDim = (32, R), R rows a block, no barriers, so a warp
//            whose row is past the end may return. PAIRS = 0: a row of up to 2^24 elements; blockDim = (32 * W, 1), a block a row, each warp sums blocks of
//            4096; elements are read again from cache, and every thread of the block calls alike.
// Order      An element is read and written by its own thread between two reductions; a reduction is a barrier for the block's memory.

constexpr bool KEPT = PAIRS > 0;
constexpr u32 KEPT_PAIRS = KEPT ? PAIRS : 1;
// For __launch_bounds__: threads of a block at most, and blocks that a multiprocessor should hold of a kernel that keeps so many rows.
constexpr u32 ROW_THREADS = PAIRS > 32 ? 128 : 256;
template <u32 KEPT_ROWS>
constexpr u32 row_blocks = PAIRS == 0                ? 4
                           : PAIRS * KEPT_ROWS <= 8  ? 6
                           : PAIRS * KEPT_ROWS <= 16 ? 4
                           : PAIRS * KEPT_ROWS <= 32 ? 2
                           : PAIRS == 64             ? 2
                                                     : 1;

__device__ __forceinline__ u32 row_index() {
  return blockIdx.x * blockDim.y + threadIdx.y;
}

// Elements c and c + 1 of a row of `cols`; what lies past its end is 0. Rows of even length are read and written by pairs.
__device__ __forceinline__ float2 read_pair(const float* row, u32 c, u32 cols) {
  if ((cols & 1) == 0) return *(const float2*)(row + c);
  return make_float2(row[c], c + 1 < cols ? row[c + 1] : 0.0f);
}

__device__ __forceinline__ void write_pair(float* row, u32 c, u32 cols, float2 v) {
  if ((cols & 1) == 0) {
    *(float2*)(row + c) = v;
    return;
  }
  row[c] = v.x;
  if (c + 1 < cols) row[c + 1] = v.y;
}

// Calls f(k, c) for this thread's pairs of a row, pair k at element c.
template <class F>
__device__ __forceinline__ void each_pair(u32 count, F f) {
  if constexpr (KEPT) {
#pragma unroll
    for (u32 k = 0; k < KEPT_PAIRS; k++) {
      const u32 c = 64 * k + 2 * threadIdx.x;
      if (c < count) f(k, c);
    }
  } else {
    for (u32 c = 2 * threadIdx.x; c < count; c += 2 * blockDim.x) f(0u, c);
  }
}

// A row that is read once, or again and again where it does not fit.
struct Row {
  const float* from;
  u32 cols;
  float2 kept[KEPT_PAIRS];

  // Elements from `count` on are not read, and count as 0.
  __device__ __forceinline__ Row(const float* row, u32 length, u32 count) : from(row), cols(length) {
    if constexpr (KEPT) {
      if ((cols & 1) == 0) {
#pragma unroll
        for (u32 k = 0; k < KEPT_PAIRS; k++) {
          const u32 c = 64 * k + 2 * threadIdx.x;
          kept[k] = c < count ? *(const float2*)(row + c) : make_float2(0.0f, 0.0f);
        }
      } else {
#pragma unroll
        for (u32 k = 0; k < KEPT_PAIRS; k++) {
          const u32 c = 64 * k + 2 * threadIdx.x;
          kept[k] = make_float2(c < count ? row[c] : 0.0f, c + 1 < count ? row[c + 1] : 0.0f);
        }
      }
    }
  }

  __device__ __forceinline__ float2 at(u32 k, u32 c) const {
    if constexpr (KEPT) return kept[k];
    else return read_pair(from, c, cols);
  }

  // What `at` gives from now on, where the row is kept.
  __device__ __forceinline__ void keep(u32 k, float2 v) {
    if constexpr (KEPT) kept[k] = v;
  }
};

// What the tree of 64 lanes gives, lanes 2t and 2t + 1 in thread t.
__device__ __forceinline__ float pair_tree(float2 own) {
#pragma unroll
  for (int s = 16; s > 0; s >>= 1) {
    own.x = pf::add(own.x, __shfl_xor_sync(0xffffffffu, own.x, s));
    own.y = pf::add(own.y, __shfl_xor_sync(0xffffffffu, own.y, s));
  }
  return pf::add(own.x, own.y);
}

// Sums of a long row's blocks.
__device__ __forceinline__ float* row_partials() {
  __shared__ float partials[4096];
  return partials;
}

// Adds term(k, c), the values of elements c and c + 1, for c = start + 2 * thread, then in steps of 64, below `end`.
template <class Term>
__device__ __forceinline__ float2 pair_terms(u32 start, u32 end, u32 thread, Term term) {
  float2 own = make_float2(0.0f, 0.0f);
  u32 c = start + 2 * thread;
  u32 rounds = (end - start) / 64;
  // Several rounds are read before the first is added: that many loads are under way.
  for (; rounds >= 8; rounds -= 8, c += 512) {
    float2 terms[8];
#pragma unroll
    for (u32 i = 0; i < 8; i++) terms[i] = term(0u, c + 64 * i);
#pragma unroll
    for (u32 i = 0; i < 8; i++) {
      own.x = pf::add(own.x, terms[i].x);
      own.y = pf::add(own.y, terms[i].y);
    }
  }
#pragma unroll 1
  for (; c < end; c += 64) {
    const float2 v = term(0u, c);
    own.x = pf::add(own.x, v.x);
    if (c + 1 < end) own.y = pf::add(own.y, v.y);
  }
  return own;
}

// Sum over elements 0 .. count of a row, for every thread; term(k, c) gives the values at c and c + 1, each called once. The second may be anything where
// c + 1 = count.
template <class Term>
__device__ __forceinline__ float pair_sum(u32 count, Term term) {
  if constexpr (KEPT) {
    float2 own = make_float2(0.0f, 0.0f);
#pragma unroll
    for (u32 k = 0; k < KEPT_PAIRS; k++) {
      const u32 c = 64 * k + 2 * threadIdx.x;
      if (c < count) {
        const float2 v = term(k, c);
        own.x = pf::add(own.x, v.x);
        if (c + 1 < count) own.y = pf::add(own.y, v.y);
      }
    }
    return pair_tree(own);
  } else {
    float* const partials = row_partials();
    const u32 thread = threadIdx.x & 31;
    const u32 blocks = (count + 4095) / 4096;
    __syncthreads();
    for (u32 b = threadIdx.x >> 5; b < blocks; b += blockDim.x >> 5) {
      const float partial = pair_tree(pair_terms(b * 4096, min(count, (b + 1) * 4096), thread, term));
      if (thread == 0) partials[b] = partial;
    }
    __syncthreads();
    return pair_tree(pair_terms(0, blocks, thread, [&](u32, u32 b) {
      return make_float2(partials[b], b + 1 < blocks ? partials[b + 1] : 0.0f);
    }));
  }
}

// Largest over elements 0 .. count of a row, for every thread; -infinity when there is none.
template <class Term>
__device__ __forceinline__ float pair_max(u32 count, Term term) {
  float own = pf::value(0xff800000u);
  each_pair(count, [&](u32 k, u32 c) {
    const float2 v = term(k, c);
    own = pf::larger(own, v.x);
    if (c + 1 < count) own = pf::larger(own, v.y);
  });
#pragma unroll
  for (int s = 16; s > 0; s >>= 1) own = pf::larger(own, __shfl_xor_sync(0xffffffffu, own, s));
  if constexpr (!KEPT) {
    __shared__ float largest[32];
    __syncthreads();
    if ((threadIdx.x & 31) == 0) largest[threadIdx.x >> 5] = own;
    __syncthreads();
    for (u32 w = 0; w < blockDim.x >> 5; w++) own = pf::larger(own, largest[w]);
  }
  return own;
}

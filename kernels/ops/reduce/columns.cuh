// Sums down the columns of a matrix in the order of NUMERICS.md. Behind pf32.cuh and a line `constexpr u32 LANES = n;`.
//
// Lanes      Lane j of 64 of a column adds rows j, j + 64, ...; thread (x, y) has column x of the block's strip and its lanes y + q * 64 / LANES, q < LANES, so
//            that a warp reads neighbouring columns. Strides 32 .. 64 / LANES of the tree lie inside a thread, the rest in shared memory.
// Work       blockDim = (X, 64 / LANES), gridDim = (columns / X, blocks of 4096 rows). LANES = 4 with X = 32 reads whole lines; LANES = 1 with X = 8 makes
//            more blocks of few columns. More than 4096 rows: partial sums, then their sum by a second launch.
// V          float, or float2 for two sums of the same rows.

constexpr u32 LANE_ROWS = 64 / LANES;
constexpr u32 COLUMN_THREADS = 512;
// Rounds of 64 rows that are read together: 16 rows a thread.
constexpr u32 AT_ONCE = 16 / LANES;

__device__ __forceinline__ float plus(float a, float b) {
  return pf::add(a, b);
}

__device__ __forceinline__ float2 plus(float2 a, float2 b) {
  return make_float2(pf::add(a.x, b.x), pf::add(a.y, b.y));
}

__device__ __forceinline__ u32 column_index() {
  return blockIdx.x * blockDim.x + threadIdx.x;
}

// Adds `ROUNDS` rounds of 64 rows from r on. All are read before the first is added: that many loads are under way.
template <u32 ROUNDS, class V, class Term>
__device__ __forceinline__ void add_rounds(V (&own)[LANES], u32 r, Term term) {
  V terms[ROUNDS][LANES];
#pragma unroll
  for (u32 i = 0; i < ROUNDS; i++) {
#pragma unroll
    for (u32 q = 0; q < LANES; q++) terms[i][q] = term(r + 64 * i + q * LANE_ROWS);
  }
#pragma unroll
  for (u32 i = 0; i < ROUNDS; i++) {
#pragma unroll
    for (u32 q = 0; q < LANES; q++) own[q] = plus(own[q], terms[i][q]);
  }
}

// Sum of term(r) over this block's rows of `rows`, for the threads of y = 0; each of the block's threads calls, those past the last column with live = false.
template <class V, class Term>
__device__ __forceinline__ V column_sum(u32 rows, bool live, Term term) {
  __shared__ V tree[COLUMN_THREADS];
  const u32 start = blockIdx.y * 4096;
  const u32 end = live ? min(rows, start + 4096) : start;
  V own[LANES];
#pragma unroll
  for (u32 q = 0; q < LANES; q++) own[q] = V{};
  u32 r = start + threadIdx.y;
  u32 rounds = (end - start) / 64;
  for (; rounds >= AT_ONCE; rounds -= AT_ONCE, r += 64 * AT_ONCE) add_rounds<AT_ONCE>(own, r, term);
  if constexpr (AT_ONCE > 4) {
    for (; rounds >= 4; rounds -= 4, r += 256) add_rounds<4>(own, r, term);
  }
#pragma unroll 1
  for (; r < end; r += 64) {
#pragma unroll
    for (u32 q = 0; q < LANES; q++) {
      if (r + q * LANE_ROWS < end) own[q] = plus(own[q], term(r + q * LANE_ROWS));
    }
  }
#pragma unroll
  for (u32 s = LANES / 2; s > 0; s >>= 1) {
#pragma unroll
    for (u32 q = 0; q < s; q++) own[q] = plus(own[q], own[q + s]);
  }
  V sum = own[0];
  const u32 place = threadIdx.y * blockDim.x + threadIdx.x;
  tree[place] = sum;
#pragma unroll
  for (u32 s = LANE_ROWS / 2; s > 0; s >>= 1) {
    __syncthreads();
    if (threadIdx.y < s) {
      sum = plus(sum, tree[place + s * blockDim.x]);
      tree[place] = sum;
    }
  }
  return sum;
}

// The reductions of NUMERICS.md, a row by 64 threads: thread x of a block is lane x, thread y its row. Behind pf32.cuh. See row.cuh for rows that a warp
// keeps in its registers, which is faster where a row has at most 4096 elements.
//
// Order      Lane j adds terms j, j + 64, ... of a block of 4096 in order; a tree of strides 32 .. 1 ends the block; a second such round adds the blocks'
//            sums, block b in lane b mod 64. Sums commute, so a butterfly of exchanges gives every lane what the tree gives lane 0.
// Work       blockDim = (64, R): stride 32 goes between the row's two warps through `shared`, the rest inside a warp.
// Requires   Every thread of the block calls in uniform control flow; a row past the end counts 0 terms. `shared` holds 64 * R words that nothing else
//            uses. Rows of one block whose counts differ pass the same `longest`.

// What the tree of 64 lanes gives.
__device__ __forceinline__ float lanes_sum(float own, float* shared) {
  float* row = shared + threadIdx.y * 64;
  __syncthreads();
  row[threadIdx.x] = own;
  __syncthreads();
  own = pf::add(own, row[threadIdx.x ^ 32]);
#pragma unroll
  for (int s = 16; s > 0; s >>= 1) own = pf::add(own, __shfl_xor_sync(0xffffffffu, own, s));
  return own;
}

// Terms start + lane, start + lane + 64, ... in order.
template <class Term>
__device__ __forceinline__ float lane_terms(Term term, u32 start, u32 end) {
  float own = 0.0f;
#pragma unroll 4
  for (u32 i = start + threadIdx.x; i < end; i += 64) own = pf::add(own, term(i));
  return own;
}

// Sum of term(0 .. count), for every lane; at most 2^24 terms. Each term is called once, by its lane.
template <class Term>
__device__ __forceinline__ float row_sum(Term term, u32 count, float* shared, u32 longest) {
  if (longest <= 4096) return lanes_sum(lane_terms(term, 0, count), shared);
  // Lane b mod 64 of the second round adds block b; a third level is beyond 2^24 terms. 4096 partial sums at most: one round.
  float outer = 0.0f;
  const u32 blocks = (longest + 4095) / 4096;
  for (u32 b = 0; b < blocks; b++) {
    const float partial = lanes_sum(lane_terms(term, b * 4096, min(count, (b + 1) * 4096)), shared);
    if ((b & 63) == threadIdx.x) outer = pf::add(outer, partial);
  }
  return lanes_sum(outer, shared);
}

template <class Term>
__device__ __forceinline__ float row_sum(Term term, u32 count, float* shared) {
  return row_sum(term, count, shared, count);
}

// Largest of term(0 .. count), for every lane; what is below all numbers when there is none. By integers, so in any order.
template <class Term>
__device__ __forceinline__ float row_max(Term term, u32 count, float* shared) {
  i32 own = (i32)0x80000000u;
#pragma unroll 4
  for (u32 i = threadIdx.x; i < count; i += 64) own = max(own, pf::order(term(i)));
  i32* row = (i32*)shared + threadIdx.y * 64;
  __syncthreads();
  row[threadIdx.x] = own;
  __syncthreads();
  own = max(own, row[threadIdx.x ^ 32]);
#pragma unroll
  for (int s = 16; s > 0; s >>= 1) own = max(own, __shfl_xor_sync(0xffffffffu, own, s));
  return pf::unorder(own);
}

// The value of the one lane that has it.
__device__ __forceinline__ float from_lane(u32 owner, float own, float* shared) {
  float* row = shared + threadIdx.y * 64;
  __syncthreads();
  if (threadIdx.x == owner) row[0] = own;
  __syncthreads();
  return row[0];
}

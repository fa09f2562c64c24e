// Sorting slots by expert, stably. Behind pf32.cuh.
//
// Equation   order[place] = slot, places[slot] = place: slots by expert, in slot order inside one; offsets[e] = slots of experts below e, offsets[E] = all.
// Work       Three launches. route_count: a warp a span of slots counts each expert's: counts[expert][span]. route_offsets: one block turns the counts
//            into sums of all before them. route_place: the same warps walk their spans again and number the slots from there.
// Order      A warp takes 32 slots at a time; a slot's rank among them is the number of lower lanes with its expert, found by a ballot a bit of the id.
// Requires   blockDim = 32 for count and place, with E words of shared memory; 1024 for offsets; E at most 512.

// The lanes whose id is this lane's own; `id` below 1024.
__device__ __forceinline__ u32 same_id(u32 id) {
  u32 same = 0xffffffffu;
#pragma unroll
  for (u32 bit = 0; bit < 10; bit++) {
    const bool one = (id >> bit) & 1u;
    const u32 lanes = __ballot_sync(0xffffffffu, one);
    same &= one ? lanes : ~lanes;
  }
  return same;
}

// visit(slot, place) for this lane's slots of the span; `next` holds the place of each expert's next one.
template <class Visit>
__device__ __forceinline__ void walk_span(const u32* ids, u32* next, u32 slots, u32 E, u32 span, Visit visit) {
  const u32 lane = threadIdx.x;
  const u32 end = min(slots, (blockIdx.x + 1) * span);
  for (u32 first = blockIdx.x * span; first < end; first += 32) {
    const u32 s = first + lane;
    const u32 id = s < end ? min(ids[s], E) : E;
    const u32 same = same_id(id);
    const u32 rank = (u32)__popc(same & ((1u << lane) - 1u));
    const u32 base = id < E ? next[id] : 0;
    __syncwarp();
    if (id < E) {
      visit(s, base + rank);
      if (rank == 0) next[id] = base + (u32)__popc(same);
    }
    __syncwarp();
  }
}

extern "C" __global__ void __launch_bounds__(32) route_count(
    const u32* ids, u32* counts, u32 slots, u32 E, u32 span) {
  extern __shared__ u32 next[];
  for (u32 e = threadIdx.x; e < E; e += 32) next[e] = 0;
  __syncwarp();
  walk_span(ids, next, slots, E, span, [](u32, u32) {});
  for (u32 e = threadIdx.x; e < E; e += 32) counts[(size_t)e * gridDim.x + blockIdx.x] = next[e];
}

extern "C" __global__ void __launch_bounds__(32) route_place(
    const u32* ids, const u32* counts, u32* order, u32* places, u32 slots, u32 E, u32 span) {
  extern __shared__ u32 next[];
  for (u32 e = threadIdx.x; e < E; e += 32) next[e] = counts[(size_t)e * gridDim.x + blockIdx.x];
  __syncwarp();
  walk_span(ids, next, slots, E, span, [&](u32 s, u32 place) {
    order[place] = s;
    places[s] = place;
  });
}

// The sum of the lanes up to this one.
__device__ __forceinline__ u32 warp_running(u32 own) {
  const u32 lane = threadIdx.x & 31;
#pragma unroll
  for (u32 d = 1; d < 32; d <<= 1) {
    const u32 below = __shfl_sync(0xffffffffu, own, (int)(lane - d) & 31);
    if (lane >= d) own += below;
  }
  return own;
}

extern "C" __global__ void __launch_bounds__(1024) route_offsets(u32* counts, u32* offsets, u32 E, u32 spans) {
  __shared__ u32 warps[32];
  const u32 lane = threadIdx.x & 31;
  const u32 warp = threadIdx.x >> 5;
  const u32 all = E * spans;
  u32 before = 0;
  for (u32 first = 0; first < all; first += 1024) {
    const u32 i = first + threadIdx.x;
    const u32 own = i < all ? counts[i] : 0;
    const u32 running = warp_running(own);
    if (lane == 31) warps[warp] = running;
    __syncthreads();
    if (warp == 0) warps[lane] = warp_running(warps[lane]);
    __syncthreads();
    const u32 start = before + (warp == 0 ? 0 : warps[warp - 1]) + running - own;
    if (i < all) {
      counts[i] = start;
      if (i % spans == 0) offsets[i / spans] = start;
    }
    before += warps[31];
    __syncthreads();
  }
  if (threadIdx.x == 0) offsets[E] = before;
}

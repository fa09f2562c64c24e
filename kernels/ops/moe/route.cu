// The experts of each token, their gates, and the gradient of those. Behind pf32.cuh.
//
// Equation   route: ids[t][j]: the j-th largest of E logits, the lower index among equals; e_j = exp(l_j - l_0); gates[t][j] = e_j * recip((e_0 + e_1) + ...).
//            route_grad: D = (g_0 * d_0 + g_1 * d_1) + ...; dlogits[t][ids[t][j]] = g_j * (d_j - D), 0 where not chosen; of equal ids the last counts.
// Layout     logits, dlogits [M][E]; ids, gates, dgates [M][k].
// Work       A warp a token, blockDim.y tokens a block. A logit and its index, inverted, are one 64-bit integer: the next choice is the largest below the
//            last one, so nothing is marked. A lane of the gradient looks through the k choices for each expert of its own.

typedef unsigned long long Ranked;

__device__ __forceinline__ Ranked ranked(float x, u32 e) {
  return ((Ranked)((u32)pf::order(x) ^ 0x80000000u) << 32) | (u32)~e;
}

__device__ __forceinline__ Ranked warp_largest(Ranked own) {
#pragma unroll
  for (u32 s = 16; s > 0; s >>= 1) {
    const u32 high = __shfl_xor_sync(0xffffffffu, (u32)(own >> 32), s);
    const u32 low = __shfl_xor_sync(0xffffffffu, (u32)own, s);
    const Ranked other = ((Ranked)high << 32) | low;
    own = other > own ? other : own;
  }
  return own;
}

extern "C" __global__ void __launch_bounds__(256) route(
    const float* logits, u32* ids, float* gates, u32 M, u32 E, u32 k) {
  const u32 t = blockIdx.x * blockDim.y + threadIdx.y;
  if (t >= M) return;
  const float* l = logits + (size_t)t * E;
  const size_t slot = (size_t)t * k;
  Ranked last = ~(Ranked)0;
  float largest = 0.0f;
  float total = 0.0f;
  for (u32 j = 0; j < k; j++) {
    Ranked best = 0;
    for (u32 e = threadIdx.x; e < E; e += 32) {
      const Ranked own = ranked(l[e], e);
      if (own < last && own > best) best = own;
    }
    last = warp_largest(best);
    const float x = pf::unorder((i32)((u32)(last >> 32) ^ 0x80000000u));
    if (j == 0) largest = x;
    const float e = pf::exp(pf::sub(x, largest));
    total = j == 0 ? e : pf::add(total, e);
    if (threadIdx.x == (j & 31)) {
      ids[slot + j] = ~(u32)last;
      gates[slot + j] = e;
    }
  }
  // A lane scales what it wrote itself.
  const float inverse = pf::recip(total);
  for (u32 j = threadIdx.x; j < k; j += 32) gates[slot + j] = pf::mul(gates[slot + j], inverse);
}

extern "C" __global__ void __launch_bounds__(256) route_grad(
    const u32* ids, const float* gates, const float* dgates, float* dlogits, u32 M, u32 E, u32 k) {
  const u32 t = blockIdx.x * blockDim.y + threadIdx.y;
  if (t >= M) return;
  const size_t slot = (size_t)t * k;
  float total = pf::mul(gates[slot], dgates[slot]);
  for (u32 j = 1; j < k; j++) total = pf::add(total, pf::mul(gates[slot + j], dgates[slot + j]));
  for (u32 e = threadIdx.x; e < E; e += 32) {
    float gradient = 0.0f;
    for (u32 j = 0; j < k; j++) {
      if (ids[slot + j] == e) gradient = pf::mul(gates[slot + j], pf::sub(dgates[slot + j], total));
    }
    dlogits[(size_t)t * E + e] = gradient;
  }
}

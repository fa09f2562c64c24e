// One token a row from logits. Behind pf32.cuh.
//
// Equation   See spec.ts: the largest of l, or of (l - max l) * recip(T) - ln(e), among the logits that are at least the k-th largest.
// Layout     logits [rows][V]; dst [rows]; temperature[0] an f32, scalars[0] the seed.
// Work       A block of `threads` a row. The k-th largest is found exactly, eight bits a round: a histogram of the bytes of the logits that share the digits
//            found so far, then one warp finds the bin, eight bins a lane. Counts and maxima are integers, so no order matters.
// Ties       A score and its column are one 64-bit integer, the column inverted: the largest has the lowest column among equals.

static const u32 threads = 512;

struct Shared {
  unsigned long long best;
  u32 histogram[256];
  u32 digits;
  u32 wanted;
};

// Orders bit patterns as u32: its upper half are the positive ones.
__device__ __forceinline__ u32 key_of(float x) {
  return (u32)pf::order(x) ^ 0x80000000u;
}

__device__ __forceinline__ float value_of(u32 key) {
  return pf::unorder((i32)(key ^ 0x80000000u));
}

__device__ __forceinline__ float exponential(u32 random) {
  if (random < 0x400000u) {
    const float w = pf::mul((float)(i32)(2 * random + 1), pf::value(0x2f000000u));  // 2^-33
    return pf::mul(w, pf::add(1.0f, pf::mul(w, pf::add(0.5f, pf::mul(w, pf::value(0x3eaaaaabu))))));
  }
  const float u = pf::mul((float)(i32)(0xffffffu - 2 * (random >> 9)), pf::value(0x33800000u));  // 2^-24
  return pf::neg(pf::ln(u));
}

// The largest of all threads' own.
__device__ __forceinline__ unsigned long long block_best(Shared& s, u32 key, u32 column) {
  u32 inverted = ~column;
  for (u32 d = 16; d > 0; d >>= 1) {
    const u32 other = __shfl_xor_sync(0xffffffffu, key, d);
    const u32 other_inverted = __shfl_xor_sync(0xffffffffu, inverted, d);
    if (other > key || (other == key && other_inverted > inverted)) {
      key = other;
      inverted = other_inverted;
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) s.best = 0;
  __syncthreads();
  if ((threadIdx.x & 31) == 0) atomicMax(&s.best, ((unsigned long long)key << 32) | inverted);
  __syncthreads();
  return s.best;
}

// The first warp: the bin in which the counts from the top reach `wanted`.
__device__ __forceinline__ void find_bin(Shared& s, u32 shift) {
  const u32 lane = threadIdx.x;
  const u32 top = 255 - 8 * lane;
  u32 own = 0;
  for (u32 n = 0; n < 8; n++) own += s.histogram[top - n];
  u32 before = 0;
  for (u32 other = 0; other < 31; other++) {
    const u32 count = __shfl_sync(0xffffffffu, own, (i32)other);
    if (other < lane) before += count;
  }
  const u32 wanted = s.wanted;
  __syncwarp();
  if (before >= wanted || before + own < wanted) return;
  u32 left = wanted - before;
  u32 bin = top;
  for (; s.histogram[bin] < left; bin--) left -= s.histogram[bin];
  s.wanted = left;
  s.digits |= bin << shift;
}

// The key of the k-th largest logit, 0 < k <= V.
__device__ __forceinline__ u32 threshold(Shared& s, const float* l, u32 V, u32 k) {
  if (threadIdx.x == 0) {
    s.digits = 0;
    s.wanted = k;
  }
  for (i32 shift = 24; shift >= 0; shift -= 8) {
    if (threadIdx.x < 256) s.histogram[threadIdx.x] = 0;
    __syncthreads();
    const u32 found = s.digits;
    for (u32 c = threadIdx.x; c < V; c += threads) {
      const u32 key = key_of(l[c]);
      // Two shifts, as one by 32 is not defined.
      if (((key ^ found) >> shift) >> 8 == 0) atomicAdd(&s.histogram[(key >> shift) & 255], 1u);
    }
    __syncthreads();
    if (threadIdx.x < 32) find_bin(s, (u32)shift);
    __syncthreads();
  }
  return s.digits;
}

extern "C" __global__ void __launch_bounds__(512) sample(
    const float* logits, const float* temperature, const u32* scalars, u32* dst, u32 V, u32 top_k, u32 site) {
  __shared__ Shared s;
  const u32 row = blockIdx.x;
  const float* l = logits + (size_t)row * V;
  u32 best = 0;
  u32 at = 0xffffffffu;
#pragma unroll 4
  for (u32 c = threadIdx.x; c < V; c += threads) {
    const u32 key = key_of(l[c]);
    if (key > best) {
      best = key;
      at = c;
    }
  }
  unsigned long long winner = block_best(s, best, at);
  const u32 size = pf::bits(temperature[0]) & 0x7fffffffu;
  if (size >= 0x0d800000u) {
    const float largest = value_of((u32)(winner >> 32));
    const u32 least = top_k == 0 ? 0 : threshold(s, l, V, top_k);
    const float inverse = pf::recip(pf::value(min(max(size, 0x35800000u), 0x53800000u)));
    const u32 seed = pf::lowbias32(scalars[0] ^ (site * 0x85ebca6bu));
    best = 0;
    at = 0xffffffffu;
    for (u32 c = threadIdx.x; c < V; c += threads) {
      const float x = l[c];
      if (key_of(x) < least) continue;
      const float e = exponential(pf::lowbias32(seed + (row * V + c) * 0x9e3779b9u));
      const u32 key = key_of(pf::sub(pf::mul(pf::sub(x, largest), inverse), pf::ln(e)));
      if (key > best) {
        best = key;
        at = c;
      }
    }
    winner = block_best(s, best, at);
  }
  if (threadIdx.x == 0) dst[row] = ~(u32)winner;
}

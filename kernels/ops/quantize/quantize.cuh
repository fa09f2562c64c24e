// What the QUANT kernels share: rounding an f32 to an integer, and its digits. Behind pf32.cuh and view.cuh.
//
// Equation   q = round(x * 2^(nb - E)), E the exponent of the row's largest element; NUMERICS.md, QUANT. Integers only, on any bits but NaN and infinity.
// Digits     q = low (7 bits), 32 high + low (10 bits, low in -16..15) or 256 high + low (15 bits, low in -128..127): a byte each (device/cuda/launch.ts).

struct Quant {
  u32 nb;
  u32 qmax;
  // Stochastic rounding, by the seed of its site.
  bool random;
  u32 seed;
  // The exponent field of the row's largest element, and whether all of the row is 0.
  u32 field;
  bool zeros;

  __device__ __forceinline__ void row(u32 amax) {
    field = amax >> 23;
    zeros = amax < 0x0d800000u;
  }

  __device__ __forceinline__ i32 exponent() const {
    return zeros ? -99 : (i32)field - 126;
  }

  // The integer of the element with bits u at `index` of its tensor.
  __device__ __forceinline__ i32 round(u32 u, u32 index) const {
    const u32 a = u & 0x7fffffffu;
    if (zeros || a < 0x0d800000u) return 0;
    u32 m = (a & 0x7fffffu) | 0x800000u;
    u32 shift = 24u - nb + field - (a >> 23);
    u32 q;
    if (random) {
      if (shift > 31u) {
        m >>= min(shift - 31u, 31u);
        shift = 31u;
      }
      q = (m + (pf::lowbias32(seed + index * 0x9e3779b9u) & ((1u << shift) - 1u))) >> shift;
    } else {
      shift = min(shift, 25u);
      const u32 rest = m & ((1u << shift) - 1u);
      const u32 tie = 1u << (shift - 1u);
      q = m >> shift;
      q += (rest > tie || (rest == tie && (q & 1u) == 1u)) ? 1u : 0u;
    }
    const i32 size = (i32)min(q, qmax);
    return u >> 31 ? -size : size;
  }

  __device__ __forceinline__ i32 low(i32 q) const {
    return nb == 10u ? ((q + 16) & 31) - 16 : nb == 15u ? ((q + 128) & 255) - 128 : q;
  }

  __device__ __forceinline__ i32 high(i32 q) const {
    return nb == 10u ? (q + 16) >> 5 : (q + 128) >> 8;
  }
};

// Its site's seed in this step, and the width.
__device__ __forceinline__ Quant quant_of(u32 nb, const u32* scalars, u32 site) {
  Quant quant;
  quant.nb = nb;
  quant.qmax = nb == 7u ? 127u : nb == 10u ? 1023u : 32639u;
  quant.random = scalars != nullptr;
  quant.seed = scalars ? pf::lowbias32(scalars[0] ^ (site * 0x85ebca6bu)) : 0u;
  quant.field = 0u;
  quant.zeros = true;
  return quant;
}

// u * 2^(exponent - nb), PF32.
__device__ __forceinline__ u32 folded(u32 u, i32 exponent, u32 nb) {
  return pf::bits(pf::mul(pf::value(u), pf::value((u32)(exponent - (i32)nb + 127) << 23)));
}

// Four digits as a word, the first lowest.
__device__ __forceinline__ u32 bytes4(i32 a, i32 b, i32 c, i32 d) {
  return ((u32)a & 255u) | (((u32)b & 255u) << 8) | (((u32)c & 255u) << 16) | ((u32)d << 24);
}

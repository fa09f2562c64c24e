// int8 rows: weight deltas and Adam's moments as one byte a value and one exponent byte a row. Behind pf32.cuh.
//
// Equation   encode: x = src, clamp(src - minus) or clamp(sqrt(src)); E = (largest size >> 23) - 126, -99 for a row of zeros; code = QUANT(x) to 7 bits, RNE.
//            decode: v = FL(code * 2^(E - 7)), a code of 0 counting as 1/2 where asked; v * v where asked; dst = v or clamp(other + v).
// Layout     src, minus, dst, other [rows][cols]; codes [rows][cols] bytes, exponents [rows] bytes, four to a word wherever rows end, lowest first, what is
//            left of the last word 0.
// Work       encode_rows: rows that are whole words of codes, read once; blockDim.x threads a row, each at most 8 words of codes, blockDim.y rows. Other rows:
//            encode_exponents: a warp a row, an integer max, so order-free. encode_codes and decode_rows: a thread a word of codes, four elements.
// Exact      A step below 2^-117 makes every value smaller than 2^-100, so 0; all others, and their products, are normal numbers.

// `kind` 0: a; 1: a - b; 2: the root of a.
__device__ __forceinline__ u32 encoded(float a, float b, u32 kind) {
  if (kind == 1) return pf::bits(pf::limit(pf::sub(a, b)));
  if (kind == 2) return pf::bits(pf::limit(pf::sqrt(a)));
  return pf::bits(a);
}

__device__ __forceinline__ u32 encoded(const float* src, const float* minus, u32 kind, size_t i) {
  return encoded(src[i], kind == 1 ? minus[i] : 0.0f, kind);
}

// The exponent of a row whose largest size this is; the last row fills its word.
__device__ __forceinline__ void write_exponent(i8* exponents, u32 row, u32 rows, u32 largest) {
  exponents[row] = (i8)(largest < 0x0d800000u ? -99 : (i32)(largest >> 23) - 126);
  if (row == rows - 1) {
    for (u32 i = rows; (i & 3) != 0; i++) exponents[i] = 0;
  }
}

extern "C" __global__ void __launch_bounds__(256) encode_exponents(
    const float* src, const float* minus, i8* exponents, u32 rows, u32 cols, u32 kind) {
  const u32 row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  u32 largest = 0;
#pragma unroll 4
  for (u32 c = threadIdx.x; c < cols; c += 32) {
    largest = max(largest, encoded(src, minus, kind, (size_t)row * cols + c) & 0x7fffffffu);
  }
#pragma unroll
  for (int s = 16; s > 0; s >>= 1) largest = max(largest, __shfl_xor_sync(0xffffffffu, largest, s));
  if (threadIdx.x != 0) return;
  write_exponent(exponents, row, rows, largest);
}

// Exponent field of a row's largest. No row has an exponent below -99: such a byte stands for one above 127.
__device__ __forceinline__ u32 field_of(i8 exponent) {
  return (u32)((i32)exponent + 126 + (exponent < -99 ? 256 : 0));
}

__device__ __forceinline__ u32 code_of(u32 u, u32 field) {
  const u32 a = u & 0x7fffffffu;
  if (a < 0x0d800000u) return 0;
  const u32 m = (a & 0x7fffffu) | 0x800000u;
  const u32 s = min(17 + field - (a >> 23), 25u);
  const u32 r = m & ((1u << s) - 1);
  const u32 tie = 1u << (s - 1);
  const u32 q = m >> s;
  const u32 size = min(q + (r > tie || (r == tie && (q & 1u)) ? 1u : 0u), 127u);
  return (u >> 31 ? 0u - size : size) & 255u;
}

extern "C" __global__ void __launch_bounds__(1024) encode_rows(
    const float* __restrict__ src, const float* __restrict__ minus, i8* exponents, u32* codes, u32 rows, u32 cols, u32 kind) {
  __shared__ u32 of_warps[32];
  const u32 row = blockIdx.x * blockDim.y + threadIdx.y;
  const u32 words = row < rows ? cols / 4 : 0;
  const size_t at = (size_t)row * (cols / 4);
  float4 kept[8];
#pragma unroll
  for (u32 k = 0; k < 8; k++) {
    const u32 w = k * blockDim.x + threadIdx.x;
    kept[k] = w < words ? ((const float4*)src)[at + w] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  }
  u32 largest = 0;
#pragma unroll
  for (u32 k = 0; k < 8; k++) {
    const u32 w = k * blockDim.x + threadIdx.x;
    const float4 other = kind == 1 && w < words ? ((const float4*)minus)[at + w] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    kept[k].x = pf::value(encoded(kept[k].x, other.x, kind));
    kept[k].y = pf::value(encoded(kept[k].y, other.y, kind));
    kept[k].z = pf::value(encoded(kept[k].z, other.z, kind));
    kept[k].w = pf::value(encoded(kept[k].w, other.w, kind));
    largest = max(max(largest, pf::bits(kept[k].x) & 0x7fffffffu), pf::bits(kept[k].y) & 0x7fffffffu);
    largest = max(max(largest, pf::bits(kept[k].z) & 0x7fffffffu), pf::bits(kept[k].w) & 0x7fffffffu);
  }
#pragma unroll
  for (int s = 16; s > 0; s >>= 1) largest = max(largest, __shfl_xor_sync(0xffffffffu, largest, s));
  // Rows of several warps: as many words as a block has warps, those of a row side by side.
  if (blockDim.x > 32) {
    const u32 warps = blockDim.x / 32;
    u32* const own = of_warps + threadIdx.y * warps;
    if (threadIdx.x % 32 == 0) own[threadIdx.x / 32] = largest;
    __syncthreads();
    for (u32 w = 0; w < warps; w++) largest = max(largest, own[w]);
  }
  const u32 field = largest >> 23;
#pragma unroll
  for (u32 k = 0; k < 8; k++) {
    const u32 w = k * blockDim.x + threadIdx.x;
    if (w >= words) continue;
    codes[at + w] = code_of(pf::bits(kept[k].x), field) | code_of(pf::bits(kept[k].y), field) << 8 |
                    code_of(pf::bits(kept[k].z), field) << 16 | code_of(pf::bits(kept[k].w), field) << 24;
  }
  if (row < rows && threadIdx.x == 0) write_exponent(exponents, row, rows, largest);
}

extern "C" __global__ void __launch_bounds__(256) encode_codes(
    const float* src, const float* minus, const i8* exponents, u32* codes, u32 size, u32 cols, u32 kind) {
  const u32 at = (blockIdx.x * blockDim.x + threadIdx.x) * 4;
  if (at >= size) return;
  u32 word = 0;
  u32 row = at / cols;
  u32 next = (row + 1) * cols;
#pragma unroll
  for (u32 i = 0; i < 4; i++) {
    if (at + i >= size) break;
    if (at + i == next) {
      row++;
      next += cols;
    }
    word |= code_of(encoded(src, minus, kind, at + i), field_of(exponents[row])) << (8 * i);
  }
  codes[at / 4] = word;
}

__device__ __forceinline__ float decoded(u32 word, u32 i, i32 exponent, bool half_step, bool square) {
  if (exponent < -110) return 0.0f;
  const i32 code = (i32)(word << (24 - 8 * i)) >> 24;
  const float size = half_step && code == 0 ? 0.5f : (float)code;
  const float v = pf::mul(size, pf::value((u32)(exponent + 120) << 23));
  return square ? pf::mul(v, v) : v;
}

extern "C" __global__ void __launch_bounds__(256) decode_rows(
    const u32* codes, const i8* exponents, const float* other, float* dst, u32 size, u32 cols, u32 half_step, u32 square) {
  const u32 at = (blockIdx.x * blockDim.x + threadIdx.x) * 4;
  if (at >= size) return;
  const u32 word = codes[at / 4];
  const u32 count = min(4u, size - at);
  float v[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  if (other && count == 4) {
    const float4 four = *(const float4*)(other + at);
    v[0] = four.x;
    v[1] = four.y;
    v[2] = four.z;
    v[3] = four.w;
  } else if (other) {
    for (u32 i = 0; i < count; i++) v[i] = other[at + i];
  }
  u32 row = at / cols;
  u32 next = (row + 1) * cols;
#pragma unroll
  for (u32 i = 0; i < 4; i++) {
    if (i < count && at + i == next) {
      row++;
      next += cols;
    }
    const float own = decoded(word, i, i < count ? exponents[row] : -111, half_step != 0, square != 0);
    v[i] = other ? pf::limit(pf::add(v[i], own)) : own;
  }
  if (count == 4) {
    *(float4*)(dst + at) = make_float4(v[0], v[1], v[2], v[3]);
  } else {
    for (u32 i = 0; i < count; i++) dst[at + i] = v[i];
  }
}

// Exact integer products on the tensor cores: one block's tile of A B^T. Behind pf32.cuh, tensor.cuh and the constants that cuda.ts writes:
// NB (bits), BM x BN (the block's tile), WM x WN (a warp's), STAGES (of the pipeline) and FLUSH (0, or after how much of the contraction i32 sums go to i64).
//
// Equation   sum[m][n] = sum over k of qa[m][k] * qb[n][k], begin <= k < end.
// Layout     Planes of digits (device/cuda/launch.ts), lines of `stride` bytes, the contraction contiguous. In shared memory a line's 64 bytes are four chunks of 16;
//            chunk c of line r lies at c ^ (r / 2 % 4), so that the eight rows of a matrix that is loaded at once lie in different banks.
// Digits     7 bits: one product. 10 bits, q = 32 h + l: three (Karatsuba), hh, ll and (h + l)(h + l), since |h + l| <= 48 is a byte too. The sums of digits are made
//            in registers, byte-wise: a third plane would cost half as much shared memory traffic again, which bounds the kernel before the adds do (per k32 of a
//            128 x 128 tile: 768 clocks of traffic with the plane, 512 without, against 619 of mma). 15 bits, q = 256 h + l: four, hh, hl + lh in one sum, ll.
// Exactness  i32 sums hold for so long a contraction: 133,120 * 127^2, 932,032 * 48^2 and 65,536 * 2 * 127 * 128 are below 2^31. The builder cuts a longer one
//            into spans over blocks, or sets FLUSH.
// Work       STAGES tiles of 64 bytes are on their way at once; a warp holds WM x WN sums in registers (three sets of them beyond 7 bits).

constexpr u32 BK = 64;
constexpr u32 PLANES = NB == 7 ? 1 : 2;
constexpr u32 SETS = NB == 7 ? 1 : 3;
constexpr u32 WARPS_N = BN / WN;
constexpr u32 THREADS = 32 * (BM / WM) * WARPS_N;
constexpr u32 MT = WM / 16;
constexpr u32 NT = WN / 8;
constexpr u32 A_PLANE = BM * BK;
constexpr u32 B_PLANE = BN * BK;
constexpr u32 STAGE = PLANES * (A_PLANE + B_PLANE);

typedef i32 Sums[SETS][MT][NT][4];

// Lines first, first + 1, ... of an operand; those after `last` are read as it.
struct Side {
  const i8* low;
  const i8* high;
  size_t stride;
  u32 first;
  u32 last;
};

struct Span {
  u32 begin;
  u32 end;
};

// 16 bytes from column `at` on; those outside the span are 0.
__device__ __forceinline__ void copy_masked(i8* to, const i8* from, u32 at, Span span) {
#pragma unroll 1
  for (u32 i = 0; i < 16; i++) to[i] = at + i >= span.begin && at + i < span.end ? from[i] : (i8)0;
}

template <u32 LINES, bool MASKED>
__device__ __forceinline__ void copy_plane(i8* shared, const i8* plane, const Side& side, u32 k, Span span) {
#pragma unroll
  for (u32 i = 0; i < LINES * 4 / THREADS; i++) {
    const u32 item = threadIdx.x + i * THREADS;
    const u32 line = item / 4;
    const u32 chunk = item % 4;
    const u32 at = k + 16 * chunk;
    const i8* const from = plane + min(side.first + line, side.last) * side.stride + at;
    i8* const to = shared + line * BK + 16 * (chunk ^ (line / 2 % 4));
    // One of the factors is enough to mask.
    if (MASKED && at < span.end && (at < span.begin || at + 16 > span.end)) {
      copy_masked(to, from, at, span);
    } else {
      copy_async16(to, at < span.end ? from : plane, at < span.end);
    }
  }
}

__device__ __forceinline__ void copy_stage(i8* stage, const Side& a, const Side& b, u32 k, Span span) {
  copy_plane<BM, true>(stage, a.low, a, k, span);
  if (PLANES > 1) copy_plane<BM, true>(stage + A_PLANE, a.high, a, k, span);
  copy_plane<BN, false>(stage + PLANES * A_PLANE, b.low, b, k, span);
  if (PLANES > 1) copy_plane<BN, false>(stage + PLANES * A_PLANE + B_PLANE, b.high, b, k, span);
}

// Sums of bytes that do not leave a byte.
__device__ __forceinline__ u32 add_bytes(u32 x, u32 y) {
  return ((x & 0x7f7f7f7fu) + (y & 0x7f7f7f7fu)) ^ ((x ^ y) & 0x80808080u);
}

// A warp's place: where its lines begin in a plane of a stage, for this lane of a matrix load.
struct Place {
  u32 a;
  u32 b;
};

__device__ __forceinline__ Place place() {
  const u32 lane = threadIdx.x % 32;
  const u32 warp = threadIdx.x / 32;
  const u32 swizzle = lane / 2 % 4;
  const u32 a_line = (warp / WARPS_N) * WM + lane % 16;
  const u32 b_line = (warp % WARPS_N) * WN + lane % 8 + lane / 16 * 8;
  return Place{a_line * BK + 16 * ((lane / 16) ^ swizzle), b_line * BK + 16 * ((lane / 8 % 2) ^ swizzle)};
}

typedef u32 Left[NB == 10 ? 3 : PLANES][MT][4];

// The products of one pair of digits' words; a is MT fragments, b one.
__device__ __forceinline__ void multiply_fragments(Sums& sums, const Left& a, const u32 (&b)[PLANES][2], u32 nt) {
  u32 b_sum[2];
  if (NB == 10) {
    b_sum[0] = add_bytes(b[0][0], b[PLANES - 1][0]);
    b_sum[1] = add_bytes(b[0][1], b[PLANES - 1][1]);
  }
#pragma unroll
  for (u32 mt = 0; mt < MT; mt++) {
    mma_s8(sums[0][mt][nt], a[0][mt], b[0]);
    if constexpr (NB == 10) {
      mma_s8(sums[1][mt][nt], a[2][mt], b_sum);
      mma_s8(sums[2][mt][nt], a[1][mt], b[1]);
    }
    if constexpr (NB == 15) {
      mma_s8(sums[1][mt][nt], a[1][mt], b[0]);
      mma_s8(sums[1][mt][nt], a[0][mt], b[1]);
      mma_s8(sums[2][mt][nt], a[1][mt], b[1]);
    }
  }
}

__device__ __forceinline__ void multiply_stage(Sums& sums, const i8* stage, Place lane) {
#pragma unroll
  for (u32 half = 0; half < 2; half++) {
    // The second half's chunks are two further: bit 1 of the chunk, bit 5 of the address.
    const i8* const a_at = stage + (lane.a ^ (half * 32));
    const i8* const b_at = stage + PLANES * A_PLANE + (lane.b ^ (half * 32));
    Left a;
#pragma unroll
    for (u32 mt = 0; mt < MT; mt++) {
#pragma unroll
      for (u32 p = 0; p < PLANES; p++) load_matrix_x4(a[p][mt], a_at + p * A_PLANE + mt * 16 * BK);
      if constexpr (NB == 10) {
#pragma unroll
        for (u32 i = 0; i < 4; i++) a[2][mt][i] = add_bytes(a[0][mt][i], a[1][mt][i]);
      }
    }
#pragma unroll
    for (u32 nt = 0; nt < NT; nt += 2) {
      u32 b[2][PLANES][2];
#pragma unroll
      for (u32 p = 0; p < PLANES; p++) {
        u32 words[4];
        load_matrix_x4(words, b_at + p * B_PLANE + nt * 8 * BK);
        b[0][p][0] = words[0];
        b[0][p][1] = words[1];
        b[1][p][0] = words[2];
        b[1][p][1] = words[3];
      }
      multiply_fragments(sums, a, b[0], nt);
      multiply_fragments(sums, a, b[1], nt + 1);
    }
  }
}

__device__ __forceinline__ void clear(Sums& sums) {
#pragma unroll
  for (u32 set = 0; set < SETS; set++)
#pragma unroll
    for (u32 mt = 0; mt < MT; mt++)
#pragma unroll
      for (u32 nt = 0; nt < NT; nt++)
#pragma unroll
        for (u32 i = 0; i < 4; i++) sums[set][mt][nt][i] = 0;
}

// Adds the products of one span; `shared` holds STAGES stages.
__device__ __forceinline__ void multiply(Sums& sums, i8* shared, const Side& a, const Side& b, Span span) {
  const u32 first = span.begin & ~15u;
  const u32 steps = span.end > span.begin ? (span.end - first + BK - 1) / BK : 0;
  const Place lane = place();
#pragma unroll
  for (u32 s = 0; s + 1 < STAGES; s++) {
    if (s < steps) copy_stage(shared + s * STAGE, a, b, first + s * BK, span);
    copy_commit();
  }
  u32 from = 0;
  u32 into = STAGES - 1;
#pragma unroll 1
  for (u32 step = 0; step < steps; step++) {
    copy_wait<STAGES - 2>();
    // What landed is everyone's, and nobody reads the stage that is written next.
    __syncthreads();
    if (step + STAGES - 1 < steps) copy_stage(shared + into * STAGE, a, b, first + (step + STAGES - 1) * BK, span);
    copy_commit();
    multiply_stage(sums, shared + from * STAGE, lane);
    from = from + 1 == STAGES ? 0 : from + 1;
    into = into + 1 == STAGES ? 0 : into + 1;
  }
  copy_wait<0>();
  __syncthreads();
}

// What a sum is once its digits are put together: one i32 sum is that by itself.
template <bool WIDE>
struct WholeOf {
  typedef i64 type;
};
template <>
struct WholeOf<false> {
  typedef i32 type;
};
typedef WholeOf<NB != 7 || FLUSH != 0>::type Whole;

__device__ __forceinline__ Whole whole(const Sums& sums, u32 mt, u32 nt, u32 i) {
  const i32 low = sums[0][mt][nt][i];
  if (NB == 7) return low;
  const i64 middle = sums[SETS / 2][mt][nt][i];
  const i64 high = sums[SETS - 1][mt][nt][i];
  // 10 bits: 1024 hh + 32 (middle - hh - ll) + ll.
  if (NB == 10) return (Whole)(992 * high + 32 * middle - 31 * (i64)low);
  return (Whole)(65536 * high + 256 * middle + low);
}

// Words from one staged row to the next: padded so that the rows that are written at once lie in different banks.
constexpr u32 STAGED = WN + 8;

struct alignas(2 * sizeof(Whole)) Pair {
  Whole x;
  Whole y;
};

typedef Whole Wholes[MT][NT][4];

// Hands a warp's results to `out`, 16 rows at a time through shared memory: so that `out` is a loop, and its neighbours in it are neighbours in a row.
template <class Out>
__device__ __forceinline__ void emit(i8* shared, const Wholes& sums, const Out& out) {
  const u32 lane = threadIdx.x % 32;
  const u32 warp = threadIdx.x / 32;
  Whole* const staged = (Whole*)shared + warp * 16 * STAGED;
  const u32 at = lane / 4 * STAGED + lane % 4 * 2;
#pragma unroll 1
  for (u32 mt = 0; mt < MT; mt++) {
    // Registers have no index that is known only when the kernel runs.
#pragma unroll
    for (u32 j = 0; j < MT; j++) {
      if (j != mt) continue;
#pragma unroll
      for (u32 nt = 0; nt < NT; nt++) {
        *(Pair*)(staged + at + nt * 8) = Pair{sums[j][nt][0], sums[j][nt][1]};
        *(Pair*)(staged + at + nt * 8 + 8 * STAGED) = Pair{sums[j][nt][2], sums[j][nt][3]};
      }
    }
    __syncwarp();
    out.rows((warp / WARPS_N) * WM + mt * 16, (warp % WARPS_N) * WN, staged);
    __syncwarp();
  }
}

// Puts digits' sums together, and adds them to `into` where MORE.
template <bool MORE>
__device__ __forceinline__ void collect(Wholes& into, const Sums& sums) {
#pragma unroll
  for (u32 mt = 0; mt < MT; mt++)
#pragma unroll
    for (u32 nt = 0; nt < NT; nt++)
#pragma unroll
      for (u32 i = 0; i < 4; i++) into[mt][nt][i] = whole(sums, mt, nt, i) + (MORE ? into[mt][nt][i] : 0);
}

// The whole of a block's work: the products of `a` and `b` over `span`, to `out`.
template <class Out>
__device__ __forceinline__ void product(i8* shared, const Side& a, const Side& b, Span span, const Out& out) {
  Wholes totals;
  Sums sums;
  if constexpr (FLUSH == 0) {
    clear(sums);
    multiply(sums, shared, a, b, span);
    collect<false>(totals, sums);
  } else {
    clear(sums);
    collect<false>(totals, sums);
#pragma unroll 1
    for (Span part = span; part.begin < span.end; part.begin = part.end) {
      part.end = min(span.end, (part.begin & ~15u) + FLUSH);
      clear(sums);
      multiply(sums, shared, a, b, part);
      collect<true>(totals, sums);
    }
  }
  emit(shared, totals, out);
}

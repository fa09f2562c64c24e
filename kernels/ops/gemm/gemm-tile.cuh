// Exact integer products on the tensor cores: one block's tile of A B^T. Behind pf32.cuh, tensor.cuh and the constants that cuda.ts writes:
// NB (bits), BM x BN (the block's tile), WM x WN (a warp's), STAGES (of the pipeline) and FLUSH (0, or after how much of the contraction i32 sums go to i64).
//
// Equation   sum[m][n] = sum over k of qa[m][k] * qb[n][k], begin <= k < end.
// Layout     Planes of digits (device/cuda/launch.ts), lines of `stride` bytes, the contraction contiguous. In shared memory a line's 64 bytes are four chunks of 16;
//            chunk c of line r lies at c ^ (r / 2 % 4), so that the eight rows of a matrix that is loaded at once lie in different banks.
// Digits     7 bits: one product. 10 bits, q = 32 h + l: three (Karatsuba), hh, ll and (h + l)(h + l), since |h + l| <= 48 is a byte too. The sums of digits are made
//            in registers, byte-wise: a third plane would cost half as much shared memory traffic again, which bounds the kernel before the adds do (estimated, per k32 of a
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

// 16-byte chunks of a plane's tile that a thread copies.
constexpr u32 A_ITEMS = BM * 4 / THREADS;
constexpr u32 B_ITEMS = BN * 4 / THREADS;
// Chunks from one of a thread's items to the next lie so many lines apart, a multiple of 8: its place in the swizzle is the same in all of them.
constexpr u32 ITEM_LINES = THREADS / 4;

// Bytes from a tile's first line to a chunk of it. A contraction of any length has lines of any length.
template <bool ANY>
struct OffsetOf {
  typedef u32 type;
};
template <>
struct OffsetOf<true> {
  typedef size_t type;
};
typedef OffsetOf<FLUSH != 0>::type Offset;

// Where this thread's chunks come from, and where the first of them goes in a plane of a stage.
struct Routes {
  Offset a[A_ITEMS];
  Offset b[B_ITEMS];
  u32 to;
};

__device__ __forceinline__ Routes routes_of(const Side& a, const Side& b) {
  const u32 line = threadIdx.x / 4;
  const u32 chunk = threadIdx.x % 4;
  Routes routes;
#pragma unroll
  for (u32 i = 0; i < A_ITEMS; i++) routes.a[i] = min(line + i * ITEM_LINES, a.last - a.first) * (Offset)a.stride + 16 * chunk;
#pragma unroll
  for (u32 i = 0; i < B_ITEMS; i++) routes.b[i] = min(line + i * ITEM_LINES, b.last - b.first) * (Offset)b.stride + 16 * chunk;
  routes.to = line * BK + 16 * (chunk ^ (line / 2 % 4));
  return routes;
}

// 16 bytes from column `at` on; those outside the span are 0. One of the factors is enough to mask, but neither is read where it may not be.
__device__ __forceinline__ void copy_chunk(i8* to, const i8* from, const i8* valid, u32 at, Span span, bool masked) {
  if (masked && at < span.end && (at < span.begin || at + 16 > span.end)) {
#pragma unroll 1
    for (u32 i = 0; i < 16; i++) to[i] = at + i >= span.begin && at + i < span.end ? from[i] : (i8)0;
  } else {
    copy_async16(to, at < span.end ? from : valid, at < span.end);
  }
}

template <u32 ITEMS>
__device__ __forceinline__ void copy_plane(i8* to, const i8* plane, const Offset (&offsets)[ITEMS], u32 k, Span span, bool whole, bool masked) {
  if (whole) {
#pragma unroll
    for (u32 i = 0; i < ITEMS; i++) copy_async16(to + i * ITEM_LINES * BK, plane + k + offsets[i], true);
    return;
  }
  // The first or the last of the contraction.
#pragma unroll
  for (u32 i = 0; i < ITEMS; i++) copy_chunk(to + i * ITEM_LINES * BK, plane + k + offsets[i], plane, k + threadIdx.x % 4 * 16, span, masked);
}

__device__ __forceinline__ void copy_stage(i8* stage, const Side& a, const Side& b, const Routes& routes, u32 k, Span span) {
  const bool inside = k >= span.begin && k + BK <= span.end;
  i8* const to = stage + routes.to;
  const size_t a_at = a.first * a.stride;
  const size_t b_at = b.first * b.stride;
  copy_plane(to, a.low + a_at, routes.a, k, span, inside, true);
  if (PLANES > 1) copy_plane(to + A_PLANE, a.high + a_at, routes.a, k, span, inside, true);
  copy_plane(to + PLANES * A_PLANE, b.low + b_at, routes.b, k, span, inside, false);
  if (PLANES > 1) copy_plane(to + PLANES * A_PLANE + B_PLANE, b.high + b_at, routes.b, k, span, inside, false);
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

// Fragments of MT rows' tiles (with the sums of digits), and of two columns' tiles: of half a stage, 32 bytes.
typedef u32 Left[NB == 10 ? 3 : PLANES][MT][4];
typedef u32 Right[2][PLANES][2];

// The second half's chunks are two further: bit 1 of the chunk, bit 5 of the address.
__device__ __forceinline__ void load_left(Left& a, const i8* stage, Place lane, u32 half) {
  const i8* const at = stage + (lane.a ^ (half * 32));
#pragma unroll
  for (u32 mt = 0; mt < MT; mt++) {
#pragma unroll
    for (u32 p = 0; p < PLANES; p++) load_matrix_x4(a[p][mt], at + p * A_PLANE + mt * 16 * BK);
    if constexpr (NB == 10) {
#pragma unroll
      for (u32 i = 0; i < 4; i++) a[2][mt][i] = add_bytes(a[0][mt][i], a[1][mt][i]);
    }
  }
}

// Columns' tiles 2 pair and 2 pair + 1.
__device__ __forceinline__ void load_right(Right& b, const i8* stage, Place lane, u32 half, u32 pair) {
  const i8* const at = stage + PLANES * A_PLANE + (lane.b ^ (half * 32)) + pair * 16 * BK;
#pragma unroll
  for (u32 p = 0; p < PLANES; p++) {
    u32 words[4];
    load_matrix_x4(words, at + p * B_PLANE);
    b[0][p][0] = words[0];
    b[0][p][1] = words[1];
    b[1][p][0] = words[2];
    b[1][p][1] = words[3];
  }
}

__device__ __forceinline__ void multiply_column(Sums& sums, const Left& a, const u32 (&b)[PLANES][2], u32 nt) {
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
      mma_s8(sums[2][mt][nt], a[1][mt], b[1]);
      mma_s8(sums[1][mt][nt], a[0][mt], b[1]);
    }
  }
}

__device__ __forceinline__ void multiply_pair(Sums& sums, const Left& a, const Right& b, u32 pair) {
  multiply_column(sums, a, b[0], 2 * pair);
  multiply_column(sums, a, b[1], 2 * pair + 1);
}

// All fragments of half a stage: where registers allow, so that one half is loaded while the other is multiplied.
struct Half {
  Left a;
  Right b[NT / 2];

  __device__ __forceinline__ void load(const i8* stage, Place lane, u32 half) {
    load_left(a, stage, lane, half);
#pragma unroll
    for (u32 pair = 0; pair < NT / 2; pair++) load_right(b[pair], stage, lane, half, pair);
  }

  __device__ __forceinline__ void multiply(Sums& sums) const {
#pragma unroll
    for (u32 pair = 0; pair < NT / 2; pair++) multiply_pair(sums, a, b[pair], pair);
  }
};

// With three sets of sums there are not: fragments of columns come as they are needed.
__device__ __forceinline__ void multiply_half(Sums& sums, const i8* stage, Place lane, u32 half) {
  Left a;
  load_left(a, stage, lane, half);
#pragma unroll
  for (u32 pair = 0; pair < NT / 2; pair++) {
    Right b;
    load_right(b, stage, lane, half, pair);
    multiply_pair(sums, a, b, pair);
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

// Adds the products of one span; `shared` holds STAGES stages. The copies of a stage are begun between its halves, where multiplications are on their way.
__device__ __forceinline__ void multiply(Sums& sums, i8* shared, const Side& a, const Side& b, Span span) {
  const u32 first = span.begin & ~15u;
  const u32 steps = span.end > span.begin ? (span.end - first + BK - 1) / BK : 0;
  const Place lane = place();
  const Routes routes = routes_of(a, b);
#pragma unroll
  for (u32 s = 0; s + 1 < STAGES; s++) {
    if (s < steps) copy_stage(shared + s * STAGE, a, b, routes, first + s * BK, span);
    copy_commit();
  }
  copy_wait<STAGES - 2>();
  __syncthreads();
  Half now;
  if (SETS == 1 && steps > 0) now.load(shared, lane, 0);
  u32 from = 0;
  u32 into = STAGES - 1;
#pragma unroll 1
  for (u32 step = 0; step < steps; step++) {
    const i8* const stage = shared + from * STAGE;
    Half then;
    if constexpr (SETS == 1) {
      then.load(stage, lane, 1);
      now.multiply(sums);
    } else {
      multiply_half(sums, stage, lane, 0);
    }
    if (step + STAGES - 1 < steps) copy_stage(shared + into * STAGE, a, b, routes, first + (step + STAGES - 1) * BK, span);
    copy_commit();
    from = from + 1 == STAGES ? 0 : from + 1;
    into = into + 1 == STAGES ? 0 : into + 1;
    if constexpr (SETS > 1) multiply_half(sums, stage, lane, 1);
    // The next stage has landed and is everyone's, and nobody reads this one, which is written next.
    copy_wait<STAGES - 2>();
    __syncthreads();
    if constexpr (SETS == 1) {
      if (step + 1 < steps) now.load(shared + from * STAGE, lane, 0);
      then.multiply(sums);
    }
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

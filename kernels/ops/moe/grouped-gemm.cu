// Exact products of each expert's rows, or over each expert's part of the contraction: a tile a block. Body; pf32.cuh, view.cuh, tensor.cuh, the constants,
// gemm-tile.cuh, gemm-epilogue.cuh and gemm-out.cuh come first.
//
// Equation   rows: dst[r][n] = ROUND(sum_k A[r][k] * B[e][n][k], Ea + Eb - 2 nb), offsets[e] <= r < offsets[e + 1]; rows of no expert are 0.
//            contraction: dst[e][m][n] = ROUND(sum of A[m][r] * B[n][r] over offsets[e] <= r < offsets[e + 1]), then clamp(residual + it).
// Layout     A [M][a_stride], B [E][N][b_stride] ([N][b_stride]) digits; dst [M][N] ([E][M][N]).
// Work       A tile of rows lies inside one expert, so there is up to one an expert more than M / BM; a block walks the offsets to find its own, and one that is
//            past the last does nothing. Positions of other experts in a contraction's first and last 16 bytes are masked.
// Requires   As in gemm.cu.

// Rows m0 .. m_end - 1 of A meet expert `expert`, or none (expert = E).
struct Rows {
  u32 m0;
  u32 m_end;
  u32 expert;
};

__device__ __forceinline__ Rows rows_of(const u32* offsets, u32 E, u32 M, u32 index) {
  u32 before = 0;
  for (u32 e = 0; e < E; e++) {
    const u32 start = min(offsets[e], M);
    const u32 end = max(start, min(offsets[e + 1], M));
    const u32 tiles = (end - start + BM - 1) / BM;
    if (index < before + tiles) return Rows{start + (index - before) * BM, end, e};
    before += tiles;
  }
  return Rows{min(offsets[E], M) + (index - before) * BM, M, E};
}

extern "C" __global__ void __launch_bounds__(THREADS)
    grouped_gemm(const i8* a_low, const i8* a_high, const i32* a_exponents, const i8* b_low, const i8* b_high, const i32* b_exponents,
                 const u32* offsets, const float* residual, float* dst, u32 M, u32 N, u32 K, u32 E, u32 a_stride, u32 b_stride, u32 contraction,
                 u32 tiles_m, u32 tiles_n) {
  extern __shared__ int4 dynamic[];
  const u32 n0 = blockIdx.x % tiles_n * BN;
  const u32 index = blockIdx.x / tiles_n;
  Rows rows{index % tiles_m * BM, M, index / tiles_m};
  Span span{0, K};
  u32 b_line = 0;
  size_t base = 0;
  if (contraction) {
    span = Span{min(offsets[rows.expert], K), min(offsets[rows.expert + 1], K)};
    base = (size_t)rows.expert * M * N;
  } else {
    rows = rows_of(offsets, E, M, index);
    if (rows.m0 >= M) return;
    // Rows of no expert: an empty sum.
    if (rows.expert == E) span.end = 0;
    else b_line = rows.expert * N;
  }
  const size_t b_at = (size_t)b_line * b_stride;
  const Side a{a_low, a_high, a_stride, rows.m0, rows.m_end - 1};
  const Side b{b_low + b_at, b_high + b_at, b_stride, n0, N - 1};
  const Epilogue epilogue{nullptr, nullptr, residual, nullptr, dst, 0};
  const Target target{epilogue, a_exponents, b_exponents + b_line, NB, 0, rows.m_end, N, base, N, 1};
  product((i8*)dynamic, a, b, span, Output{target, nullptr, rows.m0, n0});
}

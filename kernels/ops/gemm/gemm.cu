// GEMM: a tile of C a block. Body; pf32.cuh, view.cuh, tensor.cuh, the constants, gemm-tile.cuh, gemm-epilogue.cuh and gemm-out.cuh come first.
//
// Equation   dst[b][m][n] = epilogue(ROUND(sum_k A[b][m][k] * B[b][n][k], Ea[m] + Eb[n] - 2 nb)); gemm/spec.ts.
// Layout     a [batch][a_lines][a_stride], b [batch][b_lines][b_stride] digits; exponents [batch][rows]; dst a view, x, residual and preactivation like it.
// Work       Blocks in groups of 8 tiles of rows, so that those that run at once share what they read. With `splits` > 1 each block has k_span of the contraction
//            and adds its sums to `sums` [batch][M][N]; gemm-finish.cu does the rest. Tiles right of the diagonal only store.
// Requires   STAGES * STAGE bytes of dynamic shared memory, or what emit takes if that is more; i32 sums that hold (gemm-tile.cuh).

constexpr u32 GROUP = 8;

extern "C" __global__ void __launch_bounds__(THREADS)
    gemm(const i8* a_low, const i8* a_high, const i32* a_exponents, const i8* b_low, const i8* b_high, const i32* b_exponents, u64* sums,
         const float* bias, const float* x, const float* residual, float* preactivation, float* dst, u32 offset, u32 s0, u32 n1, u32 s1,
         u32 row_stride, u32 col_stride, u32 M, u32 N, u32 K, u32 a_lines, u32 a_stride, u32 b_lines, u32 b_stride, u32 b_folded, u32 reach,
         u32 kind, u32 tiles_m, u32 tiles_n, u32 splits, u32 k_span) {
  extern __shared__ int4 dynamic[];
  i8* const shared = (i8*)dynamic;

  const u32 tiles = tiles_m * tiles_n;
  const u32 tile = blockIdx.x % tiles;
  const u32 split = blockIdx.x / tiles % splits;
  const u32 batch = blockIdx.x / tiles / splits;
  const u32 group = tile / (GROUP * tiles_n);
  const u32 height = min(GROUP, tiles_m - group * GROUP);
  const u32 m0 = (group * GROUP + tile % (GROUP * tiles_n) % height) * BM;
  const u32 n0 = tile % (GROUP * tiles_n) / height * BN;

  const size_t a_at = (size_t)batch * a_lines * a_stride;
  const size_t b_at = (size_t)batch * b_lines * b_stride;
  const Side a{a_low + a_at, a_high + a_at, a_stride, m0, M - 1};
  const Side b{b_low + b_at, b_high + b_at, b_stride, n0, N - 1};
  // The tile's last row reaches furthest.
  const bool empty = reach != 0 && n0 >= min(m0 + BM, M) - 1 + reach;
  const Span span{split * k_span, empty ? split * k_span : min(K, (split + 1) * k_span)};
  const View view{offset, s0, n1, s1, row_stride, col_stride};
  const Epilogue epilogue{bias, x, residual, preactivation, dst, kind};
  const i32* const b_scales = b_folded ? nullptr : b_exponents + (size_t)batch * b_lines;
  const Target target{epilogue, a_exponents + (size_t)batch * a_lines, b_scales, NB, reach, M, N, view.base(batch), row_stride, col_stride};
  if (splits == 1 || !empty) product(shared, a, b, span, Output{target, splits > 1 ? sums + (size_t)batch * M * N : nullptr, m0, n0});
}

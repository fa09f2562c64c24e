// GEMM whose contraction was cut into parts: the parts' exact sums become C, and are 0 again. Body; pf32.cuh, view.cuh and gemm-epilogue.cuh come first.
//
// Equation   dst[b][m][n] = epilogue(ROUND(sums[b][m][n], Ea[m] + Eb[n] - 2 nb)); gemm/spec.ts.
// Layout     sums [batch][M][N] i64; the rest as in gemm.cu.
// Work       A warp takes 32 * HAND neighbours of a batch.

extern "C" __global__ void __launch_bounds__(256)
    gemm_finish(i64* sums, const i32* a_exponents, const i32* b_exponents, const float* bias, const float* x, const float* residual,
                float* preactivation, float* dst, u32 offset, u32 s0, u32 n1, u32 s1, u32 row_stride, u32 col_stride, u32 M, u32 N, u32 nb,
                u32 a_lines, u32 b_lines, u32 b_folded, u32 reach, u32 kind, u32 blocks) {
  const u32 batch = blockIdx.x / blocks;
  const u32 warp = blockIdx.x % blocks * 8u + threadIdx.x / 32u;
  const size_t size = (size_t)M * N;
  const size_t first = (size_t)warp * 32u * HAND + threadIdx.x % 32u;
  if (first >= size) return;
  const View view{offset, s0, n1, s1, row_stride, col_stride};
  const Epilogue epilogue{bias, x, residual, preactivation, dst, kind};
  const i32* const b_scales = b_folded ? nullptr : b_exponents + (size_t)batch * b_lines;
  const Target target{epilogue, a_exponents + (size_t)batch * a_lines, b_scales, (i32)nb, reach, M, N, view.base(batch), row_stride, col_stride};
  i64* const own = sums + batch * size;
  Hand hand;
#pragma unroll
  for (u32 i = 0; i < HAND; i++) {
    const size_t at = first + i * 32u;
    i64 sum = 0;
    if (at < size) {
      sum = own[at];
      own[at] = 0;
    }
    target.take(hand, i, at < size ? (u32)(at / N) : M, (u32)(at % N), sum);
  }
  epilogue.store(hand);
}

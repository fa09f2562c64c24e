// QUANT of rows in any layout, into rows or columns: through tiles in shared memory. Body; pf32.cuh, view.cuh and quantize.cuh come first.
//
// Equation   q[r][c] = round(src[r][c] * 2^(nb - E_r)); NUMERICS.md, QUANT.
// Layout     src: any view. low, high: [batch][dst_rows][stride] bytes, or [batch][cols][stride] with one row's digits a line apart when `across`. Rows that are
//            not written stay.
// Work       A block takes 32 rows of one batch, twice: for the largest elements, then by tiles of 64 columns to round. Neighbouring threads read what lies side
//            by side, rows (DOWN) or columns, and write words of four digits along the line, single bytes where a word is not the block's alone.
// Requires   256 threads.

constexpr u32 ROWS = 32;
constexpr u32 COLS = 64;
constexpr u32 THREADS = 256;
// Elements of a tile that a thread reads.
constexpr u32 EACH = ROWS * COLS / THREADS;

struct Tile {
  // Row 0, column 0 of the block in src.
  size_t base;
  u32 row_stride;
  u32 col_stride;
  u32 rows;
  u32 cols;
  bool down;

  // The thread's i-th element of a tile of `COLS` columns.
  __device__ __forceinline__ u32 row(u32 i) const {
    return down ? threadIdx.x % ROWS : threadIdx.x / COLS + i * (THREADS / COLS);
  }

  __device__ __forceinline__ u32 col(u32 i) const {
    return down ? threadIdx.x / ROWS + i * (THREADS / ROWS) : threadIdx.x % COLS;
  }

  __device__ __forceinline__ size_t at(u32 r, u32 c) const {
    return base + (size_t)r * row_stride + (size_t)c * col_stride;
  }
};

struct Source {
  const u32* words;
  const i32* fold;
  u32 nb;

  __device__ __forceinline__ u32 load(const Tile& tile, u32 r, u32 c) const {
    if (r >= tile.rows || c >= tile.cols) return 0u;
    const u32 u = words[tile.at(r, c)];
    return fold ? folded(u, fold[c], nb) : u;
  }
};

// Writes one plane of a tile: `digit` gives the digit of (row, column) of the tile.
template <class Digit>
__device__ __forceinline__ void put_rows(i8* plane, u32 stride, u32 rows, u32 c0, u32 cols, Digit digit) {
  for (u32 i = threadIdx.x; i < ROWS * COLS / 4u; i += THREADS) {
    const u32 r = i / (COLS / 4u);
    const u32 c = 4u * (i % (COLS / 4u));
    if (r < rows && c0 + c < cols)
      *(u32*)(plane + (size_t)r * stride + c0 + c) = bytes4(digit(r, c), digit(r, c + 1u), digit(r, c + 2u), digit(r, c + 3u));
  }
}

template <class Digit>
__device__ __forceinline__ void put_columns(i8* plane, u32 stride, u32 to, u32 rows, u32 c0, u32 cols, Digit digit) {
  for (u32 i = threadIdx.x; i < ROWS * COLS / 4u; i += THREADS) {
    const u32 r = 4u * (i % (ROWS / 4u));
    const u32 c = i / (ROWS / 4u);
    if (r >= rows || c0 + c >= cols) continue;
    i8* const at = plane + (size_t)(c0 + c) * stride + to + r;
    if (to % 4u == 0u && r + 4u <= rows) {
      *(u32*)at = bytes4(digit(r, c), digit(r + 1u, c), digit(r + 2u, c), digit(r + 3u, c));
    } else {
      for (u32 j = 0; j < min(4u, rows - r); j++) at[j] = (i8)digit(r + j, c);
    }
  }
}

extern "C" __global__ void __launch_bounds__(256, 3)
    quantize_tile(const u32* src, const i32* fold, const u32* scalars, const u32* position, i8* low, i8* high, i32* exponents, u32* width, u32 offset,
                  u32 s0, u32 n1, u32 s1, u32 row_stride, u32 col_stride, u32 rows, u32 cols, u32 blocks, u32 nb, u32 site, u32 fold_rows, u32 dst_rows,
                  u32 dst_row, u32 stride, u32 down, u32 across) {
  __shared__ u32 most[ROWS];
  __shared__ i32 digits[ROWS][COLS + 1];
  const View view{offset, s0, n1, s1, row_stride, col_stride};
  const u32 batch = blockIdx.x / blocks;
  const u32 r0 = (blockIdx.x % blocks) * ROWS;
  const u32 start = position ? position[0] : dst_row;
  // Rows past the end of dst are left out.
  const u32 fits = start >= dst_rows ? 0u : min(rows, dst_rows - start);
  if (blockIdx.x == 0u && threadIdx.x == 0u) width[0] = nb;
  if (r0 >= fits) return;
  const Tile tile{view.at(batch, r0, 0u), row_stride, col_stride, min(ROWS, fits - r0), cols, down != 0u};
  const Source source{src, fold ? fold + (size_t)batch * fold_rows : nullptr, nb};
  const u32 to = start + r0;

  if (threadIdx.x < ROWS) most[threadIdx.x] = 0u;
  __syncthreads();
  u32 own[EACH] = {};
  for (u32 c0 = 0; c0 < cols; c0 += COLS) {
#pragma unroll
    for (u32 i = 0; i < EACH; i++) own[i] = max(own[i], source.load(tile, tile.row(i), c0 + tile.col(i)) & 0x7fffffffu);
  }
#pragma unroll
  for (u32 i = 0; i < EACH; i++) {
    // Down, neighbours have other rows; else a warp's threads are in one.
    if (!tile.down) {
      for (u32 lanes = 16; lanes > 0; lanes >>= 1) own[i] = max(own[i], __shfl_xor_sync(0xffffffffu, own[i], lanes));
    }
    if (tile.down || threadIdx.x % 32u == 0u) atomicMax(&most[tile.row(i)], own[i]);
  }
  __syncthreads();

  Quant quant = quant_of(nb, scalars, site);
  if (threadIdx.x < tile.rows) {
    quant.row(most[threadIdx.x]);
    exponents[(size_t)batch * dst_rows + to + threadIdx.x] = quant.exponent();
  }
  const size_t plane = (size_t)batch * (across ? cols : dst_rows) * stride + (across ? 0u : (size_t)to * stride);
  const auto low_digit = [&](u32 r, u32 c) { return quant.low(digits[r][c]); };
  const auto high_digit = [&](u32 r, u32 c) { return quant.high(digits[r][c]); };
  u32 words[EACH];
#pragma unroll
  for (u32 i = 0; i < EACH; i++) words[i] = source.load(tile, tile.row(i), tile.col(i));
  for (u32 c0 = 0; c0 < cols; c0 += COLS) {
#pragma unroll
    for (u32 i = 0; i < EACH; i++) {
      const u32 r = tile.row(i);
      const u32 c = tile.col(i);
      quant.row(most[r]);
      digits[r][c] = quant.round(words[i], (u32)tile.at(r, c0 + c));
      // The next tile's, on their way while this one is written.
      words[i] = source.load(tile, r, c0 + COLS + c);
    }
    __syncthreads();
    if (across) {
      put_columns(low + plane, stride, to, tile.rows, c0, cols, low_digit);
      if (nb != 7u) put_columns(high + plane, stride, to, tile.rows, c0, cols, high_digit);
    } else {
      put_rows(low + plane, stride, tile.rows, c0, cols, low_digit);
      if (nb != 7u) put_rows(high + plane, stride, tile.rows, c0, cols, high_digit);
    }
    __syncthreads();
  }
}

// What tensor.cuh writes in inline PTX, for the emulation: integer matrix products of a warp, loads of their fragments, asynchronous copies.
//
// Included by cuda-on-cpu.h. Fragments are laid out lane by lane as the PTX ISA has them (mma.m16n8k32 with .s8, ldmatrix .x4). An asynchronous copy happens at once for an even
// seed and only when it is waited for with an odd one: a kernel must be right either way. Products wrap like the hardware's.
#pragma once

namespace emulation {
struct Product { int *c; const u32 *a, *b; };

/** Line `line` of a fragment of `lines` x 32 bytes: four lanes hold four bytes each of its first half in `first`, of its second in `second`. */
static inline bool fragment_line(short *out, Product *const *lanes, u32 line, bool left, u32 first, u32 second) {
  u32 any = 0;
  for (u32 tid = 0; tid < 4; tid++) {
    const Product *lane = lanes[line % 8 * 4 + tid];
    const u32 *words = left ? lane->a : lane->b;
    any |= words[first] | words[second];
    for (u32 i = 0; i < 4; i++) {
      out[tid * 4 + i] = (signed char)(words[first] >> (i * 8));
      out[16 + tid * 4 + i] = (signed char)(words[second] >> (i * 8));
    }
  }
  return any != 0;
}

__attribute__((optimize("O3"))) static int dot32(const short *a, const short *b) {
  int sum = 0;
  for (int k = 0; k < 32; k++) sum += a[k] * b[k];
  return sum;
}

/** Rows of zeros, of which padded tiles have many, cost nothing. */
static void product_done(void **parts, u32 lanes) {
  if (lanes != ~0u) fail("mma: %u lanes of 32 take part.", (u32)__builtin_popcount(lanes));
  Product *const *lane = (Product *const *)parts;
  alignas(16) short a[32], b[8][32];
  u32 columns = 0;
  for (u32 column = 0; column < 8; column++) columns |= (u32)fragment_line(b[column], lane, column, false, 0, 1) << column;
  for (u32 row = 0; row < 16 && columns; row++) {
    if (!fragment_line(a, lane, row, true, row / 8, row / 8 + 2)) continue;
    for (u32 rest = columns; rest; rest &= rest - 1) {
      const u32 column = (u32)__builtin_ctz(rest);
      int &c = lane[row % 8 * 4 + column / 2]->c[row / 8 * 2 + column % 2];
      c = (int)((u32)c + (u32)dot32(a, b[column]));
    }
  }
}

struct Load { u32 *to; const void *row; };
static void load_done(void **parts, u32 lanes) {
  if (lanes != ~0u) fail("ldmatrix: %u lanes of 32 take part.", (u32)__builtin_popcount(lanes));
  for (u32 lane = 0; lane < 32; lane++)
    for (u32 matrix = 0; matrix < 4; matrix++)
      __builtin_memcpy(((Load *)parts[lane])->to + matrix, (const char *)((Load *)parts[matrix * 8 + lane / 4])->row + lane % 4 * 4, 4);
}

static inline bool is_shared(const void *at) {
  const char *byte = (const char *)at;
  return (byte >= __bss_start && byte < _end) || (byte >= dynamic_shared && byte < dynamic_shared + shared_max);
}
static inline void check16(const void *at, bool shared, const char *what) {
  if ((u64)at % 16) fail("%s: address not aligned to 16 bytes.", what);
  if (is_shared(at) != shared) fail(shared ? "%s: not an address of shared memory." : "%s: not an address of global memory.", what);
}
} // namespace emulation

/** c += a b: 16 x 32 signed bytes by 32 x 8, in i32. All lanes of a warp together. */
static inline void mma_s8(int (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  emulation::Product part = {c, a, b};
  emulation::collective(~0u, emulation::product_done, &part, "mma");
}

/** Four 8 x 16-byte matrices: lane i gives the address of row i % 8 of matrix i / 8, and gets word lane % 4 of row lane / 4 of each. */
static inline void load_matrix_x4(unsigned (&to)[4], const void *shared_row) {
  emulation::check16(shared_row, true, "ldmatrix");
  emulation::touch(shared_row, 16, false);
  emulation::Load part = {to, shared_row};
  emulation::collective(~0u, emulation::load_done, &part, "ldmatrix");
}

/** 16 bytes to shared memory, zeros where not `real` (then `global` is not read). */
static inline void copy_async16(void *shared, const void *global, bool real) {
  using namespace emulation;
  check16(shared, true, "cp.async");
  if (real) check16(global, false, "cp.async");
  Copy copy = {shared, global, self->group, real, false};
  touch(shared, 16, true); // it may happen from now on, and until it is waited for
  if (now.seed % 2 == 0) perform(copy);
  copy.done = now.seed % 2 == 0;
  if (self->copies == copies_max) fail("cp.async: more than %u copies wait.", (u32)copies_max);
  copies_of(*self)[self->copies++] = copy;
}
static inline void copy_commit() { emulation::self->group++; }
template <int N> static inline void copy_wait() { emulation::finish_copies(N, false); }

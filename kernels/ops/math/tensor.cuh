// Tensor cores and asynchronous copies to shared memory: the only inline PTX there is. Behind pf32.cuh.
//
// mma_s8     c += a b for a warp, one mma.sync.m16n8k32: a 16 x 32 bytes by rows, b 32 x 8 by columns, c 16 x 8 i32. Thread t holds c[row t / 4 (+ 8 from c[2] on)]
//            [column 2 (t % 4) + 0, 1]; of a the words (row, k) = (t / 4, 4 (t % 4)), (+ 8, ), ( , + 16), (+ 8, + 16); of b (column t / 4, k = 4 (t % 4)) and k + 16.
// load       load_matrix_x4: four 8 x 8 matrices of 16-bit elements, so 8 rows of 16 bytes; thread 8 j + i names row i of matrix j, and gets word t % 4 of row t / 4 of each.
// copy       16 bytes to shared memory, or 16 zeros when not valid; both addresses are multiples of 16. copy_wait<N>: all but the N last groups have landed, for the
//            thread that asks: a barrier tells the others.
// Emulation  The emulation's header has the same functions (device/cuda/testing/cuda-on-cpu.h).
// Requires   sm_80; all threads of the warp in mma_s8 and load_matrix_x4.

#ifndef ATOLL_EMULATED

__device__ __forceinline__ void mma_s8(i32 (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void load_matrix_x4(u32 (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"((u32)__cvta_generic_to_shared(shared_row))
               : "memory");
}

__device__ __forceinline__ void copy_async16(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"((u32)__cvta_generic_to_shared(shared)), "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
               : "memory");
}

__device__ __forceinline__ void copy_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int N>
__device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

#endif

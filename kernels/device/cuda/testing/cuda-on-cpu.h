// The part of CUDA C++ that our kernels use, over fibers.h: what NVRTC knows without any #include, for g++.
//
// Warp primitives wait for every lane of their mask that lives and treat a value from a lane that takes no part as garbage. Conversions saturate as on
// the GPU. What a kernel should not rely on (__activemask, clocks, fused multiply-add, approximate functions) is not here.
// Source: CUDA C++ Programming Guide and the CUDA Math API's descriptions of each function.
#pragma once
#include <stddef.h>

#include "fibers.h"

#define ATOLL_EMULATED 1
#define __CUDA_ARCH__ 800

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __shared__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
/** `extern __shared__ T name[];`, which the driver rewrites to this. */
#define ATOLL_DYNAMIC_SHARED(T, name) T *const name = (T *)emulation::dynamic_shared;

#define threadIdx (emulation::self->index)
#define blockIdx (emulation::block_index)
#define blockDim (emulation::now.block)
#define gridDim (emulation::now.grid)
#define warpSize 32

extern "C" {
float floorf(float), ceilf(float), truncf(float), rintf(float), fabsf(float), copysignf(float, float), fminf(float, float), fmaxf(float, float);
double floor(double), ceil(double), trunc(double), rint(double), fabs(double), copysign(double, double), fmin(double, double), fmax(double, double);
float sqrtf(float), ldexpf(float, int), scalbnf(float, int);
double sqrt(double), ldexp(double, int), scalbn(double, int);
void *memcpy(void *, const void *, size_t), *memset(void *, int, size_t);
int abs(int);
}

// Vectors, aligned as on the GPU.
#define EMULATION_VECTOR(T, name, bytes) \
  struct alignas(bytes * 2) name##2 { T x, y; }; \
  struct alignas(bytes * 4 > 16 ? 16 : bytes * 4) name##4 { T x, y, z, w; }; \
  static inline name##2 make_##name##2(T x, T y) { return {x, y}; } \
  static inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATION_VECTOR(signed char, char, 1)
EMULATION_VECTOR(unsigned char, uchar, 1)
EMULATION_VECTOR(short, short, 2)
EMULATION_VECTOR(unsigned short, ushort, 2)
EMULATION_VECTOR(int, int, 4)
EMULATION_VECTOR(unsigned, uint, 4)
EMULATION_VECTOR(float, float, 4)
EMULATION_VECTOR(long long, longlong, 8)
EMULATION_VECTOR(unsigned long long, ulonglong, 8)
EMULATION_VECTOR(double, double, 8)
struct uint3 { unsigned x, y, z; };
typedef unsigned int uint;
typedef unsigned short ushort;
typedef unsigned char uchar;

#define EMULATION_MINMAX(T, U, R) \
  static inline R min(T a, U b) { return (R)a < (R)b ? (R)a : (R)b; } \
  static inline R max(T a, U b) { return (R)a > (R)b ? (R)a : (R)b; }
EMULATION_MINMAX(int, int, int)
EMULATION_MINMAX(unsigned, unsigned, unsigned)
EMULATION_MINMAX(int, unsigned, unsigned)
EMULATION_MINMAX(unsigned, int, unsigned)
EMULATION_MINMAX(long, long, long)
EMULATION_MINMAX(unsigned long, unsigned long, unsigned long)
EMULATION_MINMAX(long long, long long, long long)
EMULATION_MINMAX(unsigned long long, unsigned long long, unsigned long long)
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
static inline long long abs(long long a) { return a < 0 ? -a : a; }
static inline long long llabs(long long a) { return a < 0 ? -a : a; }
static inline float abs(float a) { return fabsf(a); }

namespace emulation {
template <class To, class From> static inline To bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  __builtin_memcpy(&to, &from, sizeof(to));
  return to;
}
/** Out of range goes to the nearest, no number to 0. */
template <class To, class From> static inline To saturate(From x, double low, double high, To lowest, To highest) {
  return x != x ? (To)0 : (double)x < low ? lowest : (double)x >= high ? highest : (To)x;
}
} // namespace emulation

static inline unsigned __float_as_uint(float x) { return emulation::bits<unsigned>(x); }
static inline int __float_as_int(float x) { return emulation::bits<int>(x); }
static inline float __uint_as_float(unsigned x) { return emulation::bits<float>(x); }
static inline float __int_as_float(int x) { return emulation::bits<float>(x); }
static inline long long __double_as_longlong(double x) { return emulation::bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return emulation::bits<double>(x); }
static inline int __double2hiint(double x) { return (int)(emulation::bits<unsigned long long>(x) >> 32); }
static inline int __double2loint(double x) { return (int)emulation::bits<unsigned long long>(x); }
static inline double __hiloint2double(int high, int low) {
  return emulation::bits<double>((unsigned long long)(unsigned)high << 32 | (unsigned)low);
}

static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __dmul_rn(double a, double b) { return a * b; }

#define EMULATION_CONVERT(name, From, To, low, high, least, most) \
  static inline To name##_rn(From x) { return emulation::saturate<To>(rint(x), low, high, least, most); } \
  static inline To name##_rd(From x) { return emulation::saturate<To>(floor(x), low, high, least, most); } \
  static inline To name##_ru(From x) { return emulation::saturate<To>(ceil(x), low, high, least, most); } \
  static inline To name##_rz(From x) { return emulation::saturate<To>(trunc(x), low, high, least, most); }
EMULATION_CONVERT(__float2int, float, int, -0x1p31, 0x1p31, -0x7fffffff - 1, 0x7fffffff)
EMULATION_CONVERT(__float2uint, float, unsigned, 0, 0x1p32, 0u, 0xffffffffu)
EMULATION_CONVERT(__float2ll, float, long long, -0x1p63, 0x1p63, -0x7fffffffffffffffll - 1, 0x7fffffffffffffffll)
EMULATION_CONVERT(__double2int, double, int, -0x1p31, 0x1p31, -0x7fffffff - 1, 0x7fffffff)
EMULATION_CONVERT(__double2ll, double, long long, -0x1p63, 0x1p63, -0x7fffffffffffffffll - 1, 0x7fffffffffffffffll)
static inline float __int2float_rn(int x) { return (float)x; }
static inline float __uint2float_rn(unsigned x) { return (float)x; }
static inline float __ll2float_rn(long long x) { return (float)x; }
static inline float __ull2float_rn(unsigned long long x) { return (float)x; }
static inline float __double2float_rn(double x) { return (float)x; }
static inline double __int2double_rn(int x) { return x; }
static inline double __ll2double_rn(long long x) { return (double)x; }

static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline unsigned __brev(unsigned x) {
  unsigned out = 0;
  for (int i = 0; i < 32; i++) out |= (x >> i & 1) << (31 - i);
  return out;
}
static inline int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
static inline long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const unsigned long long both = (unsigned long long)y << 32 | x;
  unsigned out = 0;
  for (int i = 0; i < 4; i++) {
    const unsigned pick = selector >> (i * 4) & 15, byte = (unsigned)(both >> ((pick & 7) * 8)) & 255;
    out |= (pick & 8 ? (byte & 128 ? 255u : 0u) : byte) << (i * 8);
  }
  return out;
}
static inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
  return (unsigned)(((unsigned long long)high << 32 | low) << (by & 31) >> 32);
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
  return (unsigned)(((unsigned long long)high << 32 | low) >> (by & 31));
}
static inline int __dp4a(int a, int b, int c) {
  unsigned sum = (unsigned)c;
  for (int i = 0; i < 32; i += 8) sum += (unsigned)((signed char)(a >> i) * (signed char)(b >> i));
  return (int)sum;
}
static inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
  for (int i = 0; i < 32; i += 8) c += (a >> i & 255) * (b >> i & 255);
  return c;
}

template <class T> static inline T __ldg(const T *at) { return *at; }
template <class T> static inline T __ldcg(const T *at) { return *at; }
template <class T> static inline T __ldcs(const T *at) { return *at; }
template <class T> static inline void __stcg(T *at, T value) { *at = value; }
template <class T> static inline void __stcs(T *at, T value) { *at = value; }
static inline void __threadfence() { emulation::fenced(); }
static inline void __threadfence_block() {}
[[noreturn]] static inline void __trap() { emulation::fail("__trap"); }

// Atomics: one thread runs at a time.
#define EMULATION_ATOMIC(name, expression) \
  template <class T> UNCHECKED static inline T name(T *at, decltype(T()) value) { \
    const T old = *at; \
    *at = (T)(expression); \
    return old; \
  }
EMULATION_ATOMIC(atomicMin, value < old ? value : old)
EMULATION_ATOMIC(atomicMax, value > old ? value : old)
EMULATION_ATOMIC(atomicExch, value)
EMULATION_ATOMIC(atomicAnd, old & value)
EMULATION_ATOMIC(atomicOr, old | value)
EMULATION_ATOMIC(atomicXor, old ^ value)
UNCHECKED static inline int atomicAdd(int *at, int value) {
  const int old = *at;
  *at = (int)((unsigned)old + (unsigned)value);
  return old;
}
UNCHECKED static inline unsigned atomicAdd(unsigned *at, unsigned value) {
  const unsigned old = *at;
  *at = old + value;
  return old;
}
UNCHECKED static inline unsigned long long atomicAdd(unsigned long long *at, unsigned long long value) {
  const unsigned long long old = *at;
  *at = old + value;
  return old;
}
template <class T> UNCHECKED static inline T atomicCAS(T *at, decltype(T()) expected, decltype(T()) value) {
  const T old = *at;
  if (old == expected) *at = value;
  return old;
}

// Barriers.
static inline void __syncthreads() { emulation::block_barrier("__syncthreads", false); }
static inline int __syncthreads_count(int predicate) {
  emulation::block_barrier("__syncthreads_count", predicate != 0);
  return (int)emulation::votes_before;
}
static inline int __syncthreads_or(int predicate) {
  emulation::block_barrier("__syncthreads_or", predicate != 0);
  return emulation::votes_before != 0;
}
static inline int __syncthreads_and(int predicate) {
  emulation::block_barrier("__syncthreads_and", predicate != 0);
  return emulation::votes_before == emulation::arrived_before;
}

namespace emulation {
struct Shuffle { u64 value, out; u32 from; };
static void shuffle_done(void **parts, u32 lanes) {
  for (u32 lane = 0; lane < 32; lane++) {
    if (!(lanes >> lane & 1)) continue;
    Shuffle *mine = (Shuffle *)parts[lane];
    mine->out = lanes >> mine->from & 1 ? ((Shuffle *)parts[mine->from])->value : (u64)garbage << 32 | garbage;
  }
}
template <class T> static inline T shuffle(u32 mask, T value, u32 from, const char *what) {
  static_assert(sizeof(T) <= 8, "a shuffled value has 8 bytes at most");
  Shuffle part = {0, 0, from & 31};
  __builtin_memcpy(&part.value, &value, sizeof(T));
  collective(mask, shuffle_done, &part, what);
  __builtin_memcpy(&value, &part.out, sizeof(T));
  return value;
}
struct Vote { u32 in, out; };
static void ballot_done(void **parts, u32 lanes) {
  u32 votes = 0;
  for (u32 lane = 0; lane < 32; lane++)
    if (lanes >> lane & 1) votes |= (u32)(((Vote *)parts[lane])->in != 0) << lane;
  for (u32 lane = 0; lane < 32; lane++)
    if (lanes >> lane & 1) *(Vote *)parts[lane] = {lanes, votes};
}
/** `in` comes back as the lanes that took part. */
static inline Vote ballot(u32 mask, int predicate, const char *what) {
  Vote part = {predicate != 0, 0};
  collective(mask, ballot_done, &part, what);
  return part;
}
template <class T> struct Reduction { T value; };
template <class T, class F> static void reduce_done(void **parts, u32 lanes) {
  T sum = T();
  bool first = true;
  for (u32 lane = 0; lane < 32; lane++) {
    if (!(lanes >> lane & 1)) continue;
    const T value = ((Reduction<T> *)parts[lane])->value;
    sum = first ? value : F::of(sum, value);
    first = false;
  }
  for (u32 lane = 0; lane < 32; lane++)
    if (lanes >> lane & 1) ((Reduction<T> *)parts[lane])->value = sum;
}
static inline u32 lane() { return self->linear & 31; }
} // namespace emulation

static inline void __syncwarp(unsigned mask = 0xffffffffu) { emulation::collective(mask, emulation::sync_done, nullptr, "__syncwarp"); }
template <class T> static inline T __shfl_sync(unsigned mask, T value, int from, int width = 32) {
  return emulation::shuffle(mask, value, (emulation::lane() & ~(unsigned)(width - 1)) | ((unsigned)from & (unsigned)(width - 1)), "__shfl_sync");
}
template <class T> static inline T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32) {
  const unsigned lane = emulation::lane(), last = lane | (unsigned)(width - 1), from = (lane ^ (unsigned)with) & 31;
  return emulation::shuffle(mask, value, from <= last ? from : lane, "__shfl_xor_sync");
}
template <class T> static inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const unsigned lane = emulation::lane(), last = lane | (unsigned)(width - 1);
  return emulation::shuffle(mask, value, lane + by <= last ? lane + by : lane, "__shfl_down_sync");
}
template <class T> static inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
  const unsigned lane = emulation::lane(), first = lane & ~(unsigned)(width - 1);
  return emulation::shuffle(mask, value, lane >= first + by ? lane - by : lane, "__shfl_up_sync");
}
static inline unsigned __ballot_sync(unsigned mask, int predicate) { return emulation::ballot(mask, predicate, "__ballot_sync").out; }
static inline int __any_sync(unsigned mask, int predicate) { return emulation::ballot(mask, predicate, "__any_sync").out != 0; }
static inline int __all_sync(unsigned mask, int predicate) {
  const emulation::Vote vote = emulation::ballot(mask, predicate, "__all_sync");
  return vote.out == vote.in;
}
#define EMULATION_REDUCE(name, T, expression) \
  namespace emulation { struct name##_##T { static T of(T a, T b) { return (T)(expression); } }; } \
  static inline T name(unsigned mask, T value) { \
    emulation::Reduction<T> part = {value}; \
    emulation::collective(mask, emulation::reduce_done<T, emulation::name##_##T>, &part, #name); \
    return part.value; \
  }
EMULATION_REDUCE(__reduce_and_sync, unsigned, a & b)
EMULATION_REDUCE(__reduce_or_sync, unsigned, a | b)
EMULATION_REDUCE(__reduce_xor_sync, unsigned, a ^ b)
EMULATION_REDUCE(__reduce_add_sync, unsigned, a + b)
EMULATION_REDUCE(__reduce_min_sync, unsigned, a < b ? a : b)
EMULATION_REDUCE(__reduce_max_sync, unsigned, a > b ? a : b)
EMULATION_REDUCE(__reduce_add_sync, int, (unsigned)a + (unsigned)b)
EMULATION_REDUCE(__reduce_min_sync, int, a < b ? a : b)
EMULATION_REDUCE(__reduce_max_sync, int, a > b ? a : b)

#include "tensor-on-cpu.h"

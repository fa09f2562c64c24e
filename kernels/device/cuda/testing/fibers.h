// Threads of a CUDA block as fibers of one thread of this processor, so that barriers and warp primitives are what they are on a GPU.
//
// A thread runs until it waits or returns; then the next one runs. The order of threads and of blocks is the natural one for seed 0 and a seeded
// permutation otherwise. A block where everyone waits for someone who never comes is an error, and so is what the sanitizer's checks find; an error ends
// the launch. Shared variables are static: they lie in .bss, and nothing else does (this file's own state has a section of its own).
// Limits: x86-64 and arm64 on Linux; one launch at a time in a process.
#pragma once

namespace emulation {

typedef unsigned int u32;
typedef unsigned long long u64;

enum { threads_max = 1024, stack_bytes = 64 << 10, shared_max = 232448, shared_margin = 4096, error_bytes = 1024 };
const u32 garbage = 0xffa5a5a5u; // A float that is no number, a large unsigned, a negative integer.

struct Index { u32 x, y, z; };

/** One lane's part in a warp primitive: `done` gets everyone's, by lane, once all have come. */
typedef void (*Done)(void **parts, u32 lanes);
static void sync_done(void **, u32) {}
/** The one primitive after which lanes see what others of their warp wrote. */
static inline bool orders_memory(Done done) { return done == sync_done; }

enum State { fresh, ready, at_block, at_warp, gone };

struct Copy { void *to; const void *from; u32 group; bool real, done; };

struct Thread {
  void *sp;
  char *stack;
  Index index;
  u32 linear, mask, copies, group;
  State state;
  Done done;
  void *part;
  const char *what;
};

struct Warp { u32 live, waiting; };

/** An allocation of the driver's; `shadow` as checks.h has it, for each byte. */
struct Region {
  u64 start, bytes;
  struct Shadow *shadow;
};

struct Launch {
  Index grid, block;
  u32 shared, seed;
  char *stacks;
  const Region *regions;
  u64 region_count;
  struct Shadow *shared_shadow;
  char *error;
  void (*invoke)(const u64 *args);
  const char *name;
};

#define EMULATION_STATE __attribute__((section("atoll_state")))
EMULATION_STATE static Launch now = {};
EMULATION_STATE static Thread threads[threads_max] = {};
EMULATION_STATE static Warp warps[threads_max / 32] = {};
EMULATION_STATE static Thread *self = nullptr;
EMULATION_STATE static void *scheduler_sp = nullptr;
EMULATION_STATE static char *free_stacks[threads_max] = {};
EMULATION_STATE static u32 free_count = 0, live = 0, waiting = 0, votes = 0, votes_before = 0, arrived_before = 0;
EMULATION_STATE static const char *barrier = nullptr;
EMULATION_STATE static Index block_index = {};
EMULATION_STATE static u64 arguments[128] = {};
EMULATION_STATE static bool failed = false;
EMULATION_STATE static int busy = 0;
EMULATION_STATE alignas(1024) static char dynamic_shared[shared_max + shared_margin] = {};
const u32 copies_max = 64;
// Grows with every block and barrier, over all launches of a driver: what has one stamp is not ordered but within a warp (warp_stamps) or a thread.
EMULATION_STATE static u32 stamp = 0, launch_stamp = 0, block_stamp = 0, warp_stamps[threads_max / 32] = {};

extern "C" char __bss_start[] __attribute__((visibility("hidden")));
extern "C" char _end[] __attribute__((visibility("hidden")));
extern "C" int snprintf(char *, size_t, const char *, ...);
extern "C" int sched_yield();

extern "C" void atoll_switch(void **from, void *to) __attribute__((visibility("hidden")));
#if defined(__x86_64__)
asm(R"(.text
.hidden atoll_switch
.globl atoll_switch
.type atoll_switch, @function
atoll_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
#elif defined(__aarch64__)
asm(R"(.text
.hidden atoll_switch
.globl atoll_switch
.type atoll_switch, %function
atoll_switch:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)");
#else
#error "The emulation knows x86-64 and arm64 only."
#endif

static inline void yield() { atoll_switch(&self->sp, scheduler_sp); }

/** Says what is wrong, and where; the launch ends. */
template <class... A> static void report(const char *format, A... values) {
  if (failed) return;
  failed = true;
  int at = snprintf(now.error, error_bytes, "%s, block (%u, %u, %u)", now.name, block_index.x, block_index.y, block_index.z);
  if (self) at += snprintf(now.error + at, error_bytes - at, ", thread (%u, %u, %u)", self->index.x, self->index.y, self->index.z);
  at += snprintf(now.error + at, error_bytes - at, ": ");
  snprintf(now.error + at, error_bytes - at, format, values...);
}

/** The same in a thread, which never goes on. */
template <class... A> [[noreturn]] static void fail(const char *format, A... values) {
  report(format, values...);
  yield();
  __builtin_unreachable();
}

#include "checks.h"

/** A thread's copies that wait lie at the far end of its stack, before the word that shows when the stack is too small. */
static inline Copy *copies_of(Thread &thread) { return (Copy *)(thread.stack + 16); }

static void perform(const Copy &copy) {
  touch(copy.to, 16, true);
  if (copy.done) return;
  if (copy.real) touch(copy.from, 16, false);
  if (copy.real) __builtin_memcpy(copy.to, copy.from, 16);
  else __builtin_memset(copy.to, 0, 16);
}

/** Performs the copies of every group but the latest `left`; with `uncommitted`, those too. */
static void finish_copies(u32 left, bool uncommitted) {
  Copy *list = copies_of(*self);
  u32 kept = 0;
  for (u32 i = 0; i < self->copies; i++) {
    const Copy copy = list[i];
    if (uncommitted || copy.group + left < self->group) perform(copy);
    else list[kept++] = copy;
  }
  self->copies = kept;
}

/** Lets the lanes of one call go on if all that live have come. */
static bool complete(Warp &warp, Thread *first, u32 mask) {
  const u32 lanes = mask & warp.live;
  if ((warp.waiting & lanes) != lanes || !lanes) return false;
  Thread *one = first + __builtin_ctz(lanes);
  void *parts[32] = {};
  for (u32 rest = lanes; rest; rest &= rest - 1) {
    Thread &lane = first[__builtin_ctz(rest)];
    if (lane.mask != mask || lane.done != one->done) return false;
    parts[__builtin_ctz(rest)] = lane.part;
  }
  one->done(parts, lanes);
  if (orders_memory(one->done) && lanes == warp.live) warp_stamps[&warp - warps]++;
  for (u32 rest = lanes; rest; rest &= rest - 1) first[__builtin_ctz(rest)].state = ready;
  warp.waiting &= ~lanes;
  return true;
}

/** Waits for every lane of `mask` that lives, then `done` runs once over what each brought. */
static void collective(u32 mask, Done done, void *part, const char *what) {
  const u32 lane = self->linear & 31;
  if (!(mask >> lane & 1)) fail("%s: this thread's lane %u is not in its own mask %08x.", what, lane, mask);
  Warp &warp = warps[self->linear >> 5];
  self->mask = mask;
  self->done = done;
  self->part = part;
  self->what = what;
  self->state = at_warp;
  warp.waiting |= 1u << lane;
  if (!complete(warp, self - lane, mask)) yield();
}

static bool open_barrier() {
  if (waiting < live || !live) return false;
  stamp++;
  votes_before = votes;
  arrived_before = waiting;
  votes = waiting = 0;
  barrier = nullptr;
  for (u32 i = 0, n = now.block.x * now.block.y * now.block.z; i < n; i++)
    if (threads[i].state == at_block) threads[i].state = ready;
  return true;
}

/** Waits for every thread of the block that lives. */
static void block_barrier(const char *what, bool vote) {
  if (barrier && __builtin_strcmp(barrier, what)) fail("%s, while others wait in %s.", what, barrier);
  barrier = what;
  votes += vote;
  waiting++;
  self->what = what;
  self->state = at_block;
  if (!open_barrier()) yield();
}

static void leave() {
  finish_copies(0, true);
  const u32 lane = self->linear & 31;
  Warp &warp = warps[self->linear >> 5];
  self->state = gone;
  live--;
  warp.live &= ~(1u << lane);
  for (u32 rest = warp.waiting; rest; rest &= rest - 1)
    if (warp.waiting & rest & -rest) complete(warp, self - lane, (self - lane)[__builtin_ctz(rest)].mask);
  open_barrier();
}

extern "C" __attribute__((visibility("hidden"), used)) void atoll_thread() {
  now.invoke(arguments);
  leave();
  yield();
  __builtin_unreachable();
}

/** The stack of a thread that has not begun: atoll_switch to it enters atoll_thread. */
static void *start(char *stack) {
  *(u64 *)(stack + 16 + sizeof(Copy) * copies_max) = garbage;
  char *top = stack + stack_bytes - 64;
#if defined(__x86_64__)
  void **frame = (void **)top - 8;
  frame[6] = (void *)atoll_thread;
#else
  void **frame = (void **)(top - 160);
  frame[11] = (void *)atoll_thread;
#endif
  return frame;
}

static void resume(Thread &thread) {
  self = &thread;
  if (thread.state == fresh) {
    thread.stack = free_stacks[--free_count];
    thread.sp = start(thread.stack);
  }
  thread.state = ready;
  atoll_switch(&scheduler_sp, thread.sp);
  if (*(u64 *)(thread.stack + 16 + sizeof(Copy) * copies_max) != garbage) report("the stack of %u KiB is too small.", stack_bytes >> 10);
  if (thread.state == gone) free_stacks[free_count++] = thread.stack;
}

static void deadlock() {
  u32 count[2] = {};
  const Thread *example[2] = {};
  for (u32 i = 0, n = now.block.x * now.block.y * now.block.z; i < n; i++) {
    const State state = threads[i].state;
    if (state != at_block && state != at_warp) continue;
    count[state == at_warp]++;
    if (!example[state == at_warp]) example[state == at_warp] = threads + i;
  }
  self = nullptr;
  if (!count[1]) return report("deadlock: %u threads wait in %s.", count[0], example[0]->what);
  const Thread &lane = *example[1];
  report("deadlock: %u threads wait for lanes of their warp, such as thread %u in %s with mask %08x; %u wait in %s.", count[1], lane.linear, lane.what, lane.mask,
         count[0], count[0] ? example[0]->what : "barriers");
}

static void fill(char *from, char *to) {
  asm volatile("" : "+r"(from), "+r"(to)::"memory");
  for (; to - from >= 4; from += 4) __builtin_memcpy(from, &garbage, 4);
}

static u32 mix(u32 x) {
  x = (x ^ x >> 16) * 0x7feb352du;
  x = (x ^ x >> 15) * 0x846ca68bu;
  return x ^ x >> 16;
}

/** Steps through 0..count-1, each once: `at = (at + step) % count`. */
struct Order {
  u64 at, step, count;
  Order(u64 n, u32 seed) : at(0), step(1), count(n) {
    if (!seed) return;
    at = mix(seed) % n;
    for (step = n - mix(seed + 1) % n; gcd(step, n) != 1;) step--;
  }
  static u64 gcd(u64 a, u64 b) { return b ? gcd(b, a % b) : a; }
  u64 next() {
    const u64 was = at;
    at += step;
    if (at >= count) at -= count;
    return was;
  }
};

static void begin_block(u32 count) {
  const u32 size = now.shared;
  block_stamp = ++stamp;
  fill(__bss_start, _end);
  fill(dynamic_shared, dynamic_shared + ((size + 3) & ~3u) + shared_margin);
  for (u32 w = 0; w * 32 < count; w++) warps[w] = {count - w * 32 >= 32 ? ~0u : (1u << (count & 31)) - 1, 0};
  Index at = {};
  for (u32 i = 0; i < count; i++) {
    threads[i] = {nullptr, nullptr, at, i, 0, 0, 0, fresh, nullptr, nullptr, ""};
    if (++at.x < now.block.x) continue;
    at.x = 0;
    if (++at.y < now.block.y) continue;
    at.y = 0;
    at.z++;
  }
  live = count;
  waiting = votes = 0;
  barrier = nullptr;
}

static void check_margin() {
  self = nullptr;
  const u32 size = (now.shared + 3) & ~3u;
  for (u32 i = size; i < size + shared_margin; i += 4)
    if (__builtin_memcmp(dynamic_shared + i, &garbage, 4)) return report("wrote behind its %u bytes of dynamic shared memory, at %u.", now.shared, i);
}

static void run_block(u32 count, u32 seed) {
  begin_block(count);
  for (u32 pass = 0; live;) {
    bool moved = false;
    Order order(count, seed ? mix(seed + pass++) | 1 : 0);
    for (u32 k = 0; k < count; k++) {
      Thread &thread = threads[order.next()];
      if (thread.state != fresh && thread.state != ready) continue;
      moved = true;
      resume(thread);
      if (failed) return;
    }
    if (!moved) return deadlock();
  }
  check_margin();
}

static int run(const Launch &launch) {
  now = launch;
  failed = false;
  launch_stamp = stamp + 1;
  const u32 count = now.block.x * now.block.y * now.block.z;
  free_count = count;
  for (u32 i = 0; i < count; i++) free_stacks[i] = now.stacks + (u64)(count - 1 - i) * stack_bytes;
  const u64 blocks = (u64)now.grid.x * now.grid.y * now.grid.z;
  Order order(blocks, now.seed);
  for (u64 k = 0; k < blocks && !failed; k++) {
    const u64 at = order.next();
    block_index = {(u32)(at % now.grid.x), (u32)(at / now.grid.x % now.grid.y), (u32)(at / now.grid.x / now.grid.y)};
    run_block(count, now.seed ? mix(now.seed ^ (u32)at) | 1 : 0);
  }
  self = nullptr;
  return failed;
}

// Checks that the compiler puts in (-fsanitize=...): each says where.
struct Place { const char *file; u32 line, column; };
#define EMULATION_CHECK(name, what) \
  extern "C" __attribute__((visibility("hidden"), used)) void __ubsan_handle_##name##_abort(const Place *at) { fail(what " at %s:%u", at->file, at->line); }
EMULATION_CHECK(out_of_bounds, "index out of the array's bounds")
EMULATION_CHECK(shift_out_of_bounds, "shift by the width of the type or more")
EMULATION_CHECK(divrem_overflow, "division by zero")
EMULATION_CHECK(type_mismatch_v1, "null or misaligned pointer")
EMULATION_CHECK(add_overflow, "signed overflow")
EMULATION_CHECK(sub_overflow, "signed overflow")
EMULATION_CHECK(mul_overflow, "signed overflow")
EMULATION_CHECK(negate_overflow, "signed overflow")
EMULATION_CHECK(builtin_unreachable, "reached what is said to be unreachable")

// Parameters of a kernel: 64-bit slots to its own types.
template <class T> struct Slot {
  static_assert(sizeof(T) == 4, "a parameter is a pointer or a 32-bit word");
  static const char kind = 'w';
  static T of(u64 slot) {
    const u32 word = (u32)slot;
    T value;
    __builtin_memcpy(&value, &word, 4);
    return value;
  }
};
template <class T> struct Slot<T *> {
  static const char kind = 'p';
  static T *of(u64 slot) { return (T *)slot; }
};
template <int... I> struct Sequence {};
template <int N, int... I> struct Count : Count<N - 1, N - 1, I...> {};
template <int... I> struct Count<0, I...> { typedef Sequence<I...> type; };

template <class... A, int... I> static inline void apply(void (*kernel)(A...), const u64 *args, Sequence<I...>) { kernel(Slot<A>::of(args[I])...); }
template <class... A> struct Kinds {
  static const char *text() {
    static const char kinds[] = {Slot<A>::kind..., 0};
    return kinds;
  }
};
template <class... A> static const char *kinds_of(void (*)(A...)) { return Kinds<A...>::text(); }
template <class... A> static inline void call(void (*kernel)(A...), const u64 *args) { apply(kernel, args, typename Count<sizeof...(A)>::type()); }

/** words: grid, block (three each), shared, seed, stacks, regions and how many, shadow of shared memory, stamp (in and out), how many arguments, and those. */
UNCHECKED static int run_words(u64 *w, char *error, const char *name, void (*invoke)(const u64 *)) {
  const Index grid = {(u32)w[0], (u32)w[1], (u32)w[2]}, block = {(u32)w[3], (u32)w[4], (u32)w[5]};
  while (__atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE)) sched_yield();
  stamp = (u32)w[12];
  __builtin_memcpy(arguments, w + 14, (w[13] < 128 ? w[13] : 128) * 8);
  const int bad =
      run({grid, block, (u32)w[6], (u32)w[7], (char *)w[8], (const Region *)w[9], w[10], (Shadow *)w[11], error, invoke, name});
  w[12] = stamp;
  __atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
  return bad;
}

} // namespace emulation

#define EMULATION_ENTRY(kernel, bounds) \
  extern "C" __attribute__((visibility("default"))) const char *atoll_args_##kernel() { return emulation::kinds_of(&kernel); } \
  extern "C" __attribute__((visibility("default"))) int atoll_bounds_##kernel() { return (int)(bounds); } \
  extern "C" __attribute__((visibility("default"))) int atoll_run_##kernel(emulation::u64 *words, char *error) { \
    return emulation::run_words(words, error, #kernel, [](const emulation::u64 *args) { emulation::call(&kernel, args); }); \
  }

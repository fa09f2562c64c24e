// What compute-sanitizer finds on a GPU, for the emulation: accesses outside of allocations, and races on shared and global memory.
//
// Compiled with EMULATION_CHECKED and -fsanitize=thread, every access of a kernel calls `touch` here; without, nothing does. Two accesses of one
// byte race when one of them writes, no barrier orders them, and they are of different threads: within a block only __syncthreads and its kind order, and
// __syncwarp within a warp; blocks of one launch are never ordered, unless the kernel uses __threadfence. Atomics race with nothing.
// Included by fibers.h, inside its namespace.

#ifdef EMULATION_CHECKED

/** Who last wrote and read a byte, and when. */
struct Shadow {
  u32 wrote, wrote_warp, read_first, read_last, read_warp;
  unsigned short writer, reader;
  /** Since the block's last barrier: readers of other warps too; since the warp's last: other lanes too. */
  bool warps_too, lanes_too;
};

#define UNCHECKED __attribute__((no_sanitize("thread"), noinline))
EMULATION_STATE static u32 fenced_stamp = 0;
extern "C" char __ehdr_start[] __attribute__((visibility("hidden")));

static inline void fenced() { fenced_stamp = launch_stamp; }

/** Whether an access since `start` (of the launch, or of the block for shared memory) is unordered with one of `self` now. */
UNCHECKED static bool unordered(u32 start, u32 when, u32 warp_when, u32 who) {
  if (when < start) return false;
  if (when < block_stamp) return fenced_stamp != launch_stamp;
  if (when < stamp || who == self->linear) return false;
  return who >> 5 != self->linear >> 5 || warp_when == warp_stamps[who >> 5];
}

UNCHECKED static bool races(Shadow &at, u32 start, bool write) {
  const u32 warp_now = warp_stamps[self->linear >> 5], me = self->linear;
  if (unordered(start, at.wrote, at.wrote_warp, at.writer)) return true;
  if (write) {
    if (unordered(start, at.read_last, at.read_warp, at.reader)) return true;
    if (unordered(start, at.read_first, 0, me)) return true;
    if (at.read_last == stamp && (at.warps_too || (at.lanes_too && at.read_warp == warp_now))) return true;
    at.wrote = stamp;
    at.wrote_warp = warp_now;
    at.writer = (unsigned short)me;
    return false;
  }
  const bool now_too = at.read_last == stamp, same_warp = at.reader >> 5 == me >> 5;
  at.lanes_too = now_too && same_warp && at.read_warp == warp_now && (at.lanes_too || at.reader != me);
  at.warps_too = now_too && (at.warps_too || !same_warp);
  if (at.read_first < start) at.read_first = stamp;
  at.read_last = stamp;
  at.read_warp = warp_now;
  at.reader = (unsigned short)me;
  return false;
}

UNCHECKED static void check(const void *address, u64 bytes, bool write, const void *from) {
  const u64 at = (u64)address;
  const char *byte = (const char *)address;
  const u64 pc = (const char *)from - __ehdr_start;
  const char *what = write ? "write" : "read";
  Shadow *shadow = nullptr;
  u32 start = block_stamp;
  if (byte >= __bss_start && byte < _end) {
    shadow = now.shared_shadow + (byte - __bss_start);
  } else if (byte >= dynamic_shared && byte < dynamic_shared + shared_max + shared_margin) {
    if (byte + bytes > dynamic_shared + now.shared) fail("%s beyond %u bytes of dynamic shared memory, at %u, pc +0x%llx", what, now.shared, (u32)(byte - dynamic_shared), pc);
    shadow = now.shared_shadow + (_end - __bss_start) + (byte - dynamic_shared);
  } else {
    if (byte >= now.stacks && byte < now.stacks + (u64)threads_max * stack_bytes) return;
    if (byte >= __ehdr_start && byte < _end) return;
    for (u64 i = 0; i < now.region_count && !shadow; i++) {
      const Region &region = now.regions[i];
      if (at < region.start || at >= region.start + region.bytes) continue;
      if (at + bytes > region.start + region.bytes) break;
      shadow = region.shadow + (at - region.start);
      start = launch_stamp;
    }
    if (!shadow) {
      for (u64 i = 0; i < now.region_count; i++) {
        const Region &region = now.regions[i];
        if (at + 4096 >= region.start && at < region.start + region.bytes + 4096)
          fail("%s of %llu bytes at byte %lld of an allocation of %llu, pc +0x%llx", what, bytes, (long long)(at - region.start), region.bytes, pc);
      }
      fail("%s of %llu bytes at 0x%llx, where nothing was allocated, pc +0x%llx", what, bytes, at, pc);
    }
  }
  for (u64 i = 0; i < bytes; i++) {
    if (!races(shadow[i], start, write)) continue;
    const bool wrote = unordered(start, shadow[i].wrote, shadow[i].wrote_warp, shadow[i].writer);
    const u32 first = !wrote && unordered(start, shadow[i].read_first, 0, self->linear) ? shadow[i].read_first : stamp;
    const u32 when = wrote ? shadow[i].wrote : first < stamp ? first : shadow[i].read_last;
    fail("race: %s of what %s %s, pc +0x%llx", what, when < block_stamp ? "another block" : "another thread", wrote ? "wrote" : "read", pc);
  }
}

/** For what the runtime does in a thread's stead. */
UNCHECKED static void touch(const void *address, u64 bytes, bool write) {
  if (!self || failed) return;
  check(address, bytes, write, __builtin_return_address(0));
}

#define EMULATION_HOOK(name, ...) extern "C" UNCHECKED __attribute__((visibility("hidden"), used)) void __tsan_##name(__VA_ARGS__)
#define EMULATION_ACCESS(name, bytes, write) \
  EMULATION_HOOK(name, const void *at) { \
    if (self && !failed) check(at, bytes, write, __builtin_return_address(0)); \
  }
#define EMULATION_ACCESSES(bytes) \
  EMULATION_ACCESS(read##bytes, bytes, false) \
  EMULATION_ACCESS(write##bytes, bytes, true) \
  EMULATION_ACCESS(unaligned_read##bytes, bytes, false) \
  EMULATION_ACCESS(unaligned_write##bytes, bytes, true)
EMULATION_ACCESSES(1)
EMULATION_ACCESSES(2)
EMULATION_ACCESSES(4)
EMULATION_ACCESSES(8)
EMULATION_ACCESSES(16)
EMULATION_HOOK(read_range, const void *at, u64 bytes) {
  if (self && !failed) check(at, bytes, false, __builtin_return_address(0));
}
EMULATION_HOOK(write_range, const void *at, u64 bytes) {
  if (self && !failed) check(at, bytes, true, __builtin_return_address(0));
}
EMULATION_HOOK(init) {}
EMULATION_HOOK(func_entry, void *) {}
EMULATION_HOOK(func_exit) {}

#else

#define UNCHECKED
static inline void fenced() {}
static inline void touch(const void *, u64, bool) {}

#endif

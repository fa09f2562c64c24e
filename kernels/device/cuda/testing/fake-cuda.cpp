/**
 * A driver library without a GPU: what native-driver.ts calls, with NVIDIA's own signatures (checked against cuda.h where that is), memory in RAM, streams
 * that do nothing before somebody asks, three kernels, and faults on demand. For tests of the calls themselves, never of arithmetic.
 *
 * Device addresses carry a tag, so that one that is taken for a pointer, or the other way round, is an illegal address. Every bound is checked.
 */
#ifdef HAVE_CUDA_H
#include <cuda.h>
#else
#include <stddef.h>
typedef int CUresult;
typedef int CUdevice;
typedef int CUdevice_attribute;
typedef int CUfunction_attribute;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphNode_st *CUgraphNode;
typedef struct CUgraphExec_st *CUgraphExec;
typedef struct CUkern_st *CUkernel;
typedef struct CUmemPoolHandle_st *CUmemoryPool;
typedef int CUmemPool_attribute;
typedef struct { char bytes[16]; } CUuuid;
typedef struct {
  CUfunction func;
  unsigned int gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes;
  void **kernelParams;
  void **extra;
  CUkernel kern;
  CUcontext ctx;
} CUDA_KERNEL_NODE_PARAMS;
#define CUDAAPI
#endif
#include <cstddef>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string.h>
#include <vector>

static_assert(sizeof(CUDA_KERNEL_NODE_PARAMS) == 72, "native-graph.ts lays out 72 bytes");
static_assert(offsetof(CUDA_KERNEL_NODE_PARAMS, gridDimX) == 8, "grid");
static_assert(offsetof(CUDA_KERNEL_NODE_PARAMS, blockDimX) == 20, "block");
static_assert(offsetof(CUDA_KERNEL_NODE_PARAMS, sharedMemBytes) == 32, "shared");
static_assert(offsetof(CUDA_KERNEL_NODE_PARAMS, kernelParams) == 40, "kernelParams");

typedef unsigned long long u64;
static const u64 tag = 1ull << 62;

struct CUctx_st { int device; };
struct CUmod_st { int loaded; };
struct CUfunc_st { const char *name; std::vector<size_t> sizes; int sharedMax; };
/** Something to do, or an event (as it was recorded when it was named) to wait for. */
struct Item { std::function<CUresult()> run; struct CUevent_st *after = nullptr; CUstream stream = nullptr; u64 ticket = 0; };
struct CUstream_st { std::deque<Item> items; };
static std::set<CUstream_st *> streams;
struct CUevent_st { CUstream_st *stream = nullptr; u64 recorded = 0, done = 0; };
struct CUgraphNode_st { CUfunc_st *fn; std::vector<std::vector<unsigned char>> args; };
struct CUgraph_st { std::vector<CUgraphNode_st *> nodes; };
struct CUgraphExec_st { std::vector<CUgraphNode_st> nodes; };

struct Fault { int code; int after; };
static std::map<std::string, Fault> faults;
static std::map<std::string, int> counts;
static std::map<u64, size_t> memory, pinned;
static std::set<void *> live;
static std::map<std::string, int> living;
static CUctx_st context = {0};
static thread_local CUctx_st *current = nullptr;
static int lost = 0, devices = 1, retained = 0, notReady = 0, driverVersion = 13000, capability = 90;
static size_t memoryMax = 1ull << 30, memoryUsed = 0;

/** Counts a call and gives the error that is due: an injected one, or the loss of the device. */
static int enter(const char *name, bool needsContext = true) {
  counts[name]++;
  auto fault = faults.find(name);
  if (fault != faults.end() && fault->second.after-- <= 0) {
    int code = fault->second.code;
    faults.erase(fault);
    if (code >= 700 && code < 800) lost = code;
    return code;
  }
  if (!needsContext) return 0;
  if (lost) return lost;
  return current && retained ? 0 : 201;
}
#define ENTER_ANY() do { int code_ = enter(__func__, false); if (code_) return (CUresult)code_; } while (0)
#define ENTER() do { int code_ = enter(__func__); if (code_) return (CUresult)code_; } while (0)
#define FAIL(code) return (CUresult)(code)
#define OK return (CUresult)0

template <class T> static T *born(const char *kind, T *thing) { live.insert(thing); living[kind]++; return thing; }
template <class T> static bool bury(const char *kind, T *thing) {
  if (!live.erase(thing)) return false;
  living[kind]--;
  delete thing;
  return true;
}

/** Whether [address, +bytes) lies in one block. */
static bool inside(const std::map<u64, size_t> &blocks, u64 address, size_t bytes) {
  auto next = blocks.upper_bound(address);
  if (next == blocks.begin()) return false;
  --next;
  return address + bytes <= next->first + next->second;
}
static void *at(u64 address) { return (void *)(address - tag); }
static CUresult illegal() { lost = 700; FAIL(700); }

static CUresult drain(CUstream_st *stream);
/** Until an event has happened; its stream then runs as far ahead as it can, so that what should have waited for nothing later shows. */
static CUresult reach(CUevent_st *event, CUstream_st *stream, u64 ticket) {
  return event->done >= ticket || !stream ? (CUresult)0 : drain(stream);
}
/** Runs what a stream holds. */
static CUresult drain(CUstream_st *stream) {
  while (!stream->items.empty()) {
    Item item = stream->items.front();
    stream->items.pop_front();
    if (item.after) { CUresult waited = reach(item.after, item.stream, item.ticket); if (waited) return waited; }
    CUresult result = item.run ? item.run() : (CUresult)0;
    if (result) return result;
  }
  return lost ? (CUresult)lost : (CUresult)0;
}

/** What cuMemFree and its like do before they take memory away. */
static CUresult drainAll() {
  for (CUstream_st *stream : streams) { CUresult result = drain(stream); if (result) return result; }
  OK;
}

static u64 pointerOf(const std::vector<unsigned char> &arg) { u64 value; memcpy(&value, arg.data(), 8); return value; }
static unsigned wordOf(const std::vector<unsigned char> &arg) { unsigned value; memcpy(&value, arg.data(), 4); return value; }

static CUresult execute(const CUgraphNode_st &node) {
  const std::string name = node.fn->name;
  if (name == "trap") return illegal();
  u64 last = pointerOf(node.args[name == "add" ? 1 : 0]);
  unsigned count = wordOf(node.args[name == "add" ? 2 : 1]);
  if (!inside(memory, last, 4ull * count)) return illegal();
  unsigned *words = (unsigned *)at(last);
  if (name == "fill") {
    for (unsigned i = 0; i < count; i++) words[i] = wordOf(node.args[2]);
    OK;
  }
  if (!inside(memory, pointerOf(node.args[0]), 4ull * count)) return illegal();
  const unsigned *x = (const unsigned *)at(pointerOf(node.args[0]));
  for (unsigned i = 0; i < count; i++) words[i] += x[i];
  OK;
}

static CUresult takeMemory(CUdeviceptr *out, size_t bytes) {
  if (!bytes) FAIL(1);
  if (memoryUsed + bytes > memoryMax) FAIL(2);
  memoryUsed += bytes;
  void *block = aligned_alloc(512, (bytes + 511) / 512 * 512);
  memset(block, 0xa5, bytes);
  *out = (u64)block + tag;
  memory[*out] = bytes;
  OK;
}
static CUresult giveMemory(u64 address) {
  auto found = memory.find(address);
  if (found == memory.end()) FAIL(1);
  memoryUsed -= found->second;
  free(at(address));
  memory.erase(found);
  OK;
}

extern "C" {
// What a test asks of the library itself.
void fake_reset() {
  faults.clear(); counts.clear(); lost = 0; devices = 1; notReady = 0; driverVersion = 13000; capability = 90; memoryMax = 1ull << 30;
}
void fake_fail(const char *name, int code, int after) { faults[name] = {code, after}; }
void fake_set(const char *what, long long value) {
  std::string name = what;
  if (name == "devices") devices = (int)value;
  else if (name == "notReady") notReady = (int)value;
  else if (name == "driverVersion") driverVersion = (int)value;
  else if (name == "capability") capability = (int)value;
  else if (name == "memory") memoryMax = (size_t)value;
}
int fake_count(const char *name) { return counts[name]; }
int fake_living(const char *kind) {
  std::string name = kind;
  return name == "memory" ? (int)memory.size() : name == "pinned" ? (int)pinned.size() : name == "context" ? retained : living[name];
}

CUresult CUDAAPI cuInit(unsigned int flags) { ENTER_ANY(); if (flags) FAIL(1); if (!devices) FAIL(100); OK; }
CUresult CUDAAPI cuDriverGetVersion(int *version) { ENTER_ANY(); *version = driverVersion; OK; }
CUresult CUDAAPI cuDeviceGetCount(int *count) { ENTER_ANY(); *count = devices; OK; }
CUresult CUDAAPI cuDeviceGet(CUdevice *device, int ordinal) {
  ENTER_ANY();
  if (ordinal < 0 || ordinal >= devices) FAIL(101);
  *device = ordinal;
  OK;
}
CUresult CUDAAPI cuDeviceGetName(char *name, int len, CUdevice dev) {
  ENTER_ANY();
  strncpy(name, dev == 2 ? "Fake GPU MIG 1g.10gb" : "Fake GPU", len);
  OK;
}
CUresult CUDAAPI cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice dev) {
  ENTER_ANY();
  for (int i = 0; i < 16; i++) uuid->bytes[i] = (char)(16 * (dev + 1) + i);
  OK;
}
CUresult CUDAAPI cuDeviceTotalMem_v2(size_t *bytes, CUdevice) { ENTER_ANY(); *bytes = memoryMax; OK; }
CUresult CUDAAPI cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice) {
  ENTER_ANY();
  switch ((int)attribute) {
    case 16: *value = 132; OK;
    case 75: *value = capability / 10; OK;
    case 76: *value = capability % 10; OK;
    case 97: *value = 232448; OK;
    case 115: *value = 1; OK;
  }
  FAIL(1);
}
CUresult CUDAAPI cuDeviceGetDefaultMemPool(CUmemoryPool *out, CUdevice) { ENTER_ANY(); *out = (CUmemoryPool)0x9001; OK; }
CUresult CUDAAPI cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void *value) {
  ENTER();
  if (pool != (CUmemoryPool)0x9001 || (int)attribute != 4 || *(u64 *)value != 64ull << 20) FAIL(1);
  OK;
}
CUresult CUDAAPI cuDevicePrimaryCtxSetFlags_v2(CUdevice, unsigned int) { ENTER_ANY(); OK; }
CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice) { ENTER_ANY(); retained++; *out = &context; OK; }
CUresult CUDAAPI cuDevicePrimaryCtxRelease_v2(CUdevice) { ENTER_ANY(); if (!retained) FAIL(201); retained--; OK; }
CUresult CUDAAPI cuDevicePrimaryCtxReset_v2(CUdevice) { ENTER_ANY(); lost = 0; OK; }
CUresult CUDAAPI cuCtxSetCurrent(CUcontext ctx) { ENTER_ANY(); if (lost && ctx) FAIL(lost); current = ctx; OK; }
CUresult CUDAAPI cuMemGetInfo_v2(size_t *free, size_t *total) { ENTER(); *free = memoryMax - memoryUsed; *total = memoryMax; OK; }
CUresult CUDAAPI cuMemAlloc_v2(CUdeviceptr *out, size_t bytes) { ENTER(); return takeMemory(out, bytes); }
CUresult CUDAAPI cuMemFree_v2(CUdeviceptr address) {
  ENTER();
  CUresult result = drainAll();
  return result ? result : giveMemory(address);
}
CUresult CUDAAPI cuMemAllocAsync(CUdeviceptr *out, size_t bytes, CUstream) { ENTER(); return takeMemory(out, bytes); }
CUresult CUDAAPI cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
  ENTER();
  if (!memory.count(address)) FAIL(1);
  stream->items.push_back({[=] { return giveMemory(address); }});
  OK;
}
CUresult CUDAAPI cuMemHostAlloc(void **out, size_t bytes, unsigned int flags) {
  ENTER();
  if (flags || !bytes) FAIL(1);
  *out = malloc(bytes);
  pinned[(u64)*out] = bytes;
  OK;
}
CUresult CUDAAPI cuMemFreeHost(void *p) {
  ENTER();
  CUresult result = drainAll();
  if (result) return result;
  if (!pinned.erase((u64)p)) FAIL(1);
  free(p);
  OK;
}
CUresult CUDAAPI cuMemcpyHtoDAsync_v2(CUdeviceptr dst, const void *src, size_t bytes, CUstream stream) {
  ENTER();
  if (!inside(memory, dst, bytes) || !inside(pinned, (u64)src, bytes)) FAIL(1);
  stream->items.push_back({[=] { memcpy(at(dst), src, bytes); OK; }});
  OK;
}
CUresult CUDAAPI cuMemcpyDtoHAsync_v2(void *dst, CUdeviceptr src, size_t bytes, CUstream stream) {
  ENTER();
  if (!inside(memory, src, bytes) || !inside(pinned, (u64)dst, bytes)) FAIL(1);
  stream->items.push_back({[=] { memcpy(dst, at(src), bytes); OK; }});
  OK;
}
CUresult CUDAAPI cuMemcpyDtoDAsync_v2(CUdeviceptr dst, CUdeviceptr src, size_t bytes, CUstream stream) {
  ENTER();
  if (!inside(memory, dst, bytes) || !inside(memory, src, bytes)) FAIL(1);
  stream->items.push_back({[=] { memcpy(at(dst), at(src), bytes); OK; }});
  OK;
}
CUresult CUDAAPI cuMemsetD8Async(CUdeviceptr dst, unsigned char value, size_t bytes, CUstream stream) {
  ENTER();
  if (!inside(memory, dst, bytes)) FAIL(1);
  stream->items.push_back({[=] { memset(at(dst), value, bytes); OK; }});
  OK;
}
CUresult CUDAAPI cuStreamCreate(CUstream *out, unsigned int flags) { ENTER(); if (flags != 1) FAIL(1); *out = born("stream", new CUstream_st); streams.insert(*out); OK; }
CUresult CUDAAPI cuStreamDestroy_v2(CUstream stream) { ENTER(); streams.erase(stream); if (!bury("stream", stream)) FAIL(400); OK; }
CUresult CUDAAPI cuStreamSynchronize(CUstream stream) { ENTER(); if (!live.count(stream)) FAIL(400); return drain(stream); }
CUresult CUDAAPI cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int) {
  ENTER();
  if (!live.count(stream) || !live.count(event)) FAIL(400);
  Item item;
  item.after = event;
  item.stream = event->stream;
  item.ticket = event->recorded;
  stream->items.push_back(item);
  OK;
}
CUresult CUDAAPI cuEventCreate(CUevent *out, unsigned int flags) { ENTER(); if (flags != 2) FAIL(1); *out = born("event", new CUevent_st); OK; }
CUresult CUDAAPI cuEventDestroy_v2(CUevent event) { ENTER(); if (!bury("event", event)) FAIL(400); OK; }
CUresult CUDAAPI cuEventRecord(CUevent event, CUstream stream) {
  ENTER();
  if (!live.count(stream) || !live.count(event)) FAIL(400);
  event->stream = stream;
  u64 ticket = ++event->recorded;
  stream->items.push_back({[=] { event->done = ticket; OK; }});
  OK;
}
CUresult CUDAAPI cuEventQuery(CUevent event) {
  ENTER();
  if (!live.count(event)) FAIL(400);
  if (event->done >= event->recorded) OK;
  if (notReady > 0) { notReady--; FAIL(600); }
  return reach(event, event->stream, event->recorded);
}
CUresult CUDAAPI cuEventSynchronize(CUevent event) { ENTER(); if (!live.count(event)) FAIL(400); return reach(event, event->stream, event->recorded); }
CUresult CUDAAPI cuModuleLoadData(CUmodule *out, const void *image) {
  ENTER();
  if (memcmp(image, "FAKE", 4)) FAIL(200);
  *out = born("module", new CUmod_st{1});
  OK;
}
CUresult CUDAAPI cuModuleUnload(CUmodule module) { ENTER(); if (!bury("module", module)) FAIL(400); OK; }
CUresult CUDAAPI cuModuleGetFunction(CUfunction *out, CUmodule module, const char *name) {
  static CUfunc_st fill = {"fill", {8, 4, 4}, 48 << 10}, add = {"add", {8, 8, 4}, 48 << 10}, trap = {"trap", {}, 48 << 10};
  ENTER();
  if (!live.count(module)) FAIL(400);
  for (CUfunc_st *fn : {&fill, &add, &trap}) {
    if (strcmp(fn->name, name)) continue;
    fn->sharedMax = 48 << 10;
    *out = fn;
    OK;
  }
  FAIL(500);
}
CUresult CUDAAPI cuFuncSetAttribute(CUfunction fn, CUfunction_attribute attribute, int value) {
  ENTER();
  if ((int)attribute != 8 || value > 232448) FAIL(1);
  fn->sharedMax = value;
  OK;
}
CUresult CUDAAPI cuFuncGetParamInfo(CUfunction fn, size_t index, size_t *offset, size_t *size) {
  ENTER();
  if (index >= fn->sizes.size()) FAIL(1);
  *offset = 8 * index;
  *size = fn->sizes[index];
  OK;
}
CUresult CUDAAPI cuGraphCreate(CUgraph *out, unsigned int flags) { ENTER(); if (flags) FAIL(1); *out = born("graph", new CUgraph_st); OK; }
CUresult CUDAAPI cuGraphDestroy(CUgraph graph) {
  ENTER();
  if (!live.count(graph)) FAIL(400);
  for (CUgraphNode_st *node : graph->nodes) delete node;
  bury("graph", graph);
  OK;
}
CUresult CUDAAPI cuGraphAddKernelNode_v2(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies, size_t count, const CUDA_KERNEL_NODE_PARAMS *params) {
  ENTER();
  if (!live.count(graph) || !params->func || params->extra || params->kern || params->ctx) FAIL(1);
  // Our graphs are chains.
  if (count != (graph->nodes.empty() ? 0 : 1) || (count && dependencies[0] != graph->nodes.back())) FAIL(1);
  if (!params->gridDimX || !params->gridDimY || !params->gridDimZ) FAIL(1);
  u64 threads = (u64)params->blockDimX * params->blockDimY * params->blockDimZ;
  if (!threads || threads > 1024 || (int)params->sharedMemBytes > params->func->sharedMax) FAIL(1);
  auto *node = new CUgraphNode_st{params->func, {}};
  for (size_t i = 0; i < params->func->sizes.size(); i++) {
    auto *from = (unsigned char *)params->kernelParams[i];
    node->args.emplace_back(from, from + params->func->sizes[i]);
  }
  graph->nodes.push_back(node);
  *out = node;
  OK;
}
CUresult CUDAAPI cuGraphInstantiateWithFlags(CUgraphExec *out, CUgraph graph, unsigned long long flags) {
  ENTER();
  if (!live.count(graph) || flags) FAIL(1);
  auto *exec = born("exec", new CUgraphExec_st);
  for (CUgraphNode_st *node : graph->nodes) exec->nodes.push_back(*node);
  *out = exec;
  OK;
}
CUresult CUDAAPI cuGraphExecDestroy(CUgraphExec exec) { ENTER(); if (!bury("exec", exec)) FAIL(400); OK; }
CUresult CUDAAPI cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  ENTER();
  if (!live.count(exec) || !live.count(stream)) FAIL(400);
  for (const CUgraphNode_st &node : exec->nodes) {
    CUgraphNode_st copy = node;
    stream->items.push_back({[=] { return execute(copy); }});
  }
  OK;
}
CUresult CUDAAPI cuGetErrorName(CUresult error, const char **text) {
  *text = (int)error == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_OF_THE_FAKE";
  OK;
}
CUresult CUDAAPI cuGetErrorString(CUresult, const char **text) { *text = "as the test asked"; OK; }
}

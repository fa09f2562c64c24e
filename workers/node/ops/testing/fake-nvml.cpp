// A management library for tests: processor 0 is whole, processor 1 is cut by MIG into instances 0 and 2, and some functions are missing as in old drivers.
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace {
struct Device {
  const char *uuid;
  const char *name;
  int parent;  // -1 where it is a whole processor
  bool is_mig;
  uint32_t milliwatts;
};
Device devices[] = {
    {"GPU-00000000-aaaa-bbbb-cccc-000000000000", "Test H200", -1, false, 412500},
    {"GPU-11111111-aaaa-bbbb-cccc-111111111111", "Test A100", -1, true, 251000},
    {"MIG-22222222-aaaa-bbbb-cccc-222222222222", "Test A100 MIG 3g.20gb", 1, false, 0},
    {"MIG-33333333-aaaa-bbbb-cccc-333333333333", "Test A100 MIG 1g.5gb", 1, false, 0},
};
const int ok = 0, invalid = 2, unsupported = 3, absent = 6;

int copy(const char *from, char *to, uint32_t length) {
  std::snprintf(to, length, "%s", from);
  return ok;
}
}  // namespace

extern "C" {
int nvmlInit_v2() { return ok; }
int nvmlShutdown() { return ok; }
int nvmlSystemGetDriverVersion(char *out, uint32_t length) { return copy("580.65.06", out, length); }
int nvmlDeviceGetCount_v2(uint32_t *count) { return *count = 2, ok; }
int nvmlDeviceGetHandleByIndex_v2(uint32_t index, Device **out) {
  if (index > 1) return invalid;
  return *out = &devices[index], ok;
}
int nvmlDeviceGetUUID(Device *d, char *out, uint32_t length) { return copy(d->uuid, out, length); }
int nvmlDeviceGetName(Device *d, char *out, uint32_t length) { return copy(d->name, out, length); }
int nvmlDeviceGetPowerUsage(Device *d, uint32_t *out) {
  if (d->parent >= 0) return unsupported;
  return *out = d->milliwatts, ok;
}
int nvmlDeviceGetUtilizationRates(Device *d, uint32_t *out) {
  if (d->parent >= 0 || d->is_mig) return unsupported;
  out[0] = 87, out[1] = 12;
  return ok;
}
int nvmlDeviceGetMemoryInfo(Device *d, uint64_t *out) {
  out[0] = d->parent >= 0 ? 20ull << 30 : 141ull << 30, out[2] = 1ull << 30, out[1] = out[0] - out[2];
  return ok;
}
int nvmlDeviceGetMigMode(Device *d, uint32_t *current, uint32_t *pending) {
  if (d == &devices[0]) return unsupported;
  return *current = *pending = d->is_mig, ok;
}
int nvmlDeviceGetMaxMigDeviceCount(Device *d, uint32_t *out) { return *out = d->is_mig ? 7 : 0, ok; }
int nvmlDeviceGetMigDeviceHandleByIndex(Device *d, uint32_t index, Device **out) {
  if (!d->is_mig || (index != 0 && index != 2)) return absent;
  return *out = &devices[index == 0 ? 2 : 3], ok;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device *d, Device **out) {
  if (d->parent < 0) return invalid;
  return *out = &devices[d->parent], ok;
}
}

// Every function of pf32.cuh on the processor, for math/cuda.test.ts: reads count, then words a, b, c; writes y. The test puts the header in front.
//
// Equation   y[i] = f(a[i], b[i], c[i]); f by argv[1], in the order of math/gpu.ts, then those of CUDA alone.

#include <cstdio>
#include <cstdlib>
#include <vector>

static u32 apply(int kind, u32 u, u32 v, u32 w) {
  using namespace pf;
  const float x = value(u), y = value(v);
  switch (kind) {
    case 0: return bits(pf::add(x, y));
    case 1: return bits(pf::sub(x, y));
    case 2: return bits(pf::mul(x, y));
    case 3: return bits(pf::exp(x));
    case 4: return bits(pf::exp2(x));
    case 5: return bits(pf::recip(x));
    case 6: return bits(pf::rsqrt(x));
    case 7: return bits(pf::sqrt(x));
    case 8: return bits(pf::ln(x));
    case 9: return bits(pf::sigmoid(x));
    case 10: return bits(pf::silu(x));
    case 11: return bits(pf::tanh(x));
    case 12: return bits(pf::erf(x));
    case 13: return pf::lowbias32(u);
    case 14: return bits(pf::round_sum((i64)(i32)u * 65536 + (i64)(v & 0xffffu), (i32)w));
    case 15: return bits(pf::round_sum((i32)u, (i32)w));
    case 16: return bits(pf::limit(x));
    case 17: return bits(pf::unorder(max(pf::order(x), pf::order(y))));
    case 18: return bits(pf::recip_positive(pf::exp(x)));
    default: return bits(pf::neg(x));
  }
}

int main(int, char** argv) {
  const int kind = std::atoi(argv[1]);
  u32 count = 0;
  if (std::fread(&count, 4, 1, stdin) != 1) return 1;
  std::vector<u32> words(3 * (size_t)count), out(count);
  if (std::fread(words.data(), 4, words.size(), stdin) != words.size()) return 1;
  for (u32 i = 0; i < count; i++) out[i] = apply(kind, words[i], words[count + i], words[2 * (size_t)count + i]);
  return std::fwrite(out.data(), 4, count, stdout) == count ? 0 : 1;
}

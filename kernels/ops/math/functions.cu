// Every function of pf32.cuh by itself, for the tests. Body; pf32.cuh comes first.
//
// Equation   y[i] = f(a[i], b[i], c[i]); f by `kind`, in the order of math/gpu.ts. The last is ROUND of hi, lo16 and the exponent.
// Work       One thread an element.

extern "C" __global__ void __launch_bounds__(256)
    functions(const u32* __restrict__ a, const u32* __restrict__ b, const u32* __restrict__ c, u32* __restrict__ y,
              u32 size, u32 kind) {
  const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= size) return;
  const u32 u = a[i], v = b[i];
  const float x = pf::value(u);
  float r = 0.0f;
  switch (kind) {
    case 0: r = pf::add(x, pf::value(v)); break;
    case 1: r = pf::sub(x, pf::value(v)); break;
    case 2: r = pf::mul(x, pf::value(v)); break;
    case 3: r = pf::exp(x); break;
    case 4: r = pf::exp2(x); break;
    case 5: r = pf::recip(x); break;
    case 6: r = pf::rsqrt(x); break;
    case 7: r = pf::sqrt(x); break;
    case 8: r = pf::ln(x); break;
    case 9: r = pf::sigmoid(x); break;
    case 10: r = pf::silu(x); break;
    case 11: r = pf::tanh(x); break;
    case 12: r = pf::erf(x); break;
    // A hash is no number: as one it might be a NaN, whose bits a float register need not keep.
    case 13: y[i] = pf::lowbias32(u); return;
    default: r = pf::round_sum((i64)(i32)u * 65536 + (i64)(v & 0xffffu), (i32)c[i]); break;
  }
  y[i] = pf::bits(r);
}

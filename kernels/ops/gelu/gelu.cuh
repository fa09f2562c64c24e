// GELU with tanh and its gradient on one value: for the op and for GEMM's epilogue. Behind pf32.cuh.
//
// Equation   t = tanh(k0 * (x + k1 * ((x * x) * x))); gelu = (0.5 * x) * (1 + t); slope = k0 * (1 + k3 * (x * x));
//            gelu_grad = dy * (0.5 * (1 + t) + ((0.5 * x) * (1 - t * t)) * slope).
// Raw        One flush at the end is enough, as gelu.wgsl and gelu-grad.wgsl show.

__device__ __forceinline__ float gelu_inner(float x, float squared) {
  return pf::tanh(pf::rmul(pf::value(0x3f4c422au), pf::radd(x, pf::rmul(pf::value(0x3d372713u), pf::rmul(squared, x)))));
}

__device__ __forceinline__ float gelu(float x) {
  return pf::mul(pf::rmul(0.5f, x), pf::radd(1.0f, gelu_inner(x, pf::rmul(x, x))));
}

__device__ __forceinline__ float gelu_grad(float x, float dy) {
  const float squared = pf::rmul(x, x);
  const float t = gelu_inner(x, squared);
  const float slope = pf::rmul(pf::value(0x3f4c422au), pf::radd(1.0f, pf::rmul(pf::value(0x3e095d4fu), squared)));
  const float bend = pf::rmul(pf::rmul(pf::rmul(0.5f, x), pf::rsub(1.0f, pf::rmul(t, t))), slope);
  return pf::mul(dy, pf::radd(pf::rmul(0.5f, pf::radd(1.0f, t)), bend));
}

// SiLU and its gradient on one value: for SwiGLU and for GEMM's epilogue. Behind pf32.cuh.
//
// Equation   s = sigmoid(x); silu = x * s; silu_grad = dy * silu_slope, silu_slope = s * (1 + x * (1 - s)).

__device__ __forceinline__ float silu(float x) {
  return pf::silu(x);
}

// The slope from x and its sigmoid.
__device__ __forceinline__ float silu_slope(float x, float s) {
  return pf::mul(s, pf::add(1.0f, pf::mul(x, pf::sub(1.0f, s))));
}

__device__ __forceinline__ float silu_grad(float x, float dy) {
  return pf::mul(dy, silu_slope(x, pf::sigmoid(x)));
}

// GELU over a tensor, forward and backward. Body; pf32.cuh, quads.cuh and gelu.cuh come first.
//
// Equation   y = gelu(x); dx = gelu_grad(x, dy): see gelu.cuh.
// Work       A thread takes quads of elements. dx may be dy: a thread reads what it then writes.

extern "C" __global__ void __launch_bounds__(256)
    gelu_forward(const float* __restrict__ x, float* __restrict__ y, u32 size) {
  for (size_t at = first_quad(); at < size; at += quad_stride()) {
    store4(y + at, size - at, map4([](float v) { return gelu(v); }, load4(x + at, size - at)));
  }
}

extern "C" __global__ void __launch_bounds__(256)
    gelu_backward(const float* __restrict__ x, const float* dy, float* dx, u32 size) {
  for (size_t at = first_quad(); at < size; at += quad_stride()) {
    const size_t left = size - at;
    const float4 v = load4(x + at, left);
    const float4 d = load4(dy + at, left);
    store4(dx + at, left, map4([](float a, float b) { return gelu_grad(a, b); }, v, d));
  }
}

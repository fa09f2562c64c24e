// One PF32 operation an element, and the outer optimiser's step. Body; pf32.cuh and quads.cuh come first.
//
// Equation   dst = clamp(f(a, b)); f by kind: 0 a + b, 1 a - b, 2 a * factor, 3 sqrt(a).
//            nesterov: m = clamp(mu * m + d); p = clamp(p + lr * (d + mu * m)).
// Work       A thread takes quads of elements. dst may be a or b: a thread reads what it then writes. b is null where the kind has none.

extern "C" __global__ void __launch_bounds__(256)
    elementwise(const float* a, const float* b, float* dst, u32 size, u32 factor_bits, u32 kind) {
  const float factor = pf::value(factor_bits);
  for (size_t at = first_quad(); at < size; at += quad_stride()) {
    const size_t left = size - at;
    const float4 x = load4(a + at, left);
    float4 v;
    if (kind < 2) {
      const float4 y = load4(b + at, left);
      if (kind == 0) v = map4([](float p, float q) { return pf::add(p, q); }, x, y);
      else v = map4([](float p, float q) { return pf::sub(p, q); }, x, y);
    } else if (kind == 2) {
      v = map4([=](float p) { return pf::mul(p, factor); }, x);
    } else {
      v = map4([](float p) { return pf::sqrt(p); }, x);
    }
    store4(dst + at, left, map4([](float p) { return pf::limit(p); }, v));
  }
}

extern "C" __global__ void __launch_bounds__(256)
    nesterov(float* __restrict__ p, float* __restrict__ momentum, const float* __restrict__ delta, u32 size,
             u32 lr_bits, u32 mu_bits) {
  const float lr = pf::value(lr_bits), mu = pf::value(mu_bits);
  for (size_t at = first_quad(); at < size; at += quad_stride()) {
    const size_t left = size - at;
    const float4 d = load4(delta + at, left);
    const float4 old = load4(momentum + at, left);
    const float4 q = load4(p + at, left);
    const float4 m = map4([=](float v, float g) { return pf::limit(pf::add(pf::mul(mu, v), g)); }, old, d);
    store4(momentum + at, left, m);
    store4(p + at, left, map4([=](float w, float v, float g) {
      return pf::limit(pf::add(w, pf::mul(lr, pf::add(g, pf::mul(mu, v)))));
    }, q, m, d));
  }
}

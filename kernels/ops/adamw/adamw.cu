// AdamW on one tensor, in place. Body; pf32.cuh and quads.cuh come first.
//
// Equation   g = g * grad_scale[0] where one is given; m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * (g * g);
//            u = (m * bias1) * recip(sqrt(v * bias2) + eps);
//            p = clamp((p - (lr * weight_decay) * p) - lr * u). lr, bias1, bias2 are words 1, 2, 3 of `scalars`.
// Raw        The root is 0 or at least 2^-50, eps at least 2^-100, so their sum is above 2^-100, and below 2^64, so its reciprocal is not flushed.
// Work       A thread takes quads of elements: 16 bytes read and 12 written an element, no more.

struct Step {
  float lr, bias1, bias2, beta1, rest1, beta2, rest2, eps, decay, grad_scale;
  bool scaled;
};

// p, m and v of one element become the next ones.
__device__ __forceinline__ void step_of(const Step& s, float& p, float g, float& m, float& v) {
  if (s.scaled) g = pf::mul(g, s.grad_scale);
  m = pf::add(pf::mul(s.beta1, m), pf::mul(s.rest1, g));
  v = pf::add(pf::mul(s.beta2, v), pf::mul(s.rest2, pf::mul(g, g)));
  const float root = pf::radd(pf::sqrt(pf::mul(v, s.bias2)), s.eps);
  const float update = pf::mul(pf::mul(m, s.bias1), pf::recip_positive(root));
  p = pf::limit(pf::sub(pf::sub(p, pf::mul(s.decay, p)), pf::mul(s.lr, update)));
}

extern "C" __global__ void __launch_bounds__(256)
    adamw(float* __restrict__ p, const float* __restrict__ g, float* __restrict__ m, float* __restrict__ v,
          const float* __restrict__ scalars, const float* __restrict__ grad_scale, u32 size, u32 beta1, u32 rest1,
          u32 beta2, u32 rest2, u32 eps, u32 weight_decay) {
  Step s;
  s.lr = scalars[1];
  s.bias1 = scalars[2];
  s.bias2 = scalars[3];
  s.beta1 = pf::value(beta1);
  s.rest1 = pf::value(rest1);
  s.beta2 = pf::value(beta2);
  s.rest2 = pf::value(rest2);
  s.eps = pf::value(eps);
  s.decay = pf::mul(s.lr, pf::value(weight_decay));
  s.scaled = grad_scale != nullptr;
  s.grad_scale = s.scaled ? grad_scale[0] : 1.0f;
  for (size_t at = first_quad(); at < size; at += quad_stride()) {
    const size_t left = size - at;
    float4 pi = load4(p + at, left);
    const float4 gi = load4(g + at, left);
    float4 mi = load4(m + at, left);
    float4 vi = load4(v + at, left);
    step_of(s, pi.x, gi.x, mi.x, vi.x);
    step_of(s, pi.y, gi.y, mi.y, vi.y);
    step_of(s, pi.z, gi.z, mi.z, vi.z);
    step_of(s, pi.w, gi.w, mi.w, vi.w);
    store4(m + at, left, mi);
    store4(v + at, left, vi);
    store4(p + at, left, pi);
  }
}

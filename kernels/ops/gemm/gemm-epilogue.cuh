// What becomes of the exact sums of a product. Behind pf32.cuh, gelu.cuh and silu.cuh.
//
// Equation   r = clamp(ROUND(sum, Ea + Eb - 2 nb)), 0 right of the diagonal; y = clamp(r + bias[n]), kept as the preactivation where asked for; y = gelu(y), silu(y),
//            or a gradient d(x, y); dst = clamp(residual + y); gemm/spec.ts. gelu and silu as their own ops have them.
// Layout     x, residual, preactivation and dst: the element (m, n) lies at base + m * row_stride + n * col_stride. residual may be dst.
// Work       Several elements a thread at once: all of a kind are loaded before the first is stored, since a store may be to what a load reads.

// Elements that a thread has in hand.
constexpr u32 HAND = 4;

struct Hand {
  bool live[HAND];
  size_t at[HAND];
  u32 n[HAND];
  float y[HAND];
};

struct Epilogue {
  const float* bias;
  const float* x;
  const float* residual;
  float* preactivation;
  float* dst;
  // 0: none, 1: gelu, 2: silu, 3 and 4: their gradients.
  u32 kind;

  __device__ __forceinline__ void activate(Hand& hand) const {
    float v[HAND];
    if (kind >= 3u) {
#pragma unroll
      for (u32 i = 0; i < HAND; i++) v[i] = hand.live[i] ? x[hand.at[i]] : 0.0f;
    }
    float (&y)[HAND] = hand.y;
    if (kind == 1u) {
#pragma unroll
      for (u32 i = 0; i < HAND; i++) y[i] = gelu(y[i]);
    } else if (kind == 2u) {
#pragma unroll
      for (u32 i = 0; i < HAND; i++) y[i] = silu(y[i]);
    } else if (kind == 3u) {
#pragma unroll
      for (u32 i = 0; i < HAND; i++) y[i] = gelu_grad(v[i], y[i]);
    } else {
#pragma unroll
      for (u32 i = 0; i < HAND; i++) y[i] = silu_grad(v[i], y[i]);
    }
  }

  // hand.y are the rounded sums.
  __device__ __forceinline__ void store(Hand& hand) const {
    float (&y)[HAND] = hand.y;
    if (bias) {
#pragma unroll
      for (u32 i = 0; i < HAND; i++) y[i] = pf::limit(pf::add(y[i], hand.live[i] ? bias[hand.n[i]] : 0.0f));
    }
    if (preactivation) {
#pragma unroll
      for (u32 i = 0; i < HAND; i++)
        if (hand.live[i]) preactivation[hand.at[i]] = y[i];
    }
    if (kind) activate(hand);
    if (residual) {
      float more[HAND];
#pragma unroll
      for (u32 i = 0; i < HAND; i++) more[i] = hand.live[i] ? residual[hand.at[i]] : 0.0f;
#pragma unroll
      for (u32 i = 0; i < HAND; i++) y[i] = pf::limit(pf::add(more[i], y[i]));
    }
#pragma unroll
    for (u32 i = 0; i < HAND; i++)
      if (hand.live[i]) dst[hand.at[i]] = y[i];
  }
};

// The rectangle of results that a block may write, and what they are made with.
struct Target {
  Epilogue epilogue;
  // Exponents of the rows and the columns; those of the columns are null where they are folded into the rows.
  const i32* a_exponents;
  const i32* b_exponents;
  i32 nb;
  // Columns n < m + reach are computed; all of them where it is 0.
  u32 reach;
  // Rows below m_end, columns below n_end.
  u32 m_end;
  u32 n_end;
  size_t base;
  u32 row_stride;
  u32 col_stride;

  __device__ __forceinline__ bool reaches(u32 m, u32 n) const {
    return reach == 0u || n < m + reach;
  }

  __device__ __forceinline__ i32 exponent(u32 m, u32 n) const {
    return a_exponents[m] - nb + (b_exponents ? b_exponents[n] - nb : 0);
  }

  // Element i of a hand: (m, n), of this sum.
  template <class Sum>
  __device__ __forceinline__ void take(Hand& hand, u32 i, u32 m, u32 n, Sum sum) const {
    const bool live = m < m_end && n < n_end;
    hand.live[i] = live;
    hand.n[i] = n;
    hand.at[i] = base + (size_t)m * row_stride + (size_t)n * col_stride;
    hand.y[i] = live && reaches(m, n) ? pf::round_sum(sum, exponent(m, n)) : 0.0f;
  }
};

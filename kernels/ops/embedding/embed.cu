// Embedding forward. Body; pf32.cuh comes first.
//
// Equation   x[m][c] = clamp(wte[tokens[m]][c] + wpe[positions[m] or m mod T][c]), or clamp(wte[tokens[m]][c]) where wpe is null.
// Layout     tokens, positions: u32 [rows]; wte [V][cols], wpe [P][cols], x [rows][cols]. A row that a table does not have is read as zeros.
// Work       One thread for four neighbours (embed4: cols a multiple of 4), or for one element.

__device__ __forceinline__ float embedded(float token, float position, bool learned) {
  return pf::limit(learned ? pf::add(token, position) : token);
}

extern "C" __global__ void __launch_bounds__(256) embed(const u32* tokens, const float* wte, const float* wpe, const u32* positions, float* x, u32 rows, u32 cols,
                                                        u32 T, u32 V, u32 P) {
  const size_t i = (size_t)blockIdx.x * 256u + threadIdx.x;
  if (i >= (size_t)rows * cols) return;
  const u32 row = (u32)(i / cols);
  const u32 c = (u32)(i % cols);
  const u32 token = tokens[row];
  const u32 position = positions ? positions[row] : row % T;
  const float a = token < V ? wte[(size_t)token * cols + c] : 0.0f;
  const float b = wpe && position < P ? wpe[(size_t)position * cols + c] : 0.0f;
  x[i] = embedded(a, b, wpe != nullptr);
}

extern "C" __global__ void __launch_bounds__(256) embed4(const u32* tokens, const float4* wte, const float4* wpe, const u32* positions, float4* x, u32 rows,
                                                         u32 quads, u32 T, u32 V, u32 P) {
  const size_t i = (size_t)blockIdx.x * 256u + threadIdx.x;
  if (i >= (size_t)rows * quads) return;
  const u32 row = (u32)(i / quads);
  const u32 c = (u32)(i % quads);
  const u32 token = tokens[row];
  const u32 position = positions ? positions[row] : row % T;
  const float4 none = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  const float4 a = token < V ? wte[(size_t)token * quads + c] : none;
  const float4 b = wpe && position < P ? wpe[(size_t)position * quads + c] : none;
  const bool learned = wpe != nullptr;
  x[i] = make_float4(embedded(a.x, b.x, learned), embedded(a.y, b.y, learned), embedded(a.z, b.z, learned), embedded(a.w, b.w, learned));
}

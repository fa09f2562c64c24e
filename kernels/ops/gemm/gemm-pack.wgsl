// Packs the mantissas of an operand of 7 bits, four a word, for gemm-dot4.wgsl. Body; pf32.wgsl comes first.
//
// Layout     src [lines][src_stride]: vec4 of integers |q| <= 127 held as f32. dst [lines][words]: byte i of word k is element 4 k + i, two's
//            complement; zeros from the contraction's end on, whatever src holds there.
// Work       An invocation packs a word: memory is all it costs, (M + N) K where the product takes M N K.

struct Params {
  lines: u32,
  // Words of a line, vec4 steps of the contraction and what of the last one counts, and vec4 from one line of src to the next.
  words: u32,
  K4: u32,
  last: u32,
  src_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> src: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> dst: array<u32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let index = (group.y * grid.x + group.x) * 64u + local;
  if (index >= params.lines * params.words) {
    return;
  }
  let k = index % params.words;
  var word = 0u;
  if (k < params.K4) {
    let q = bitcast<vec4u>(vec4i(src[(index / params.words) * params.src_stride + k])) & vec4u(255u);
    let kept = select(4u, params.last, k + 1u == params.K4);
    let bytes = select(vec4u(), q << vec4u(0u, 8u, 16u, 24u), vec4u(0u, 1u, 2u, 3u) < vec4u(kept));
    word = bytes.x | bytes.y | bytes.z | bytes.w;
  }
  dst[index] = word;
}

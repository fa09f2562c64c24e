// Embedding forward. Body; pf32.wgsl comes first.
//
// Equation   x[m][c] = clamp(wte[tokens[m]][c] + wpe[positions[m] or m mod T][c]), or clamp(wte[tokens[m]][c]).
// Work       One invocation an element.

struct Params {
  rows: u32,
  cols: u32,
  T: u32,
  // 0: no wpe, 1: the position is m mod T, 2: it is in `positions`.
  learned: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read> wte: array<u32>;
@group(0) @binding(4) var<storage, read> wpe: array<u32>;
@group(0) @binding(5) var<storage, read> positions: array<u32>;
@group(0) @binding(6) var<storage, read_write> x: array<u32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  z = zero[0];
  let i = (group.y * grid.x + group.x) * 256u + local;
  if (i >= params.rows * params.cols) {
    return;
  }
  let row = i / params.cols;
  let c = i % params.cols;
  var value = wte[tokens[row] * params.cols + c];
  if (params.learned != 0u) {
    var position = row % params.T;
    if (params.learned == 2u) {
      position = positions[row];
    }
    value = add(value, wpe[position * params.cols + c]);
  }
  x[i] = limit(value);
}

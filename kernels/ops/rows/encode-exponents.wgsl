// First half of encodeRows: the exponent of each row, a byte. Body; pf32.wgsl comes first.
//
// Equation   E = (largest size >> 23) - 126, or -99 for a row of zeros; x = src, clamp(src - minus) or clamp(sqrt(src)) by `kind` 0, 1, 2.
// Layout     src, minus [rows][cols]; exponents [rows] bytes, four to a word, what is left of the last word 0.
// Work       A workgroup takes ROWS rows, LANES invocations each: an integer max, so order-free. The first lane of every fourth row packs a word.
// Requires   ROWS a multiple of 4, ROWS * LANES <= 256.

override ROWS: u32 = 4;
override LANES: u32 = 64;

struct Params {
  rows: u32,
  cols: u32,
  kind: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> src: array<u32>;
@group(0) @binding(3) var<storage, read> minus: array<u32>;
@group(0) @binding(4) var<storage, read_write> exponents: array<u32>;

var<workgroup> largest: array<atomic<u32>, 256>;

fn value(i: u32) -> u32 {
  if (params.kind == 1u) {
    return limit(sub(src[i], minus[i]));
  }
  if (params.kind == 2u) {
    return limit(sqrt_(src[i]));
  }
  return src[i];
}

@compute @workgroup_size(LANES, ROWS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  z = zero[0];
  let row = (group.y * grid.x + group.x) * ROWS + local.y;
  var own = 0u;
  if (row < params.rows) {
    for (var c = local.x; c < params.cols; c += LANES) {
      own = max(own, value(row * params.cols + c) & abs_mask);
    }
  }
  atomicMax(&largest[local.y], own);
  workgroupBarrier();
  if (local.x != 0u || local.y % 4u != 0u || row >= params.rows) {
    return;
  }
  var word = 0u;
  for (var i = 0u; i < min(4u, params.rows - row); i++) {
    let amax = atomicLoad(&largest[local.y + i]);
    let e = select(i32(amax >> 23u) - 126, -99, amax < tiny);
    word |= (bitcast<u32>(e) & 255u) << (8u * i);
  }
  exponents[row / 4u] = word;
}

// The factor that clips a gradient. Body; pf32.wgsl comes first.
//
// Equation   norm = sqrt(total[0]); dst[0] = norm > largest ? largest * recip(norm) : 1.
// Work       One invocation. Both sides of the comparison are positive, so their bits compare as they do.

struct Params {
  largest: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> total: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<u32>;

@compute @workgroup_size(1)
fn main() {
  z = zero[0];
  let norm = sqrt_(total[0]);
  dst[0] = select(one, mul(params.largest, recip_(norm)), norm > params.largest);
}

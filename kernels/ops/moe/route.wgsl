// The experts of each token and their gates. Body; pf32.wgsl comes first.
//
// Equation   ids[t][j]: the j-th largest of E logits, the lower index among equals; e_j = exp(l_j - l_0); gates[t][j] = e_j * recip((e_0 + e_1) + ...).
// Layout     logits [M][E]; ids, gates [M][k].
// Work       One invocation a token. The next choice is the largest logit after the last one in that order, so nothing is marked.

struct Params {
  M: u32,
  E: u32,
  k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<u32>;
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;
@group(0) @binding(4) var<storage, read_write> gates: array<u32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  z = zero[0];
  let t = (group.y * grid.x + group.x) * 64u + local;
  if (t >= params.M) {
    return;
  }
  let row = t * params.E;
  let slot = t * params.k;
  // Before every logit.
  var last = 0x7fffffff;
  var chosen = 0u;
  var largest = 0u;
  var total = 0u;
  for (var j = 0u; j < params.k; j++) {
    var best = bitcast<i32>(sign_bit);
    var at = 0u;
    for (var e = 0u; e < params.E; e++) {
      let key = order(logits[row + e]);
      let follows = key < last || (key == last && e > chosen);
      if (follows && key > best) {
        best = key;
        at = e;
      }
    }
    last = best;
    chosen = at;
    let l = bitcast<u32>(order(bitcast<u32>(best)));
    largest = select(largest, l, j == 0u);
    let e = exp_(sub(l, largest));
    total = select(add(total, e), e, j == 0u);
    ids[slot + j] = at;
    gates[slot + j] = e;
  }
  let inverse = recip_(total);
  for (var j = 0u; j < params.k; j++) {
    gates[slot + j] = mul(gates[slot + j], inverse);
  }
}

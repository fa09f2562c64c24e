// Softmax cross-entropy over rows of logits. Body; pf32.wgsl and reduce.wgsl come first.
//
// Equation   e = exp(l - max l); loss = (ln(sum e) + max l) - l[target]; with a gradient the logits become (e * recip(sum e) - onehot) * factor.
// Layout     logits [rows][V]; targets, losses [rows].
// Work       LANES invocations a row. An invocation reads and writes only its own lane's logits, so storage needs no barrier; the target's logit
//            goes through workgroup memory.

struct Params {
  rows: u32,
  V: u32,
  // Not 0: the logits become the gradient.
  gradient: u32,
  factor: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> logits: array<u32>;
@group(0) @binding(3) var<storage, read> targets: array<u32>;
@group(0) @binding(4) var<storage, read_write> losses: array<u32>;

var<private> at: u32;
var<private> largest: u32;

// 0: the logit; 1: e, which replaces it when a gradient is wanted.
fn term(which: u32, i: u32) -> u32 {
  let l = logits[at + i];
  if (which == 0u) {
    return l;
  }
  let e = exp_(sub(l, largest));
  if (params.gradient != 0u) {
    logits[at + i] = e;
  }
  return e;
}

@compute @workgroup_size(LANES, SLOTS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  let row = begin(group, grid, local.x, local.y, params.rows);
  at = row * params.V;
  let count = select(0u, params.V, live);
  let goal = min(targets[row], params.V - 1u);
  let wanted = from_lane(goal, logits[at + goal]);
  largest = max_terms(0u, count);
  let total = sum_terms(1u, count, params.V);
  if (live && lane == 0u) {
    losses[row] = sub(add(ln_(total), largest), wanted);
  }
  if (params.gradient != 0u) {
    let inverse = recip_(total);
    for (var i = lane; i < count; i += LANES) {
      let p = mul(logits[at + i], inverse);
      logits[at + i] = mul(select(p, sub(p, one), i == goal), params.factor);
    }
  }
}

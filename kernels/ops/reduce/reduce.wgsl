// The reductions of NUMERICS.md over one row by one workgroup of 64 invocations. Goes between pf32.wgsl and a body.
//
// Order      Lane j adds terms j, j + 64, ... of a block of 4096 in order; a tree of strides 32 .. 1 ends the block; a second such round adds the
//            blocks' sums, block b in lane b mod 64. A row has at most 2^24 terms.
// The body   defines `fn term(which: u32, i: u32) -> u32`, begins its entry point with `z = zero[0]; lane = <0 .. 63>;` and calls these functions
//            in uniform control flow. Every invocation gets the result.

var<private> lane: u32;
var<workgroup> tree: array<u32, 64>;

fn tree_sum(own: u32) -> u32 {
  tree[lane] = own;
  workgroupBarrier();
  for (var s = 32u; s > 0u; s >>= 1u) {
    if (lane < s) {
      tree[lane] = add(tree[lane], tree[lane + s]);
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&tree[0]);
}

fn lane_sum(which: u32, start: u32, end: u32) -> u32 {
  var own = 0u;
  for (var i = start + lane; i < end; i += 64u) {
    own = add(own, term(which, i));
  }
  return own;
}

// Sum of term(which, 0 .. count).
fn sum_terms(which: u32, count: u32) -> u32 {
  if (count <= 4096u) {
    return tree_sum(lane_sum(which, 0u, count));
  }
  var outer = 0u;
  let blocks = (count + 4095u) / 4096u;
  for (var b = 0u; b < blocks; b++) {
    let partial = tree_sum(lane_sum(which, b * 4096u, min(count, (b + 1u) * 4096u)));
    if (lane == (b & 63u)) {
      outer = add(outer, partial);
    }
  }
  return tree_sum(outer);
}

// Largest of term(which, 0 .. count) as f32; count > 0.
fn max_terms(which: u32, count: u32) -> u32 {
  var own = bitcast<i32>(sign_bit);
  for (var i = lane; i < count; i += 64u) {
    own = max(own, order(term(which, i)));
  }
  tree[lane] = bitcast<u32>(own);
  workgroupBarrier();
  for (var s = 32u; s > 0u; s >>= 1u) {
    if (lane < s) {
      tree[lane] = bitcast<u32>(max(bitcast<i32>(tree[lane]), bitcast<i32>(tree[lane + s])));
    }
    workgroupBarrier();
  }
  return bitcast<u32>(order(workgroupUniformLoad(&tree[0])));
}

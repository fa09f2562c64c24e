// The reductions of NUMERICS.md, one row by one invocation: for adapters that run on the CPU, where a barrier and an access by an index that is known
// late cost more than arithmetic. Goes between pf32.wgsl and a body; reduce.wgsl is the variant for GPUs and for rows of any length.
//
// Order      The 64 lanes are 16 vectors. `quad` adds the terms of four of them, then strides 32 and 16 of the tree; strides 8 and 4 join the four
//            quads, taken in the order in which two values kept are enough; strides 2 and 1 lie inside one vector.
// The body   defines `fn term4(which: u32, i: u32) -> vec4u`, vector i of the row.
// Requires   A row is a multiple of 16 vectors, and at most 1024.

fn row_of(group: vec3u, grid: vec3u, local: u32) -> u32 {
  z = zero[0];
  return (group.y * grid.x + group.x) * 16u + local;
}

fn quad(which: u32, first: u32, vectors: u32) -> vec4u {
  var a = vec4u();
  var b = vec4u();
  var c = vec4u();
  var d = vec4u();
  for (var i = first; i < vectors; i += 16u) {
    a = add4(a, term4(which, i));
    b = add4(b, term4(which, i + 8u));
    c = add4(c, term4(which, i + 4u));
    d = add4(d, term4(which, i + 12u));
  }
  return add4(add4(a, b), add4(c, d));
}

fn lanes_sum(v: vec4u) -> u32 {
  return add(add(v.x, v.z), add(v.y, v.w));
}

// Sum of term4(which, 0 .. vectors).
fn sum_row(which: u32, vectors: u32) -> u32 {
  var kept = vec4u();
  var total = vec4u();
  for (var n = 0u; n < 4u; n++) {
    let own = quad(which, ((n & 1u) << 1u) | (n >> 1u), vectors);
    if ((n & 1u) == 0u) {
      kept = own;
    } else {
      total = add4(total, add4(kept, own));
    }
  }
  return lanes_sum(total);
}

// Which elements of vector i are among the first `count` of the row.
fn in_row(i: u32, count: u32) -> vec4<bool> {
  return vec4i(i32(i * 4u)) + vec4i(0, 1, 2, 3) < vec4i(i32(count));
}

fn largest_of(v: vec4i) -> i32 {
  return max(max(v.x, v.y), max(v.z, v.w));
}

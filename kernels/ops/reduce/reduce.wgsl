// The reductions of NUMERICS.md, one row by LANES invocations. Goes between pf32.wgsl and a body.
//
// Order      Lane j of 64 adds terms j, j + 64, ... of a block of 4096 in order; a tree of strides 32 .. 1 ends the block; a second such round
//            adds the blocks' sums, block b in lane b mod 64. A row has at most 2^20 terms: see gpu.ts.
// Work       A workgroup takes SLOTS rows. An invocation stands for 64 / LANES lanes: the tree's strides down to LANES lie inside it, the rest in
//            workgroup memory. LANES = 64 suits a GPU, LANES = 1, which needs no barrier, an adapter that runs on the CPU: the same bits.
// The body   defines `fn term(which: u32, i: u32) -> u32`, calls `begin` first and these functions in uniform control flow; a row that is not
//            `live` must count no terms and store nothing. Every invocation of a row gets its result.
// Requires   LANES a power of two up to 64, LANES * SLOTS <= 256.

override LANES: u32 = 64;
override SLOTS: u32 = 1;

var<private> lane: u32;
var<private> slot: u32;
var<private> live: bool;
var<workgroup> tree: array<u32, 256>;

// The row of this invocation; the last one for those that are not live.
fn begin(group: vec3u, grid: vec3u, own_lane: u32, own_slot: u32, rows: u32) -> u32 {
  z = zero[0];
  lane = own_lane;
  slot = own_slot;
  let row = (group.y * grid.x + group.x) * SLOTS + slot;
  live = row < rows;
  return min(row, rows - 1u);
}

fn tree_sum(own: u32) -> u32 {
  if (LANES == 1u) {
    return own;
  }
  let place = slot * LANES + lane;
  workgroupBarrier();
  tree[place] = own;
  for (var s = LANES / 2u; s > 0u; s >>= 1u) {
    workgroupBarrier();
    if (lane < s) {
      tree[place] = add(tree[place], tree[place + s]);
    }
  }
  workgroupBarrier();
  return tree[slot * LANES];
}

// The lanes of this invocation, in bit-reversed order: then neighbours are what the tree adds, and a stack of its height will do.
fn lane_sum(which: u32, start: u32, end: u32) -> u32 {
  var stack: array<u32, 8>;
  var height = 0u;
  for (var n = 0u; n < 64u / LANES; n++) {
    var own = 0u;
    for (var i = start + lane + (reverseBits(n) >> 26u); i < end; i += 64u) {
      own = add(own, term(which, i));
    }
    for (var bits = n; (bits & 1u) == 1u; bits >>= 1u) {
      height--;
      own = add(stack[height], own);
    }
    stack[height] = own;
    height++;
  }
  return stack[0];
}

// Sum of term(which, 0 .. count); count <= longest, which is the same for every row.
fn sum_terms(which: u32, count: u32, longest: u32) -> u32 {
  if (longest <= 4096u) {
    return tree_sum(lane_sum(which, 0u, count));
  }
  // A lane of the second round is held by the invocation that holds it in the first.
  var outer: array<u32, 64>;
  let blocks = (longest + 4095u) / 4096u;
  for (var b = 0u; b < blocks; b++) {
    let partial = tree_sum(lane_sum(which, b * 4096u, min(count, (b + 1u) * 4096u)));
    let at = (b & 63u) / LANES;
    outer[at] = select(outer[at], add(outer[at], partial), lane == (b & 63u) % LANES);
  }
  for (var s = 32u / LANES; s > 0u; s >>= 1u) {
    for (var q = 0u; q < s; q++) {
      outer[q] = add(outer[q], outer[q + s]);
    }
  }
  return tree_sum(outer[0]);
}

// Largest of term(which, 0 .. count) as f32.
fn max_terms(which: u32, count: u32) -> u32 {
  var own = bitcast<i32>(sign_bit);
  for (var i = lane; i < count; i += LANES) {
    own = max(own, order(term(which, i)));
  }
  if (LANES == 1u) {
    return bitcast<u32>(order(bitcast<u32>(own)));
  }
  let place = slot * LANES + lane;
  workgroupBarrier();
  tree[place] = bitcast<u32>(own);
  for (var s = LANES / 2u; s > 0u; s >>= 1u) {
    workgroupBarrier();
    if (lane < s) {
      tree[place] = bitcast<u32>(max(bitcast<i32>(tree[place]), bitcast<i32>(tree[place + s])));
    }
  }
  workgroupBarrier();
  return bitcast<u32>(order(tree[slot * LANES]));
}

// The value of the one lane that has it.
fn from_lane(owner: u32, value: u32) -> u32 {
  if (LANES == 1u) {
    return value;
  }
  workgroupBarrier();
  if (lane == owner % LANES) {
    tree[slot * LANES] = value;
  }
  workgroupBarrier();
  return tree[slot * LANES];
}

// Four rows of A for four invocations: each reads one and swaps with the others. A prelude of gemm-direct.wgsl, for adapters with subgroups.
//
// Row r of invocation `lane` is row (r xor lane) of the four: a quad's swaps cost a fraction of a load, and of a broadcast too.

struct Lane {
  @builtin(subgroup_invocation_id) index: u32,
}

struct Four {
  r0: vec4f,
  r1: vec4f,
  r2: vec4f,
  r3: vec4f,
}

// The row of a tile that is row i of its invocation `lane`.
fn row_of(i: u32, lane: u32) -> u32 {
  return i ^ lane;
}

// Where this invocation's one of the rows m .. m + 3 begins.
fn four_begin(batch: u32, m: u32, lane: u32) -> u32 {
  return (batch * params.a_lines + min(m + lane, params.M - 1u)) * params.a_stride;
}

fn four_rows(begin: u32, k: u32) -> Four {
  let own = a[begin + k];
  return Four(own, quadSwapX(own), quadSwapY(own), quadSwapDiagonal(own));
}

// Four rows of A for an invocation that reads them all. A prelude of gemm-direct.wgsl, for adapters without subgroups.

struct Lane {
  @builtin(local_invocation_index) index: u32,
}

struct Four {
  r0: vec4f,
  r1: vec4f,
  r2: vec4f,
  r3: vec4f,
}

// The row of a tile that is row i of its invocation `lane`.
fn row_of(i: u32, lane: u32) -> u32 {
  return i;
}

fn a_row(batch: u32, m: u32) -> u32 {
  return (batch * params.a_lines + min(m, params.M - 1u)) * params.a_stride;
}

// Where rows m .. m + 3 begin.
fn four_begin(batch: u32, m: u32, lane: u32) -> vec4u {
  return vec4u(a_row(batch, m), a_row(batch, m + 1u), a_row(batch, m + 2u), a_row(batch, m + 3u));
}

fn four_rows(begin: vec4u, k: u32) -> Four {
  return Four(a[begin.x + k], a[begin.y + k], a[begin.z + k], a[begin.w + k]);
}

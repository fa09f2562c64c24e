// QUANT: rows of f32 -> integers of nb bits with one exponent a row. Body; pf32.wgsl and quantize-view.wgsl come first.
//
// Equation   q[r][c] = round(src[r][c] * 2^(nb - E_r)), E_r the exponent of the row's largest element; NUMERICS.md, QUANT. Integers only, since
//            a device may flush subnormals.
// Work       A workgroup takes ROWS rows, LANES invocations each; an invocation reads every LANES-th element, twice: for the largest (an integer
//            max, so order-free), then to round. ROWS > 1 where neighbouring rows lie side by side in memory, LANES > 1 where columns do.
// Requires   ROWS * LANES <= 256.

override ROWS: u32 = 1;
override LANES: u32 = 64;

var<workgroup> largest: array<atomic<u32>, 256>;

fn nearest_even(m: u32, shift: u32) -> u32 {
  let s = min(shift, 25u);
  let q = m >> s;
  let r = m & ((1u << s) - 1u);
  let tie = 1u << (s - 1u);
  return q + select(0u, 1u, r > tie || (r == tie && (q & 1u) == 1u));
}

fn stochastic(mantissa: u32, shift: u32, random: u32) -> u32 {
  let m = select(mantissa, mantissa >> min(max(shift, 31u) - 31u, 31u), shift > 31u);
  let s = min(shift, 31u);
  return (m + (random & ((1u << s) - 1u))) >> s;
}

fn load(base: u32, batch: u32, c: u32) -> u32 {
  let u = src[base + c * params.col_stride];
  if (params.folded != 0u) {
    return scale(u, fold[batch * params.folded + c] - i32(params.nb));
  }
  return u;
}

fn round_word(u: u32, exponent: u32, seed: u32, index: u32) -> f32 {
  let a = u & abs_mask;
  if (a < tiny) {
    return 0.0;
  }
  let m = (a & 0x7fffffu) | 0x800000u;
  let shift = 24u - params.nb + exponent - (a >> 23u);
  var q: u32;
  if (params.stochastic != 0u) {
    q = stochastic(m, shift, lowbias32(seed + index * 0x9e3779b9u));
  } else {
    q = nearest_even(m, shift);
  }
  let i = i32(min(q, params.qmax));
  return f32(select(i, -i, (u & sign_bit) != 0u));
}

@compute @workgroup_size(ROWS, LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
  @builtin(local_invocation_id) local: vec3u,
) {
  let index = (group.y * grid.x + group.x) * ROWS + local.x;
  let live = index < params.total;
  let row = min(index, params.total - 1u);
  let batch = row / params.rows;
  let r = row % params.rows;
  let base = params.offset + (batch / params.n1) * params.s0 + (batch % params.n1) * params.s1 + r * params.row_stride;

  var own = 0u;
  for (var c = local.y; c < params.cols; c += LANES) {
    own = max(own, load(base, batch, c) & abs_mask);
  }
  atomicMax(&largest[local.x], own);
  workgroupBarrier();
  let to = select(params.dst_row, position[0], params.moved != 0u) + r;
  if (!live || to < r || to >= params.dst_rows) {
    return;
  }
  let amax = atomicLoad(&largest[local.x]);
  let zeros = amax < tiny;
  if (local.y == 0u) {
    exponents[batch * params.dst_rows + to] = select(i32(amax >> 23u) - 126, -99, zeros);
  }
  var seed = 0u;
  if (params.stochastic != 0u) {
    seed = lowbias32(scalars[0] ^ (params.site * 0x85ebca6bu));
  }
  let out = batch * params.out_batch + to * params.out_row;
  for (var c = local.y; c < params.cols; c += LANES) {
    var q = 0.0;
    if (!zeros) {
      q = round_word(load(base, batch, c), amax >> 23u, seed, base + c * params.col_stride);
    }
    mantissas[out + c * params.out_col] = q;
  }
}

// What the QUANT kernels share: the uniform struct, the buffers, and scaling by a power of two. Goes between pf32.wgsl and a body.
//
// Layout     src: a strided view with two batch dimensions. dst: [batch][lines][stride] f32 words that hold integers, lines being rows, or
//            columns when transposed. Padding and rows that are not written stay as they are.

struct Params {
  offset: u32,
  s0: u32,
  n1: u32,
  s1: u32,
  row_stride: u32,
  col_stride: u32,
  rows: u32,
  cols: u32,
  // Rows of all batches.
  total: u32,
  qmax: u32,
  out_batch: u32,
  out_row: u32,
  out_col: u32,
  nb: u32,
  // Not 0: stochastic rounding, at this site of the step.
  stochastic: u32,
  site: u32,
  // Not 0: the exponents in `fold`, so many a batch, scale the columns.
  folded: u32,
  // Rows of a batch of dst, and the first one that is written; with `moved` it is the word of `position`.
  dst_rows: u32,
  dst_row: u32,
  moved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> src: array<u32>;
@group(0) @binding(3) var<storage, read> fold: array<i32>;
@group(0) @binding(4) var<storage, read> scalars: array<u32>;
@group(0) @binding(5) var<storage, read> position: array<u32>;
@group(0) @binding(6) var<storage, read_write> mantissas: array<f32>;
@group(0) @binding(7) var<storage, read_write> exponents: array<i32>;

// u * 2^n, PF32, on integers: exact or 0.
fn scale(u: u32, n: i32) -> u32 {
  let a = u & abs_mask;
  if (a == 0u) {
    return 0u;
  }
  var m = a & 0x7fffffu;
  var e = i32(a >> 23u);
  if (e == 0) {
    let l = countLeadingZeros(m) - 8u;
    m = (m << l) & 0x7fffffu;
    e = 1 - i32(l);
  }
  e += n;
  if (e < 27) {
    return 0u;
  }
  return (u & sign_bit) | select((u32(e) << 23u) | m, 0x7f800000u, e > 254);
}

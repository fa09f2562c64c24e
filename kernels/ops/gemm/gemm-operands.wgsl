// Operands of the GEMM kernels as QUANT writes them: vec4 of integers held as f32, K padded with zeros. After gemm-tile.wgsl.

// 1: the contraction ends inside a vec4 whose other elements are not zeros.
override TAIL: u32 = 0;

@group(0) @binding(2) var<storage, read> a: array<vec4f>;
@group(0) @binding(4) var<storage, read> b: array<vec4f>;

// 1.5 * 2^23: for an integer |x| <= 2^22, x + magic is exact and its bits are those of magic plus x.
const magic = 12582912.0;
const magic_bits = 0x4b400000;

// Step k of the row of A that begins at `row`.
fn a_at(row: u32, k: u32) -> vec4f {
  let value = a[row + k];
  if (TAIL == 0u || k + 1u < params.K4) {
    return value;
  }
  return select(vec4f(), value, vec4u(0u, 1u, 2u, 3u) < vec4u(params.last));
}

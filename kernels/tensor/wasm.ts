/**
 * Views and operands as WASM kernels see them: records of words in memory, written by the host when an op is recorded (device/wasm-ops.ts).
 *
 * Mantissas are i16 in panels: four lines (rows along the contraction) side by side, two contraction steps at a time, so that 16 bytes hold
 * [line 0 k, k+1] [line 1 k, k+1] [line 2 ...] [line 3 ...]. A product loads them as they are for its right side and splats a word for its left.
 * The contraction is padded to 8 and lines to 4, with zeros. A panel is an odd number of 64-byte lines, so that panels do not compete for cache sets.
 */

@unmanaged
export class View {
  /** Address of the tensor. */
  data: usize;
  /** In elements, as all strides are. */
  offset: i32;
  n0: i32;
  s0: i32;
  n1: i32;
  s1: i32;
  rows: i32;
  rowStride: i32;
  cols: i32;
  colStride: i32;
}

@unmanaged
export class Operand {
  mantissas: usize;
  exponents: usize;
  batch: i32;
  /** Rows that share an exponent, a batch. */
  rows: i32;
  /** Lines along the contraction: `rows`, or the columns when transposed. */
  lines: i32;
  /** The contraction. */
  length: i32;
  panelBytes: i32;
  transposed: i32;
  /** 1: mantissas are i8, so that panels have half the bytes; only on the right side of products. */
  narrow: i32;
}

/** Index of a batch's first element. */
@inline
export function batchOffset(v: View, batch: i32): i32 {
  return v.offset + (batch / v.n1) * v.s0 + (batch % v.n1) * v.s1;
}

@inline
export function panelsOf(o: Operand): i32 {
  return (o.lines + 3) >> 2;
}

/** Address of a panel of a batch. */
@inline
export function panelAt(o: Operand, batch: i32, panel: i32): usize {
  return o.mantissas + <usize>(batch * panelsOf(o) + panel) * <usize>o.panelBytes;
}

/** Where part `part` of `parts` begins among `count` things; part + 1 gives its end. */
@inline
export function share(count: i32, part: i32, parts: i32): i32 {
  return <i32>((<i64>count * part) / parts);
}

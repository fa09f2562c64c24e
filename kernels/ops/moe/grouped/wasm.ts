/**
 * Products of a mixture of experts in AssemblyScript: the kernel of gemm/wasm.ts on one expert's part of the operands after the other.
 *
 * 'rows': experts from the last to the first, each from the panel of four rows on that its first row lies in. Rows of the expert before come out wrong and
 * are written again by that expert; a part has columns of its own, so this order holds with several.
 * 'contraction': a part copies its rows' positions of the expert, from a multiple of 8 to one, with zeros in place of other experts' positions; what b then holds there
 * does not count.
 */
import { Operand, panelAt, panelsOf, share, View } from '../../../tensor/wasm.ts';
import { add, clamp, put } from '../../math/wasm.ts';
import { gemm, Gemm } from '../../gemm/wasm.ts';

@unmanaged
export class Grouped {
  a: Operand;
  b: Operand;
  offsets: usize;
  dst: usize;
  /** Address of a tensor with dst's layout, or 0. */
  residual: usize;
  E: i32;
  nb: i32;
  /** Room for a copy of a's mantissas; 'contraction' only. */
  copy: usize;
}

/** Bytes of the records below, before the scratch of `gemm`. */
const recordsBytes: usize = 256;

/** Records of one expert's product, all 0 but its operands and view. */
function product(g: Grouped, scratch: usize): Gemm {
  memory.fill(scratch, 0, recordsBytes);
  const p = changetype<Gemm>(scratch);
  p.a = changetype<Operand>(scratch + offsetof<Gemm>());
  p.b = changetype<Operand>(changetype<usize>(p.a) + offsetof<Operand>());
  p.dst = changetype<View>(changetype<usize>(p.b) + offsetof<Operand>());
  p.nb = g.nb;
  p.a.batch = 1;
  p.b.batch = 1;
  p.a.panelBytes = g.a.panelBytes;
  p.b.panelBytes = g.b.panelBytes;
  p.b.narrow = g.b.narrow;
  p.dst.n0 = 1;
  p.dst.n1 = 1;
  p.dst.rowStride = g.b.rows;
  p.dst.colStride = 1;
  return p;
}

/** Lines `from` .. `to` of a batch of q; `from` begins a panel. */
function lines(p: Operand, q: Operand, batch: i32, from: i32, to: i32): void {
  p.mantissas = panelAt(q, batch, from >> 2);
  p.exponents = q.exponents + (<usize>(batch * q.rows + from) << 2);
  p.rows = to - from;
  p.lines = to - from;
}

@inline
function setLength(p: Gemm, length: i32): void {
  p.length = length;
  p.a.length = length;
  p.b.length = length;
}

@inline
function offsetOf(g: Grouped, e: i32, most: i32): i32 {
  return <i32>min(load<u32>(g.offsets + (<usize>e << 2)), <u32>most);
}

/** Scratch: 256 bytes, then what `gemm` takes. */
export function groupedRows(g: Grouped, scratch: usize, part: i32, parts: i32): void {
  const R = g.a.rows;
  const N = g.b.rows;
  const groups = (N + 7) >> 3;
  const n0 = share(groups, part, parts) << 3;
  const n1 = min(N, share(groups, part + 1, parts) << 3);
  if (n0 >= n1) return;
  const p = product(g, scratch);
  setLength(p, g.a.length);
  p.dst.data = g.dst;
  p.dst.cols = n1 - n0;
  for (let r = offsetOf(g, g.E, R); r < R; r++) memory.fill(g.dst + (<usize>(r * N + n0) << 2), 0, <usize>(n1 - n0) << 2);
  for (let e = g.E - 1; e >= 0; e--) {
    const first = offsetOf(g, e, R);
    const end = offsetOf(g, e + 1, R);
    if (first >= end) continue;
    const start = first & ~3;
    lines(p.a, g.a, 0, start, end);
    lines(p.b, g.b, e, n0, n1);
    p.dst.offset = start * N + n0;
    p.dst.rows = end - start;
    gemm(p, scratch + recordsBytes, 0, 1);
  }
}

/** Scratch: as above. */
export function groupedContraction(g: Grouped, scratch: usize, part: i32, parts: i32): void {
  const M = g.a.rows;
  const N = g.b.rows;
  const panels = panelsOf(g.a);
  const m0 = share(panels, part, parts) << 2;
  const m1 = min(M, share(panels, part + 1, parts) << 2);
  if (m0 >= m1) return;
  const p = product(g, scratch);
  p.dst.data = g.dst;
  p.residual = g.residual;
  p.dst.rows = m1 - m0;
  p.dst.cols = N;
  lines(p.a, g.a, 0, m0, m1);
  lines(p.b, g.b, 0, 0, N);
  for (let e = 0; e < g.E; e++) {
    const start = offsetOf(g, e, g.a.length);
    const end = offsetOf(g, e + 1, g.a.length);
    const at = (e * M + m0) * N;
    if (start >= end) {
      empty(g, at, (m1 - m0) * N);
      continue;
    }
    const from = start & ~7;
    const length = ((end + 7) & ~7) - from;
    const copy = g.copy + <usize>(m0 >> 2) * <usize>g.a.panelBytes;
    for (let i = m0 >> 2; i < (m1 + 3) >> 2; i++) {
      const to = g.copy + <usize>i * <usize>g.a.panelBytes;
      memory.copy(to, panelAt(g.a, 0, i) + (<usize>from << 3), <usize>length << 3);
      clear(to, 0, start - from);
      clear(to, end - from, length);
    }
    p.a.mantissas = copy;
    p.b.mantissas = g.b.mantissas + (<usize>from << 3);
    setLength(p, length);
    p.dst.offset = at;
    gemm(p, scratch + recordsBytes, 0, 1);
  }
}

/** Zeros at steps `from` .. `to` of a panel: 16 bytes hold two steps of four lines. */
function clear(panel: usize, from: i32, to: i32): void {
  for (let k = from; k < to; k++) {
    const at = panel + (<usize>(k >> 1) << 4);
    const keep = i32x4.splat(k & 1 ? 0x0000ffff : 0xffff0000);
    v128.store(at, v128.and(v128.load(at), keep));
  }
}

/** An expert without positions: 0, or what is added to it. */
function empty(g: Grouped, at: i32, count: i32): void {
  const from = <usize>at << 2;
  for (let i: usize = 0; i < <usize>count << 2; i += 16) {
    const zero = i32x4.splat(0);
    const value = g.residual == 0 ? zero : clamp(add(v128.load(g.residual + from + i), zero));
    put(g.dst + from + i, value, count - <i32>(i >> 2));
  }
}

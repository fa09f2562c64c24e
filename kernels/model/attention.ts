/**
 * Causal attention over groups of heads, as exact products and a PF32 softmax, in tiles of 128 queries: no T x T matrix is kept beyond one tile.
 *
 * Queries start .. end of a tile attend to keys 0 .. end. Forward: S = q k^T, P = softmax(S / sqrt(HD)), out = P v. The rows of v are quantised one by one
 * and their scales folded into P before P is quantised (decision 0003): a position never sees a scale that a later position decided, so a cache of keys
 * and values gives the same bits. Backward: P again from q and k; dP = dO v^T, dv += P^T dO, dS from the softmax, dq = dS k, dk += dS^T q; from the last
 * tile to the first, so that the first addition covers every row; k^T is quantised once, over all of T. Head j of every group goes before head j + 1.
 * Scores of a tile lie as [batch * NKV][rows][width], width = 128, 256, 512, ... up to T: their place decides stochastic rounding.
 */
import type { Ops } from '../device/device.ts';
import { rsqrt } from '../ops/math/cpu.ts';
import { type Quantized, type Tensor, transpose, type View } from '../tensor/tensor.ts';
import { stochasticAt } from './context.ts';
import { sites } from './sites.ts';
import type { OperandPool, OperandRole } from './operand-pool.ts';
import type { Precision } from './policy.ts';

export interface AttentionShape {
  batch: number;
  T: number;
  NH: number;
  /** Heads of k and v; NH / NKV heads of q share one. */
  NKV: number;
  HD: number;
}

/** Queries of a tile; part of the definition. */
export const tileRows = 128;

export interface Tile {
  index: number;
  start: number;
  end: number;
  rows: number;
  /** Columns that its scores are laid out with; those from `end` on are 0. */
  width: number;
}

/** The tile of queries start .. start + rows among keys of which at most T exist. */
export function tileAt(start: number, rows: number, T: number): Tile {
  const end = start + rows;
  return { index: Math.floor(start / tileRows), start, end, rows, width: widthFor(end, T) };
}

/** 128, 256, 512, ... up to T: the least that holds `count` keys. */
export function widthFor(count: number, T: number): number {
  let width = tileRows;
  while (width < count) width *= 2;
  return Math.min(width, T);
}

export function tilesOf(T: number): Tile[] {
  return Array.from({ length: Math.ceil(T / tileRows) }, (_, i) =>
    tileAt(i * tileRows, Math.min(tileRows, T - i * tileRows), T),
  );
}

/** Columns of q, k and v side by side. */
export function qkvWidth({ NH, NKV, HD }: Pick<AttentionShape, 'NH' | 'NKV' | 'HD'>): number {
  return (NH + 2 * NKV) * HD;
}

/** Words of the scores of one tile of one head of each group. */
export function scoresSize({ batch, T, NKV }: AttentionShape): number {
  return batch * NKV * Math.min(T, tileRows) * T;
}

/** Keys and values as they enter the products: [batch * NKV][T][HD], the values transposed. */
export interface KeysAndValues {
  k: Quantized;
  v: Quantized;
}

export class Attention {
  private readonly pool: OperandPool;
  readonly precision: Precision;
  readonly scalars: Tensor;
  private readonly shape: AttentionShape;
  private readonly group: number;

  constructor(pool: OperandPool, precision: Precision, scalars: Tensor, shape: AttentionShape) {
    this.pool = pool;
    this.precision = precision;
    this.scalars = scalars;
    this.shape = shape;
    this.group = shape.NH / shape.NKV;
  }

  /** Whether the probabilities of all heads may stay from forward to backward: they are one tile. */
  get keepsProbabilities(): boolean {
    return this.shape.T <= tileRows && this.group === 1;
  }

  /** qkv [B, T, (NH + 2 NKV) HD] -> out [B, T, NH HD]. `scores` [scoresSize] is scratch; of a single tile and head it is left holding P. */
  forward(ops: Ops, qkv: Tensor, scores: Tensor, out: Tensor): void {
    const { T, NH, HD } = this.shape;
    const { nb } = this.precision;
    const kv: KeysAndValues = {
      k: this.operand(ops, 'k', this.keys(qkv)),
      v: this.pool.take('v', this.heads, T, HD, true),
    };
    ops.quantize({ src: this.values(qkv), dst: kv.v, nb });
    for (const tile of tilesOf(T)) {
      for (let j = 0; j < this.group; j++) {
        const dst = this.queriesOf(out, NH * HD, 0, tile, j);
        this.forwardTile(ops, this.queries(qkv, tile, j), kv, tile, scores, dst);
      }
    }
  }

  /** One tile of one head of each group: q -> out, both [rows, HD] a batch. */
  private forwardTile(
    ops: Ops,
    q: View,
    { k, v }: KeysAndValues,
    tile: Tile,
    scores: Tensor,
    out: View,
  ): void {
    const { nb } = this.precision;
    this.probabilities(ops, q, k, tile, scores);
    const p = this.tileView(scores, tile);
    const qp = this.pool.take('a', p.batch[0], p.rows, p.cols);
    ops.quantize({ src: p, dst: qp, nb, foldScale: v });
    ops.gemm({ a: qp, b: v, dst: out, nb, ...upTo(tile.width, v.rows) });
  }

  /** scores = softmax of a tile's q k^T. */
  private probabilities(ops: Ops, q: View, k: Quantized, tile: Tile, scores: Tensor): void {
    const { nb } = this.precision;
    const { start, rows, width } = tile;
    const causal = start === 0 ? true : { offset: start };
    ops.gemm({ a: this.operand(ops, 'a', q), b: k, dst: this.tileView(scores, tile), nb, causal });
    const shape = { batch: this.heads, rows, cols: width, offset: start, scale: this.scale() };
    ops.softmax({ scores, ...shape });
  }

  /**
   * dout [B, T, NH HD] -> dqkv. `kept`: the probabilities that a forward pass left behind, where `keepsProbabilities`; else they are recomputed in
   * `scores`. `scratch` [scoresSize] holds dP, then dS.
   */
  backward(
    ops: Ops,
    layer: number,
    io: { qkv: Tensor; dout: Tensor; dqkv: Tensor },
    buffers: { kept: Tensor | null; scores: Tensor; scratch: Tensor },
  ): void {
    const operands = {
      k: buffers.kept ? null : this.operand(ops, 'k', this.keys(io.qkv)),
      kT: this.operand(ops, 'kT', transpose(this.keys(io.qkv))),
      v: this.operand(ops, 'v', this.values(io.qkv)),
    };
    for (const tile of tilesOf(this.shape.T).reverse()) {
      for (let j = 0; j < this.group; j++) this.backwardTile(ops, layer, tile, j, io, buffers, operands);
    }
  }

  private backwardTile(
    ops: Ops,
    layer: number,
    tile: Tile,
    j: number,
    { qkv, dout, dqkv }: { qkv: Tensor; dout: Tensor; dqkv: Tensor },
    { kept, scores, scratch }: { kept: Tensor | null; scores: Tensor; scratch: Tensor },
    { k, kT, v }: { k: Quantized | null; kT: Quantized; v: Quantized },
  ): void {
    const { T, NH, HD } = this.shape;
    const { nb } = this.precision;
    const { start, end, rows, width } = tile;
    const site = (product: 0 | 1 | 2 | 3) => sites.attention(layer, product, tile.index, j);
    const q = this.queries(qkv, tile, j);
    const dO = this.queriesOf(dout, NH * HD, 0, tile, j);
    const [p, dS] = [this.tileView(kept ?? scores, tile), this.tileView(scratch, tile)];
    // Only the last tile's first head finds nothing to add to.
    const residual = end === T && j === 0 ? {} : { residual: dqkv };
    if (k) this.probabilities(ops, q, k, tile, scores);
    const causal = start === 0 ? true : { offset: start };
    ops.gemm({ a: this.operand(ops, 'a', dO, site(0)), b: v, dst: dS, nb, causal });
    const dv = { a: this.operand(ops, 'a', transpose(p)), b: this.operand(ops, 'b', transpose(dO), site(1)) };
    ops.gemm({ ...dv, dst: { ...this.values(dqkv), rows: end }, nb, ...residual });
    const shape = { batch: this.heads, rows, cols: width, offset: start, scale: this.scale() };
    ops.softmaxGrad({ probabilities: p.tensor, gradient: scratch, ...shape });
    const dq = { a: this.operand(ops, 'a', dS, site(2)), b: kT };
    ops.gemm({ ...dq, dst: this.queries(dqkv, tile, j), nb, ...upTo(width, T) });
    const dk = { a: this.operand(ops, 'a', transpose(dS), site(3)), b: this.operand(ops, 'b', transpose(q)) };
    ops.gemm({ ...dk, dst: { ...this.keys(dqkv), rows: end }, nb, ...residual });
  }

  /** Quantises a view into the pool's operand of this role; at a `site`, stochastically where the policy says so. */
  private operand(ops: Ops, role: OperandRole, src: View, site: number | null = null): Quantized {
    const dst = this.pool.take(role, src.batch[0] * src.batch[2], src.rows, src.cols);
    ops.quantize({ src, dst, nb: this.precision.nb, ...stochasticAt(this, site) });
    return dst;
  }

  /** 1 / sqrt(HD), PF32. */
  private scale(): number {
    return rsqrt(this.shape.HD);
  }

  /** Matrices of a product. */
  private get heads(): number {
    return this.shape.batch * this.shape.NKV;
  }

  /** Queries of a tile for head j of every group, inside qkv or its gradient. */
  private queries(qkv: Tensor, tile: Tile, j: number): View {
    return this.queriesOf(qkv, qkvWidth(this.shape), 0, tile, j);
  }

  private queriesOf(tensor: Tensor, rowStride: number, offset: number, tile: Tile, j: number): View {
    const { HD } = this.shape;
    const first = offset + tile.start * rowStride + j * HD;
    return this.headsOf(tensor, rowStride, first, this.group * HD, tile.rows);
  }

  private keys(qkv: Tensor): View {
    const { NH, HD, T } = this.shape;
    return this.headsOf(qkv, qkvWidth(this.shape), NH * HD, HD, T);
  }

  private values(qkv: Tensor): View {
    const { NH, NKV, HD, T } = this.shape;
    return this.headsOf(qkv, qkvWidth(this.shape), (NH + NKV) * HD, HD, T);
  }

  private headsOf(tensor: Tensor, rowStride: number, offset: number, headStride: number, rows: number): View {
    const { batch, T, NKV, HD } = this.shape;
    return {
      tensor,
      offset,
      batch: [batch, T * rowStride, NKV, headStride],
      rows,
      rowStride,
      cols: HD,
      colStride: 1,
    };
  }

  private tileView(tensor: Tensor, { rows, width }: Tile): View {
    const batch = [this.heads, rows * width, 1, 0] as const;
    return { tensor, offset: 0, batch, rows, rowStride: width, cols: width, colStride: 1 };
  }
}

/** The `length` option of a product over the first `count` of a contraction. */
export function upTo(count: number, all: number): { length?: number } {
  return count < all ? { length: count } : {};
}

/**
 * Causal attention of new positions over a cache of quantised keys and values; the same bits as attention.ts gives them.
 *
 * Every row of q, k and P is quantised by itself, and v by rows whose scales P takes over, so a row never depends on those after it. Where the new rows go
 * is read from a tensor when a recording runs; only the width of the scores is recorded, and what lies beyond the position is dropped by the softmax.
 */
import type { Ops } from '../device/device.ts';
import { rsqrt } from '../ops/math/cpu.ts';
import { matrix, type Quantized, type Tensor, type View } from '../tensor/tensor.ts';
import { type KeysAndValues, upTo } from './attention.ts';
import type { ModelContext } from './context.ts';

/** Keys and values of one layer for all positions: [NKV][T][HD], the values transposed. */
export function layerCache({ device, shape }: ModelContext): KeysAndValues {
  const { NKV, T, HD } = shape;
  return { k: device.quantized(NKV, T, HD), v: device.quantized(NKV, T, HD, true) };
}

export class CachedAttention {
  private readonly context: ModelContext;
  private readonly caches: readonly KeysAndValues[];
  /** Word 0: where row 0 of the pass stands. */
  private readonly position: Tensor;

  /** `context.M` rows of one sequence pass at a time. */
  constructor(context: ModelContext, caches: readonly KeysAndValues[], position: Tensor) {
    this.context = context;
    this.caches = caches;
    this.position = position;
  }

  /** qkv [M, QKV] -> out [M, C], over the first `width` keys of the cache, those of these rows included. `scores` [NH * M * width] is scratch. */
  forward(ops: Ops, layer: number, width: number, qkv: Tensor, scores: Tensor, out: Tensor): void {
    const { shape, M, precision } = this.context;
    const { NH, NKV, HD, QKV } = shape;
    const { k, v } = this.caches[layer] as KeysAndValues;
    const part = (first: number): View => ({
      ...matrix(qkv, M, HD, first * HD),
      rowStride: QKV,
      batch: [1, 0, NKV, HD],
    });
    const common = { nb: precision.nb, dstRow: this.position };
    ops.quantize({ src: part(NH), dst: k, ...common });
    ops.quantize({ src: part(NH + NKV), dst: v, ...common });
    const group = NH / NKV;
    if (M === 1) {
      // The heads of a group are rows of one product: none of them sees another.
      const heads = (tensor: Tensor): View => ({
        ...matrix(tensor, group, HD),
        batch: [1, 0, NKV, group * HD],
      });
      this.attend(ops, heads(qkv), heads(out), { k, v }, width, scores);
      return;
    }
    for (let j = 0; j < group; j++) {
      const heads = (tensor: Tensor, rowStride: number): View => ({
        ...matrix(tensor, M, HD, j * HD),
        rowStride,
        batch: [1, 0, NKV, group * HD],
      });
      this.attend(ops, heads(qkv, QKV), heads(out, NH * HD), { k, v }, width, scores);
    }
  }

  private attend(ops: Ops, q: View, out: View, { k, v }: KeysAndValues, width: number, scores: Tensor): void {
    const { shape, M, precision, pool } = this.context;
    const { NKV, HD, T } = shape;
    const { nb } = precision;
    const { rows } = q;
    const p: View = { ...matrix(scores, rows, width), batch: [1, 0, NKV, rows * width] };
    const take = (src: View): Quantized => pool.take('a', NKV, src.rows, src.cols);
    const [qq, qp] = [take(q), take(p)];
    ops.quantize({ src: q, dst: qq, nb });
    ops.gemm({ a: qq, b: k, dst: p, nb });
    const each = M === 1 ? { batch: NKV * rows, rows: 1 } : { batch: NKV, rows };
    const softmax = { ...each, cols: width, offset: 0, position: this.position, scale: rsqrt(HD) };
    ops.softmax({ scores, ...softmax });
    ops.quantize({ src: p, dst: qp, nb, foldScale: v });
    ops.gemm({ a: qp, b: v, dst: out, nb, ...upTo(width, T) });
  }
}

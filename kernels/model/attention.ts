/**
 * Causal multi-head attention as exact products and a PF32 softmax.
 *
 * Forward: S = q k^T, P = softmax(S / sqrt(HD)), out = P v. The rows of v are quantised one by one and their scales folded into P before P is
 * quantised (decision 0003): a position never sees a scale that a later position decided, so a cache of keys and values gives the same bits.
 * Backward: dP = dO v^T, dv = P^T dO, dS from the softmax, dq = dS k, dk = dS^T q.
 */
import type { Ops } from '../device/device.ts';
import { rsqrt } from '../ops/math/cpu.ts';
import type { QuantizeArgs } from '../ops/quantize/spec.ts';
import { type Tensor, transpose, type View } from '../tensor/tensor.ts';
import { sites } from './linear.ts';
import type { OperandPool } from './operand-pool.ts';
import type { Precision } from './policy.ts';

export interface AttentionShape {
  batch: number;
  T: number;
  C: number;
  NH: number;
}

export class Attention {
  private readonly pool: OperandPool;
  private readonly precision: Precision;
  private readonly scalars: Tensor;
  private readonly shape: AttentionShape;

  constructor(pool: OperandPool, precision: Precision, scalars: Tensor, shape: AttentionShape) {
    this.pool = pool;
    this.precision = precision;
    this.scalars = scalars;
    this.shape = shape;
  }

  /** qkv [B, T, 3C] -> probabilities [B * NH, T, T], out [B, T, C]. */
  forward(ops: Ops, qkv: Tensor, probabilities: Tensor, out: Tensor): void {
    const { batch, T, NH } = this.shape;
    const { nb } = this.precision;
    const scores = this.scores(probabilities);
    this.product(ops, this.part(qkv, 0), this.part(qkv, 1), scores, { causal: true });
    ops.softmax({
      scores: probabilities,
      batch: batch * NH,
      rows: T,
      cols: T,
      offset: 0,
      scale: this.scale(),
    });
    const v = this.part(qkv, 2);
    const qv = this.pool.take('b', batch * NH, v.rows, v.cols, true);
    const qp = this.pool.take('a', batch * NH, T, T);
    ops.quantize({ src: v, dst: qv, nb });
    ops.quantize({ src: scores, dst: qp, nb, foldScale: qv });
    ops.gemm({ a: qp, b: qv, dst: this.heads(out), nb });
  }

  /** dout [B, T, C] -> dqkv [B, T, 3C]. `scratch` [B * NH, T, T] holds dP, then dS. */
  backward(
    ops: Ops,
    layer: number,
    qkv: Tensor,
    probabilities: Tensor,
    dout: Tensor,
    scratch: Tensor,
    dqkv: Tensor,
  ): void {
    const { batch, T, NH } = this.shape;
    const dO = this.heads(dout);
    const p = this.scores(probabilities);
    const dS = this.scores(scratch);
    const [q, k, v] = [this.part(qkv, 0), this.part(qkv, 1), this.part(qkv, 2)];
    const site = (product: 0 | 1 | 2 | 3) => sites.attention(layer, product);
    this.product(ops, dO, v, dS, { siteA: site(0), causal: true });
    this.product(ops, transpose(p), transpose(dO), this.part(dqkv, 2), { siteB: site(1) });
    ops.softmaxGrad({
      probabilities,
      gradient: scratch,
      batch: batch * NH,
      rows: T,
      cols: T,
      offset: 0,
      scale: this.scale(),
    });
    this.product(ops, dS, transpose(k), this.part(dqkv, 0), { siteA: site(2) });
    this.product(ops, transpose(dS), transpose(q), this.part(dqkv, 1), { siteA: site(3) });
  }

  /** dst = a b^T for every batch and head; `siteA` or `siteB` names the operand that is a gradient. */
  private product(
    ops: Ops,
    a: View,
    b: View,
    dst: View,
    options: { siteA?: number; siteB?: number; causal?: boolean },
  ): void {
    const { nb } = this.precision;
    const heads = this.shape.batch * this.shape.NH;
    const qa = this.pool.take('a', heads, a.rows, a.cols);
    const qb = this.pool.take('b', heads, b.rows, b.cols);
    ops.quantize({ src: a, dst: qa, nb, ...this.stochastic(options.siteA) });
    ops.quantize({ src: b, dst: qb, nb, ...this.stochastic(options.siteB) });
    ops.gemm({ a: qa, b: qb, dst, nb, causal: options.causal ?? false });
  }

  private stochastic(site: number | undefined): Pick<QuantizeArgs, 'stochastic'> {
    if (site === undefined || !this.precision.stochastic) return {};
    return { stochastic: { site, scalars: this.scalars } };
  }

  /** 1 / sqrt(HD), PF32. */
  private scale(): number {
    return rsqrt(this.shape.C / this.shape.NH);
  }

  /** q (0), k (1) or v (2) of every head inside [B, T, 3C]. */
  private part(qkv: Tensor, index: 0 | 1 | 2): View {
    return this.headsOf(qkv, 3 * this.shape.C, index * this.shape.C);
  }

  /** Every head inside [B, T, C]. */
  private heads(tensor: Tensor): View {
    return this.headsOf(tensor, this.shape.C, 0);
  }

  private headsOf(tensor: Tensor, rowStride: number, offset: number): View {
    const { batch, T, C, NH } = this.shape;
    const hd = C / NH;
    return {
      tensor,
      offset,
      batch: [batch, T * rowStride, NH, hd],
      rows: T,
      rowStride,
      cols: hd,
      colStride: 1,
    };
  }

  private scores(tensor: Tensor): View {
    const { batch, T, NH } = this.shape;
    return {
      tensor,
      offset: 0,
      batch: [batch * NH, T * T, 1, 0],
      rows: T,
      rowStride: T,
      cols: T,
      colStride: 1,
    };
  }
}

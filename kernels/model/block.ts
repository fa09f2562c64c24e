/**
 * One transformer block: x2 = x + proj(attention(norm1(x))), out = x2 + mlp(norm2(x2)); forward, and backward by hand.
 *
 * The backward pass needs the activations of the forward pass; they may be those that it left behind, or be computed again from x (`forward` with
 * `out` null), which gives the same bits.
 */
import type { Ops } from '../device/device.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Attention } from './attention.ts';
import type { ModelContext } from './context.ts';
import { ExpertMlp } from './experts.ts';
import { Linear } from './linear.ts';
import { DenseMlp, type Mlp } from './mlp.ts';
import { Norm, type NormState, normState } from './norm.ts';
import type { Rotary } from './rotary.ts';

export interface BlockActivations {
  norm1: NormState;
  /** [M, QKV], positions already rotated in. */
  qkv: Tensor;
  /** The probabilities, where they are kept; else scratch of all blocks. */
  scores: Tensor;
  /** [M, C], what the heads give. */
  heads: Tensor;
  /** [M, C]. */
  x2: Tensor;
  norm2: NormState;
  mlp: unknown;
}

/** Gradients of activations, shared by all blocks. */
export interface BlockGradients {
  /** [M, C] of the residual stream: in, the block's output; out, its input. */
  residual: Tensor;
  /** [M, C] of a norm's output. */
  norm: Tensor;
  heads: Tensor;
  qkv: Tensor;
  dScores: Tensor;
  mlp: unknown;
}

/** What all blocks of a model share. */
export interface BlockParts {
  /** Attention of a layer: qkv [M, QKV] -> out [M, C]. */
  attend: (ops: Ops, layer: number, qkv: Tensor, scores: Tensor, out: Tensor) => void;
  /** The same with a backward pass; null where there is none. */
  attention: Attention | null;
  rotary: Rotary | null;
  /** Scratch for a tile's scores; null where each block keeps its own. */
  scores: Tensor | null;
  scoresSize: number;
}

export class Block {
  private readonly context: ModelContext;
  private readonly parts: BlockParts;
  private readonly layer: number;
  private readonly norm1: Norm;
  private readonly qkv: Linear;
  private readonly proj: Linear;
  private readonly norm2: Norm;
  private readonly mlp: Mlp<unknown, unknown>;

  constructor(context: ModelContext, parts: BlockParts, layer: number) {
    const name = `h${layer}`;
    this.context = context;
    this.parts = parts;
    this.layer = layer;
    this.norm1 = new Norm(context, `${name}.ln1`);
    this.qkv = new Linear(context, `${name}.attn.qkv`);
    this.proj = new Linear(context, `${name}.attn.proj`);
    this.norm2 = new Norm(context, `${name}.ln2`);
    const { experts } = context.shape;
    const mlp = experts ? new ExpertMlp(context, name, experts) : new DenseMlp(context, name);
    this.mlp = mlp as Mlp<unknown, unknown>;
  }

  activations(): BlockActivations {
    const { device, shape, M } = this.context;
    return {
      norm1: normState(this.context),
      qkv: device.tensor(M * shape.QKV),
      scores: this.parts.scores ?? device.tensor(this.parts.scoresSize),
      heads: device.tensor(M * shape.C),
      x2: device.tensor(M * shape.C),
      norm2: normState(this.context),
      mlp: this.mlp.activations(),
    };
  }

  gradients(): BlockGradients {
    const { device, shape, M } = this.context;
    return {
      residual: device.tensor(M * shape.C),
      norm: device.tensor(M * shape.C),
      heads: device.tensor(M * shape.C),
      qkv: device.tensor(M * shape.QKV),
      dScores: device.tensor(this.parts.scoresSize),
      mlp: this.mlp.gradients(),
    };
  }

  /** x, out [M, C]. */
  forward(ops: Ops, x: Tensor, a: BlockActivations, out: Tensor | null): void {
    const { attend, rotary } = this.parts;
    this.norm1.forward(ops, x, a.norm1);
    this.qkv.forward(ops, a.norm1.y, a.qkv);
    rotary?.apply(ops, a.qkv, false);
    attend(ops, this.layer, a.qkv, a.scores, a.heads);
    this.proj.forward(ops, a.heads, a.x2, { residual: x });
    this.norm2.forward(ops, a.x2, a.norm2);
    this.mlp.forward(ops, a.norm2.y, a.mlp, out, a.x2);
  }

  /** From the gradient of the block's output to that of its input, both in `g.residual`; and the gradients of its parameters. */
  backward(ops: Ops, x: Tensor, a: BlockActivations, g: BlockGradients): void {
    const { attention, rotary } = this.parts;
    this.mlp.backward(ops, g.residual, a.norm2.y, a.mlp, g.mlp, g.norm);
    this.norm2.backward(ops, g.norm, a.x2, a.norm2, g.residual, true);
    this.proj.backward(ops, g.residual, a.heads, g.heads);
    const io = { qkv: a.qkv, dout: g.heads, dqkv: g.qkv };
    const kept = this.parts.scores ? null : a.scores;
    attention?.backward(ops, this.layer, io, { kept, scores: a.scores, scratch: g.dScores });
    rotary?.apply(ops, g.qkv, true);
    this.qkv.backward(ops, g.qkv, a.norm1.y, g.norm);
    this.norm1.backward(ops, g.norm, x, a.norm1, g.residual, true);
  }
}

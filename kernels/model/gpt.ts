/**
 * A GPT over bytes on any device: forward, hand-written backward and AdamW, as recordings of ops.
 *
 * Pre-norm, causal attention, GELU, tied embeddings, no biases in linears. Shapes use B, T, C, V, L, NH, M = B * T and HD = C / NH. All activations
 * are kept for the backward pass; gradient buffers are shared between layers. After llm.c's train_gpt2.c, with exact products.
 */
import type { ModelConfig, Policy } from '#protocol/messages/job.ts';
import type { Device, Ops, Recording } from '../device/device.ts';
import { scalarCount, scalarWords } from '../ops/adamw/spec.ts';
import { constant } from '../ops/math/cpu.ts';
import { matrix, type Tensor, transpose } from '../tensor/tensor.ts';
import type { Bits } from '../ops/quantize/spec.ts';
import { Attention } from './attention.ts';
import { type ParameterSpec, parameterLayout } from './layout.ts';
import { Linear, sites } from './linear.ts';
import { OperandPool } from './operand-pool.ts';
import { precisionOf } from './policy.ts';

/** One parameter on the device. Gradient and moments exist only when training. */
export interface Parameter {
  spec: ParameterSpec;
  value: Tensor;
  grad: Tensor | null;
  m: Tensor | null;
  v: Tensor | null;
}

export interface Optimiser {
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
}

/** What changes from step to step; reals are f32 bits. */
export interface StepScalars {
  seed: number;
  lr: number;
  bias1: number;
  bias2: number;
}

interface LayerActivations {
  x: Tensor;
  ln1: Tensor;
  mean1: Tensor;
  rstd1: Tensor;
  qkv: Tensor;
  probabilities: Tensor;
  heads: Tensor;
  x2: Tensor;
  ln2: Tensor;
  mean2: Tensor;
  rstd2: Tensor;
  up: Tensor;
  act: Tensor;
}

export class Gpt {
  readonly parameters: readonly Parameter[];
  private readonly device: Device;
  private readonly model: ModelConfig;
  private readonly batch: number;
  private readonly M: number;
  private readonly linear: Linear;
  private readonly attention: Attention;
  private readonly layers: LayerActivations[];
  private readonly tokens: Tensor;
  private readonly targets: Tensor;
  private readonly positions: Tensor;
  private readonly scalars: Tensor;
  private readonly last: Tensor;
  private readonly lnf: Tensor;
  private readonly meanf: Tensor;
  private readonly rstdf: Tensor;
  private readonly logits: Tensor;
  /** [M] nats, of the last run. */
  readonly lossPerToken: Tensor;
  private readonly loss: Tensor;
  private readonly pool: OperandPool;
  private readonly nb: Bits;

  constructor(device: Device, model: ModelConfig, batch: number, policy: Policy, training: boolean) {
    const { L, C, NH, T, V } = model;
    const M = batch * T;
    this.device = device;
    this.model = model;
    this.batch = batch;
    this.M = M;
    const precision = precisionOf[policy];
    this.nb = precision.nb;
    this.pool = new OperandPool(device);
    this.scalars = device.tensor(scalarCount);
    this.linear = new Linear(this.pool, precision, this.scalars);
    this.attention = new Attention(this.pool, precision, this.scalars, { batch, T, C, NH });
    this.parameters = parameterLayout(model).map((spec) => {
      const make = () => device.tensor(spec.rows * spec.cols);
      const trained = () => (training ? make() : null);
      return { spec, value: make(), grad: trained(), m: trained(), v: trained() };
    });
    this.layers = Array.from({ length: L }, () => this.layerActivations());
    this.tokens = device.tensor(M);
    this.targets = device.tensor(M);
    this.positions = device.tensor(M);
    device.write(
      this.positions,
      Uint32Array.from({ length: M }, (_, i) => i % T),
    );
    this.last = device.tensor(M * C);
    this.lnf = device.tensor(M * C);
    this.meanf = device.tensor(M);
    this.rstdf = device.tensor(M);
    this.logits = device.tensor(M * V);
    this.lossPerToken = device.tensor(M);
    this.loss = device.tensor(1);
  }

  private layerActivations(): LayerActivations {
    const { C, NH, T } = this.model;
    const rows = (width: number) => this.device.tensor(this.M * width);
    return {
      x: rows(C),
      ln1: rows(C),
      mean1: rows(1),
      rstd1: rows(1),
      qkv: rows(3 * C),
      probabilities: this.device.tensor(this.batch * NH * T * T),
      heads: rows(C),
      x2: rows(C),
      ln2: rows(C),
      mean2: rows(1),
      rstd2: rows(1),
      up: rows(4 * C),
      act: rows(4 * C),
    };
  }

  /** Copies values in layout order into the parameters. */
  load(weights: Float32Array): void {
    for (const { spec, value } of this.parameters) {
      this.device.write(value, weights.subarray(spec.offset, spec.offset + spec.rows * spec.cols));
    }
  }

  private parameter(name: string): Parameter & { index: number } {
    const index = this.parameters.findIndex(({ spec }) => spec.name === name);
    return { ...(this.parameters[index] as Parameter), index };
  }

  /** Records the forward pass with the mean loss, and no gradients. */
  recordForward(): Recording {
    return this.device.record((ops) => this.forward(ops, false));
  }

  /** Records a whole training step: forward, backward, AdamW. */
  recordStep(optimiser: Optimiser): Recording {
    const backward = new Backward(this.device, this.model, this.M);
    return this.device.record((ops) => {
      this.forward(ops, true);
      this.backward(ops, backward);
      this.update(ops, optimiser);
    });
  }

  /** Sets windows of T + 1 tokens, row after row: inputs are the first T, targets the last T. */
  setTokens(windows: Uint8Array): void {
    const { T } = this.model;
    const tokens = new Uint32Array(this.M);
    const targets = new Uint32Array(this.M);
    for (let i = 0; i < this.M; i++) {
      const at = Math.floor(i / T) * (T + 1) + (i % T);
      tokens[i] = windows[at] as number;
      targets[i] = windows[at + 1] as number;
    }
    this.device.write(this.tokens, tokens);
    this.device.write(this.targets, targets);
  }

  setScalars(step: StepScalars): void {
    const words = new Uint32Array(scalarCount);
    for (const [name, at] of Object.entries(scalarWords)) words[at] = step[name as keyof StepScalars];
    this.device.write(this.scalars, words);
  }

  /** Mean loss of the last run, nats per token. Waits for the device. */
  async readLoss(): Promise<number> {
    return (await this.device.read(this.loss))[0] as number;
  }

  private forward(ops: Ops, training: boolean): void {
    const { L, C, T, V } = this.model;
    const { M } = this;
    const first = this.layers[0]?.x ?? this.last;
    const wte = this.parameter('wte');
    ops.embed({
      tokens: this.tokens,
      wte: wte.value,
      wpe: this.parameter('wpe').value,
      x: first,
      rows: M,
      cols: C,
      T,
    });
    for (let l = 0; l < L; l++) this.forwardLayer(ops, l, this.layers[l + 1]?.x ?? this.last);
    const [gain, bias] = [this.parameter('lnf.gain').value, this.parameter('lnf.bias').value];
    const norm = { x: this.last, gain, bias, y: this.lnf, mean: this.meanf, rstd: this.rstdf };
    ops.layerNorm({ ...norm, rows: M, cols: C });
    this.linear.forward(ops, matrix(this.lnf, M, C), matrix(wte.value, V, C), matrix(this.logits, M, V));
    ops.crossEntropy({
      logits: this.logits,
      targets: this.targets,
      losses: this.lossPerToken,
      rows: M,
      V,
      ...(training ? { gradientScale: constant(1 / M) } : {}),
    });
    ops.sum({ src: this.lossPerToken, count: M, factor: constant(1 / M), dst: this.loss, at: 0 });
  }

  private forwardLayer(ops: Ops, l: number, out: Tensor): void {
    const { C } = this.model;
    const { M } = this;
    const a = this.layers[l] as LayerActivations;
    const p = (name: string) => this.parameter(`h${l}.${name}`).value;
    const [gain1, bias1, gain2, bias2] = [p('ln1.gain'), p('ln1.bias'), p('ln2.gain'), p('ln2.bias')];
    const norm1 = { x: a.x, gain: gain1, bias: bias1, y: a.ln1, mean: a.mean1, rstd: a.rstd1 };
    ops.layerNorm({ ...norm1, rows: M, cols: C });
    this.linear.forward(ops, matrix(a.ln1, M, C), matrix(p('attn.qkv'), 3 * C, C), matrix(a.qkv, M, 3 * C));
    this.attention.forward(ops, a.qkv, a.probabilities, a.heads);
    this.linear.forward(ops, matrix(a.heads, M, C), matrix(p('attn.proj'), C, C), matrix(a.x2, M, C), a.x);
    const norm2 = { x: a.x2, gain: gain2, bias: bias2, y: a.ln2, mean: a.mean2, rstd: a.rstd2 };
    ops.layerNorm({ ...norm2, rows: M, cols: C });
    this.linear.forward(ops, matrix(a.ln2, M, C), matrix(p('mlp.up'), 4 * C, C), matrix(a.up, M, 4 * C));
    ops.gelu({ x: a.up, y: a.act, size: M * 4 * C });
    this.linear.forward(
      ops,
      matrix(a.act, M, 4 * C),
      matrix(p('mlp.down'), C, 4 * C),
      matrix(out, M, C),
      a.x2,
    );
  }

  private backward(ops: Ops, g: Backward): void {
    const { L, C, V } = this.model;
    const { M, nb } = this;
    const wte = this.parameter('wte');
    const wpe = this.parameter('wpe');
    const dlogits = matrix(this.logits, M, V);
    this.linear.backward(
      ops,
      {
        dy: dlogits,
        x: matrix(this.lnf, M, C),
        w: matrix(wte.value, V, C),
        dw: wte.grad as Tensor,
        index: wte.index,
      },
      matrix(g.norm, M, C),
    );
    this.normBackward(ops, 'lnf', g, this.last, this.meanf, this.rstdf, false);
    for (let l = L - 1; l >= 0; l--) this.backwardLayer(ops, l, g);
    // wte already holds the head's gradient; the embedding adds its own.
    const columns = transpose(matrix(g.residual, M, C));
    for (const [target, indices, accumulate] of [
      [wte, this.tokens, true],
      [wpe, this.positions, false],
    ] as const) {
      const q = this.pool.take('a', 1, C, M);
      ops.quantize({ src: columns, dst: q, nb, ...this.linear.stochastic(sites.scatter(target.index)) });
      ops.scatterAdd({ q, indices, dst: target.grad as Tensor, nb, accumulate });
    }
  }

  /** Norm gradients: `g.norm` holds dy; dx is added to (or starts) the residual stream's gradient. */
  private normBackward(
    ops: Ops,
    name: string,
    g: Backward,
    x: Tensor,
    mean: Tensor,
    rstd: Tensor,
    accumulate: boolean,
  ): void {
    const gain = this.parameter(`${name}.gain`);
    const bias = this.parameter(`${name}.bias`);
    const shape = { rows: this.M, cols: this.model.C };
    const common = { dy: g.norm, x, mean, rstd, ...shape };
    ops.layerNormParamGrad({ ...common, dgain: gain.grad as Tensor, dbias: bias.grad as Tensor });
    ops.layerNormGrad({
      ...common,
      gain: gain.value,
      dx: g.residual,
      ...(accumulate ? { residual: g.residual } : {}),
    });
  }

  private backwardLayer(ops: Ops, l: number, g: Backward): void {
    const { C } = this.model;
    const { M } = this;
    const a = this.layers[l] as LayerActivations;
    const linear = (name: string, rows: number, cols: number, dy: Tensor, x: Tensor, dx: Tensor) => {
      const p = this.parameter(`h${l}.${name}`);
      const w = matrix(p.value, rows, cols);
      const dw = p.grad as Tensor;
      const operands = { dy: matrix(dy, M, rows), x: matrix(x, M, cols), w, dw, index: p.index };
      this.linear.backward(ops, operands, matrix(dx, M, cols));
    };
    linear('mlp.down', C, 4 * C, g.residual, a.act, g.wide);
    ops.geluGrad({ x: a.up, dy: g.wide, dx: g.wide, size: M * 4 * C });
    linear('mlp.up', 4 * C, C, g.wide, a.ln2, g.norm);
    this.normBackward(ops, `h${l}.ln2`, g, a.x2, a.mean2, a.rstd2, true);
    linear('attn.proj', C, C, g.residual, a.heads, g.heads);
    this.attention.backward(ops, l, a.qkv, a.probabilities, g.heads, g.scores, g.qkv);
    linear('attn.qkv', 3 * C, C, g.qkv, a.ln1, g.norm);
    this.normBackward(ops, `h${l}.ln1`, g, a.x, a.mean1, a.rstd1, true);
  }

  private update(ops: Ops, { beta1, beta2, eps, weightDecay }: Optimiser): void {
    for (const { spec, value, grad, m, v } of this.parameters) {
      ops.adamw({
        p: value,
        g: grad as Tensor,
        m: m as Tensor,
        v: v as Tensor,
        scalars: this.scalars,
        size: spec.rows * spec.cols,
        beta1,
        beta2,
        eps,
        weightDecay: spec.decay ? weightDecay : 0,
      });
    }
  }
}

/** Gradients of activations, shared by all layers. */
class Backward {
  /** [M, C] of the residual stream. */
  readonly residual: Tensor;
  /** [M, C] of a norm's output. */
  readonly norm: Tensor;
  readonly heads: Tensor;
  readonly qkv: Tensor;
  readonly wide: Tensor;
  readonly scores: Tensor;

  constructor(device: Device, { C, NH, T }: ModelConfig, M: number) {
    this.residual = device.tensor(M * C);
    this.norm = device.tensor(M * C);
    this.heads = device.tensor(M * C);
    this.qkv = device.tensor(M * 3 * C);
    this.wide = device.tensor(M * 4 * C);
    this.scores = device.tensor(M * NH * T);
  }
}

/**
 * A transformer language model on any device: forward, hand-written backward and AdamW, as recordings of ops.
 *
 * Pre-norm blocks over a residual stream; the config (protocol/messages/model.ts) says which norm, MLP and positions. Shapes use B, T, C, V, L, NH, M = B * T
 * and HD = C / NH. After llm.c's train_gpt2.c, with exact products. What is kept, shared or computed again changes memory and time, never a bit.
 */
import { AtollError } from '#protocol/errors.ts';
import type { ModelConfig, Policy } from '#protocol/messages/model.ts';
import type { Device, Ops, Recording } from '../device/device.ts';
import { scalarCount, scalarWords } from '../ops/adamw/spec.ts';
import { matrix, type Tensor, transpose } from '../tensor/tensor.ts';
import { upRows } from './architecture.ts';
import { Attention, scoresSize } from './attention.ts';
import { Block, type BlockActivations, type BlockGradients, type BlockParts } from './block.ts';
import { type ModelContext, modelContext, stochasticAt } from './context.ts';
import { GradientClip } from './gradient-clip.ts';
import { Head } from './head.ts';
import { type Parameter, trainableParameters } from './parameters.ts';
import { Rotary, rotaryTensors } from './rotary.ts';
import { sites } from './sites.ts';

export interface Optimiser {
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  /** Largest norm of all gradients together; they are scaled down to it. */
  clipNorm?: number;
}

/** What changes from step to step; reals are f32 bits. */
export interface StepScalars {
  seed: number;
  lr: number;
  bias1: number;
  bias2: number;
}

/** How memory is spent. None of it changes a bit. */
export interface GptOptions {
  /** Gradients of all parameters at once: `clipNorm` needs them, and whoever reads them. Off unless asked for. */
  keepGradients?: boolean;
  /** Keep only what enters each block and compute the rest again in the backward pass; by size unless given. */
  recompute?: boolean;
}

/** Kept activations beyond this are computed again instead, unless the caller decides. */
const activationWordsMax = 2 ** 28;

export class Gpt {
  readonly parameters: readonly Parameter[];
  private readonly context: ModelContext;
  private readonly keepGradients: boolean;
  private readonly blocks: readonly Block[];
  private readonly head: Head;
  /** What enters each block, and what leaves the last. */
  private readonly residuals: readonly Tensor[];
  /** One set a block, or one for all. */
  private readonly activations: readonly BlockActivations[];
  private readonly tokens: Tensor;
  /** [M], t of each row. */
  private readonly positions: Tensor;

  constructor(
    device: Device,
    model: ModelConfig,
    batch: number,
    policy: Policy,
    training: boolean,
    { keepGradients = false, recompute }: GptOptions = {},
  ) {
    const M = batch * model.T;
    const storage = !training ? 'none' : keepGradients ? 'kept' : 'shared';
    this.keepGradients = keepGradients;
    this.context = modelContext(device, model, policy, M, trainableParameters(device, model, storage));
    this.parameters = this.context.parameters.list;
    const { L, C, T } = this.context.shape;
    this.tokens = device.tensor(M);
    this.positions = device.tensor(M);
    device.write(
      this.positions,
      Uint32Array.from({ length: M }, (_, i) => i % T),
    );
    const parts = this.blockParts(batch);
    this.blocks = Array.from({ length: L }, (_, l) => new Block(this.context, parts, l));
    // Without a backward pass a block may write over what entered it.
    const streams = Array.from({ length: training ? L + 1 : 1 }, () => device.tensor(M * C));
    this.residuals = Array.from({ length: L + 1 }, (_, l) => streams[l] ?? (streams[0] as Tensor));
    const keep = training && !(recompute ?? activationWords(this.context) > activationWordsMax);
    this.activations = this.blocks.slice(0, keep ? L : 1).map((block) => block.activations());
    this.head = new Head(this.context);
  }

  private blockParts(batch: number): BlockParts {
    const { device, shape, pool, precision, scalars } = this.context;
    const attentionShape = { ...shape, batch };
    const attention = new Attention(pool, precision, scalars, attentionShape);
    const size = scoresSize(attentionShape);
    return {
      attend: (ops, _, qkv, scores, out) => attention.forward(ops, qkv, scores, out),
      attention,
      rotary:
        shape.positions === 'rotary'
          ? new Rotary(this.context, rotaryTensors(this.context), this.positions)
          : null,
      scores: attention.keepsProbabilities ? null : device.tensor(size),
      scoresSize: size,
    };
  }

  /** Copies values in layout order into the parameters. */
  load(weights: Float32Array): void {
    for (const { spec, value } of this.parameters) {
      this.context.device.write(value, weights.subarray(spec.offset, spec.offset + spec.rows * spec.cols));
    }
  }

  /** Records the forward pass with the mean loss, and no gradients. */
  recordForward(): Recording {
    return this.context.device.record((ops) => this.forward(ops, null));
  }

  /** Records a whole training step: forward, backward, AdamW. Throws `bad_input` on `clipNorm` without `keepGradients`. */
  recordStep(optimiser: Optimiser): Recording {
    if (optimiser.clipNorm !== undefined && !this.keepGradients) {
      throw new AtollError('bad_input', 'Clipping by the norm of all gradients needs keepGradients.');
    }
    const gradients = (this.blocks[0] as Block).gradients();
    const { context } = this;
    const { scalars } = context;
    const clip = optimiser.clipNorm === undefined ? null : new GradientClip(context, optimiser.clipNorm);
    return context.device.record((ops) => {
      const update = (parameters: readonly Parameter[]) =>
        recordUpdate(ops, parameters, scalars, optimiser, clip?.scale);
      const eager = this.keepGradients ? () => {} : update;
      this.forward(ops, gradients.norm);
      this.backward(ops, gradients, eager);
      if (!this.keepGradients) return;
      clip?.record(ops);
      update(this.parameters);
    });
  }

  /** Sets windows of T + 1 tokens, row after row: inputs are the first T, targets the last T. */
  setTokens(windows: ArrayLike<number>): void {
    const { device, shape, M } = this.context;
    const { T } = shape;
    const tokens = new Uint32Array(M);
    const targets = new Uint32Array(M);
    for (let i = 0; i < M; i++) {
      const at = Math.floor(i / T) * (T + 1) + (i % T);
      tokens[i] = windows[at] as number;
      targets[i] = windows[at + 1] as number;
    }
    device.write(this.tokens, tokens);
    this.head.setTargets(targets);
  }

  setScalars(step: StepScalars): void {
    const words = new Uint32Array(scalarCount);
    for (const [name, at] of Object.entries(scalarWords)) words[at] = step[name as keyof StepScalars];
    this.context.device.write(this.context.scalars, words);
  }

  /** Mean loss of the last run, nats per token. Waits for the device. */
  readLoss(): Promise<number> {
    return this.head.readLoss();
  }

  /** [M] nats, of the last run. */
  readLosses(): Promise<Float32Array> {
    return this.head.readLosses();
  }

  /** [M, V] of the last forward run, or of its last 1024 rows. */
  readLogits(): Promise<Float32Array> {
    return this.head.readLogits();
  }

  private activationsOf(l: number): BlockActivations {
    return this.activations[l] ?? (this.activations[0] as BlockActivations);
  }

  /** With `gradient` also the head's backward pass, whose result it gets. */
  private forward(ops: Ops, gradient: Tensor | null): void {
    const { shape, parameters, M } = this.context;
    const { L, C, T } = shape;
    const wpe = parameters.find('wpe');
    const table = wpe ? { wpe: wpe.value } : {};
    const x = this.residuals[0] as Tensor;
    ops.embed({ tokens: this.tokens, wte: parameters.get('wte').value, ...table, x, rows: M, cols: C, T });
    this.blocks.forEach((block, l) => {
      const [from, to] = [this.residuals[l] as Tensor, this.residuals[l + 1] as Tensor];
      block.forward(ops, from, this.activationsOf(l), to);
    });
    this.head.forward(ops, this.residuals[L] as Tensor, gradient);
  }

  /** From the head's gradient in `g.norm` down; `done` gets parameters whose gradients are complete. */
  private backward(ops: Ops, g: BlockGradients, done: (parameters: readonly Parameter[]) => void): void {
    const { parameters, shape } = this.context;
    const { L } = shape;
    this.head.backward(ops, this.residuals[L] as Tensor, g.norm, g.residual);
    done([...parameters.within('lnf'), ...parameters.within('head')]);
    for (let l = L - 1; l >= 0; l--) {
      const block = this.blocks[l] as Block;
      const x = this.residuals[l] as Tensor;
      const a = this.activationsOf(l);
      if (this.activations.length < L) block.forward(ops, x, a, null);
      block.backward(ops, x, a, g);
      done(parameters.within(`h${l}.`));
    }
    this.embeddingBackward(ops, g.residual);
    done([...parameters.within('wte'), ...parameters.within('wpe')]);
  }

  private embeddingBackward(ops: Ops, dx: Tensor): void {
    const { parameters, pool, precision, shape, M } = this.context;
    const { nb } = precision;
    const columns = transpose(matrix(dx, M, shape.C));
    const scatter = (name: string, indices: Tensor, accumulate: boolean) => {
      const target = parameters.find(name);
      if (!target) return;
      const q = pool.take('a', 1, shape.C, M);
      const rounding = stochasticAt(this.context, sites.scatter(target.index));
      ops.quantize({ src: columns, dst: q, nb, ...rounding });
      ops.scatterAdd({ q, indices, dst: target.grad as Tensor, nb, accumulate });
    };
    // A tied table already holds the head's gradient; the embedding adds its own.
    scatter('wte', this.tokens, shape.tied);
    scatter('wpe', this.positions, false);
  }
}

/** Words of what blocks would keep for their backward passes. */
function activationWords({ shape, M }: ModelContext): number {
  const { L, C, QKV, HID, experts } = shape;
  return L * M * (4 * C + QKV + (experts?.k ?? 1) * (upRows(shape) + HID));
}

function recordUpdate(
  ops: Ops,
  parameters: readonly Parameter[],
  scalars: Tensor,
  { beta1, beta2, eps, weightDecay }: Optimiser,
  gradScale: Tensor | undefined,
): void {
  for (const { spec, value, grad, m, v } of parameters) {
    ops.adamw({
      p: value,
      g: grad as Tensor,
      m: m as Tensor,
      v: v as Tensor,
      scalars,
      size: spec.rows * spec.cols,
      beta1,
      beta2,
      eps,
      weightDecay: spec.decay ? weightDecay : 0,
      ...(gradScale ? { gradScale } : {}),
    });
  }
}

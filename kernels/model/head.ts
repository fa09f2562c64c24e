/**
 * The language-model head: final norm, logits, cross-entropy; and their gradients.
 *
 * Logits are as wide as the vocabulary, so rows go in chunks of 1024: forward and, when training, backward of a chunk before the next one. Weight
 * gradients are added up in the order of the chunks; the loss is the sum of the chunks' sums.
 */
import type { Ops } from '../device/device.ts';
import { constant } from '../ops/math/cpu.ts';
import { matrix, type Tensor } from '../tensor/tensor.ts';
import type { ModelContext } from './context.ts';
import { Linear } from './linear.ts';
import { Norm, type NormState, normState } from './norm.ts';

/** Part of the definition. */
export const chunkRows = 1024;

interface Chunk {
  start: number;
  rows: number;
  targets: Tensor;
  losses: Tensor;
}

export class Head {
  private readonly context: ModelContext;
  private readonly norm: Norm;
  private readonly linear: Linear;
  private readonly state: NormState;
  private readonly logits: Tensor;
  private readonly chunks: readonly Chunk[];
  private readonly sums: Tensor;
  private readonly loss: Tensor;

  constructor(context: ModelContext) {
    const { device, shape, M } = context;
    this.context = context;
    this.norm = new Norm(context, 'lnf');
    this.linear = new Linear(context, shape.tied ? 'wte' : 'head');
    this.state = normState(context);
    this.logits = device.tensor(Math.min(M, chunkRows) * shape.V);
    this.chunks = Array.from({ length: Math.ceil(M / chunkRows) }, (_, i) => {
      const start = i * chunkRows;
      const rows = Math.min(chunkRows, M - start);
      return { start, rows, targets: device.tensor(rows), losses: device.tensor(rows) };
    });
    this.sums = device.tensor(this.chunks.length);
    this.loss = device.tensor(1);
  }

  setTargets(targets: Uint32Array): void {
    for (const { start, rows, targets: to } of this.chunks) {
      this.context.device.write(to, targets.subarray(start, start + rows));
    }
  }

  /** Mean loss of the last run, nats per token. Waits for the device. */
  async readLoss(): Promise<number> {
    return (await this.context.device.read(this.loss))[0] as number;
  }

  /** [M] nats, of the last run. */
  async readLosses(): Promise<Float32Array> {
    const losses = new Float32Array(this.context.M);
    for (const chunk of this.chunks) losses.set(await this.context.device.read(chunk.losses), chunk.start);
    return losses;
  }

  /** [rows, V] of the last chunk of the last run without gradients. */
  readLogits(): Promise<Float32Array> {
    return this.context.device.read(this.logits);
  }

  /** x [M, C] -> losses. With `gradient` [M, C] also the gradient of the norm's output, and the head's own. */
  forward(ops: Ops, x: Tensor, gradient: Tensor | null): void {
    const { M, shape } = this.context;
    const { C, V } = shape;
    this.norm.forward(ops, x, this.state);
    this.chunks.forEach(({ start, rows, targets, losses }, part) => {
      const y = matrix(this.state.y, rows, C, start * C);
      const logits = matrix(this.logits, rows, V);
      this.linear.forwardRows(ops, y, logits);
      const scale = gradient ? { gradientScale: constant(1 / M) } : {};
      ops.crossEntropy({ logits: this.logits, targets, losses, rows, V, ...scale });
      if (gradient) this.linear.backwardRows(ops, logits, y, matrix(gradient, rows, C, start * C), part);
    });
    this.sumLosses(ops);
  }

  /** From the gradient of the norm's output to that of x, both [M, C]. */
  backward(ops: Ops, x: Tensor, gradient: Tensor, dx: Tensor): void {
    this.norm.backward(ops, gradient, x, this.state, dx, false);
  }

  private sumLosses(ops: Ops): void {
    const factor = constant(1 / this.context.M);
    const [only] = this.chunks;
    if (this.chunks.length === 1 && only) {
      ops.sum({ src: only.losses, count: only.rows, factor, dst: this.loss, at: 0 });
      return;
    }
    this.chunks.forEach(({ losses, rows }, at) => {
      ops.sum({ src: losses, count: rows, factor: 1, dst: this.sums, at });
    });
    ops.sum({ src: this.sums, count: this.chunks.length, factor, dst: this.loss, at: 0 });
  }
}

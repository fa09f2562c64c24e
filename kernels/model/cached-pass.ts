/**
 * The forward pass of a few new positions of one sequence, over caches of all before them. Recorded once for each width of the attention (128, 256, ...
 * keys); the place of the rows lies in tensors, so a recording serves every position that fits its width.
 */
import type { Ops, Recording } from '../device/device.ts';
import { matrix, type Tensor } from '../tensor/tensor.ts';
import { type KeysAndValues, widthFor } from './attention.ts';
import { Block, type BlockActivations } from './block.ts';
import { CachedAttention } from './cached-attention.ts';
import type { ModelContext } from './context.ts';
import { Linear } from './linear.ts';
import { Norm, type NormState, normState } from './norm.ts';
import { Rotary, type RotaryTensors } from './rotary.ts';

/** Final norm and logits of a single row. */
interface RowHead {
  norm: Norm;
  state: NormState;
  linear: Linear;
}

export class CachedPass {
  /** [M] u32: what goes in. */
  readonly tokens: Tensor;
  /** [V], after a run of a pass of one row; null for others. */
  readonly logits: Tensor | null;
  private readonly context: ModelContext;
  private readonly positions: Tensor;
  private readonly position: Tensor;
  private readonly x: Tensor;
  private readonly blocks: readonly Block[];
  private readonly activations: BlockActivations;
  private readonly head: RowHead | null;
  private readonly recordings = new Map<number, Recording>();
  /** Of the attention that is being recorded. */
  private width = 0;

  constructor(context: ModelContext, caches: readonly KeysAndValues[], rotation: RotaryTensors | null) {
    const { device, shape, M } = context;
    const { L, C, NH, NKV, T, V } = shape;
    this.context = context;
    this.tokens = device.tensor(M);
    this.positions = device.tensor(M);
    this.position = device.tensor(1);
    this.x = device.tensor(M * C);
    const attention = new CachedAttention(context, caches, this.position);
    const scoresSize = (M === 1 ? NH : NKV * M) * T;
    const parts = {
      attend: (ops: Ops, layer: number, qkv: Tensor, scores: Tensor, out: Tensor) =>
        attention.forward(ops, layer, this.width, qkv, scores, out),
      attention: null,
      rotary: rotation && new Rotary(context, rotation, this.positions),
      scores: device.tensor(scoresSize),
      scoresSize,
    };
    this.blocks = Array.from({ length: L }, (_, l) => new Block(context, parts, l));
    this.activations = (this.blocks[0] as Block).activations();
    this.logits = M === 1 ? device.tensor(V) : null;
    const linear = () => new Linear(context, shape.tied ? 'wte' : 'head');
    this.head =
      M === 1 ? { norm: new Norm(context, 'lnf'), state: normState(context), linear: linear() } : null;
  }

  get rows(): number {
    return this.context.M;
  }

  /** Sets tokens that stand from `start` on. Fewer than `rows`: the rest computes what nobody looks at and later rows replace. */
  place(start: number, tokens: readonly number[]): void {
    const { device, shape } = this.context;
    const words = (of: (row: number) => number) => Uint32Array.from({ length: this.rows }, (_, r) => of(r));
    device.write(
      this.tokens,
      words((r) => tokens[r] ?? 0),
    );
    this.move(start);
    device.write(
      this.positions,
      words((r) => Math.min(start + r, shape.T - 1)),
    );
  }

  /** Sets the place of a single row, whose token is there already. */
  move(start: number): void {
    const { device } = this.context;
    device.write(this.position, Uint32Array.of(start));
    if (this.rows === 1) device.write(this.positions, Uint32Array.of(start));
  }

  /** Computes `count` positions from `start` on, as placed. */
  run(start: number, count: number): Promise<void> {
    const { device, shape } = this.context;
    const width = widthFor(start + count, shape.T);
    const recording = this.recordings.get(width) ?? device.record((ops) => this.record(ops, width));
    this.recordings.set(width, recording);
    return device.run(recording);
  }

  private record(ops: Ops, width: number): void {
    const { parameters, shape, M } = this.context;
    const { C, T, V } = shape;
    this.width = width;
    const wpe = parameters.find('wpe');
    const table = wpe ? { wpe: wpe.value, positions: this.positions } : {};
    const wte = parameters.get('wte').value;
    ops.embed({ tokens: this.tokens, wte, ...table, x: this.x, rows: M, cols: C, T });
    for (const block of this.blocks) block.forward(ops, this.x, this.activations, this.x);
    if (!this.head || !this.logits) return;
    this.head.norm.forward(ops, this.x, this.head.state);
    this.head.linear.forwardRows(ops, matrix(this.head.state.y, 1, C), matrix(this.logits, 1, V));
  }
}

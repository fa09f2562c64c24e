/**
 * A mixture of experts in the place of the MLP: a router gives every token to k of E experts, whose outputs are added up by its gates.
 *
 * Each slot (one token at one expert) is a row; rows are sorted by expert, and each expert's rows meet its own weights. Experts lie one below the other in
 * `mlp.up` and `mlp.down`. Operands are quantised over all rows together. Nothing balances the experts' loads; no token is dropped.
 */
import type { Ops } from '../device/device.ts';
import { matrix, type Tensor, transpose, type View } from '../tensor/tensor.ts';
import { upRows } from './architecture.ts';
import { type ModelContext, stochasticAt } from './context.ts';
import { Linear } from './linear.ts';
import type { Mlp } from './mlp.ts';
import type { Parameter } from './parameters.ts';
import { sites } from './sites.ts';

/** Where every slot goes: see ops/moe. */
interface Routing {
  ids: Tensor;
  gates: Tensor;
  order: Tensor;
  places: Tensor;
  offsets: Tensor;
}

export interface ExpertActivations {
  /** [M, E]. */
  logits: Tensor;
  routing: Routing;
  /** What follows has a row a slot, sorted by expert: [slots, C]. */
  x: Tensor;
  /** [slots, upRows]. */
  up: Tensor;
  /** [slots, HID]. */
  act: Tensor;
  /** [slots, C]. */
  out: Tensor;
}

export interface ExpertGradients {
  logits: Tensor;
  gates: Tensor;
  /** [slots, C]: of `out`, then of `x`. */
  rows: Tensor;
  up: Tensor;
  act: Tensor;
}

export class ExpertMlp implements Mlp<ExpertActivations, ExpertGradients> {
  private readonly context: ModelContext;
  private readonly E: number;
  private readonly k: number;
  private readonly router: Linear;
  private readonly up: GroupedLinear;
  private readonly down: GroupedLinear;

  constructor(context: ModelContext, layer: string, { E, k }: { E: number; k: number }) {
    this.context = context;
    this.E = E;
    this.k = k;
    this.router = new Linear(context, `${layer}.mlp.router`);
    this.up = new GroupedLinear(context, `${layer}.mlp.up`, E);
    this.down = new GroupedLinear(context, `${layer}.mlp.down`, E);
  }

  activations(): ExpertActivations {
    const { device, shape, M } = this.context;
    const { slots, E } = this;
    return {
      logits: device.tensor(M * E),
      routing: {
        ids: device.tensor(slots),
        gates: device.tensor(slots),
        order: device.tensor(slots),
        places: device.tensor(slots),
        offsets: device.tensor(E + 1),
      },
      x: device.tensor(slots * shape.C),
      up: device.tensor(slots * upRows(shape)),
      act: device.tensor(slots * shape.HID),
      out: device.tensor(slots * shape.C),
    };
  }

  gradients(): ExpertGradients {
    const { device, shape, M } = this.context;
    const { slots } = this;
    return {
      logits: device.tensor(M * this.E),
      gates: device.tensor(slots),
      rows: device.tensor(slots * shape.C),
      up: device.tensor(slots * upRows(shape)),
      act: device.tensor(slots * shape.HID),
    };
  }

  forward(ops: Ops, x: Tensor, a: ExpertActivations, out: Tensor | null, residual: Tensor): void {
    const { shape, M } = this.context;
    const { slots, E, k } = this;
    this.router.forward(ops, x, a.logits);
    ops.route({ logits: a.logits, M, E, k, ...a.routing });
    ops.gatherRows({ src: x, order: a.routing.order, dst: a.x, M, k, cols: shape.C });
    this.up.forward(ops, a.x, a.routing.offsets, a.up, slots);
    if (shape.mlp === 'gelu') ops.gelu({ x: a.up, y: a.act, size: slots * shape.HID });
    else ops.swiglu({ gate: this.half(a.up, 0), up: this.half(a.up, 1), y: a.act });
    this.down.forward(ops, a.act, a.routing.offsets, a.out, slots);
    if (!out) return;
    const { places, gates } = a.routing;
    ops.combine({ rows: a.out, places, gates, residual, y: out, M, k, cols: shape.C });
  }

  backward(ops: Ops, dy: Tensor, x: Tensor, a: ExpertActivations, g: ExpertGradients, dx: Tensor): void {
    const { shape, M } = this.context;
    const { slots, E, k } = this;
    const { ids, gates, places, offsets } = a.routing;
    const shared = { M, k, cols: shape.C, places };
    ops.combineGrad({ dy, rows: a.out, gates, drows: g.rows, dgates: g.gates, ...shared });
    this.down.backward(ops, g.rows, a.act, offsets, g.act, slots);
    if (shape.mlp === 'gelu') {
      ops.geluGrad({ x: a.up, dy: g.act, dx: g.up, size: slots * shape.HID });
    } else {
      const halves = { gate: this.half(a.up, 0), up: this.half(a.up, 1) };
      ops.swigluGrad({ ...halves, dy: g.act, dgate: this.half(g.up, 0), dup: this.half(g.up, 1) });
    }
    this.up.backward(ops, g.up, a.x, offsets, g.rows, slots);
    ops.routeGrad({ ids, gates, dgates: g.gates, dlogits: g.logits, M, E, k });
    this.router.backward(ops, g.logits, x, dx);
    ops.combine({ rows: g.rows, residual: dx, y: dx, ...shared });
  }

  private get slots(): number {
    return this.context.M * this.k;
  }

  private half(tensor: Tensor, index: 0 | 1): View {
    const { HID } = this.context.shape;
    return { ...matrix(tensor, this.slots, HID, index * HID), rowStride: 2 * HID };
  }
}

/** E linear layers without biases, one for each expert's rows. Weights are [E, out, in]. */
class GroupedLinear {
  private readonly context: ModelContext;
  private readonly weight: Parameter;
  private readonly E: number;
  /** Of one expert. */
  private readonly outputs: number;
  private readonly inputs: number;

  constructor(context: ModelContext, name: string, E: number) {
    this.context = context;
    this.weight = context.parameters.get(name);
    this.E = E;
    this.outputs = this.weight.spec.rows / E;
    this.inputs = this.weight.spec.cols;
  }

  /** x [rows, in] -> y [rows, out]. */
  forward(ops: Ops, x: Tensor, offsets: Tensor, y: Tensor, rows: number): void {
    const { frozen } = this.weight;
    const a = this.operand(ops, 'a', matrix(x, rows, this.inputs));
    const b = frozen ?? this.operand(ops, 'b', this.matrices);
    ops.groupedGemm({ kind: 'rows', a, b, offsets, dst: y, nb: this.context.precision.nb });
  }

  /** dy [rows, out], x [rows, in] -> dx [rows, in] and the gradients of the weights. */
  backward(ops: Ops, dy: Tensor, x: Tensor, offsets: Tensor, dx: Tensor, rows: number): void {
    const { nb } = this.context.precision;
    const { index, grad } = this.weight;
    const [out, input] = [matrix(dy, rows, this.outputs), matrix(x, rows, this.inputs)];
    const weights = {
      a: this.operand(ops, 'a', transpose(out), sites.dw(index)),
      b: this.operand(ops, 'b', transpose(input)),
    };
    ops.groupedGemm({ kind: 'contraction', ...weights, offsets, dst: grad as Tensor, nb });
    const inputs = {
      a: this.operand(ops, 'a', out, sites.dx(index)),
      b: this.operand(ops, 'b', transpose(this.matrices)),
    };
    ops.groupedGemm({ kind: 'rows', ...inputs, offsets, dst: dx, nb });
  }

  private get matrices(): View {
    const { outputs, inputs } = this;
    const batch = [1, 0, this.E, outputs * inputs] as const;
    return { ...matrix(this.weight.value, outputs, inputs), batch };
  }

  private operand(ops: Ops, role: 'a' | 'b', src: View, site: number | null = null) {
    const dst = this.context.pool.take(role, src.batch[2], src.rows, src.cols);
    ops.quantize({ src, dst, nb: this.context.precision.nb, ...stochasticAt(this.context, site) });
    return dst;
  }
}

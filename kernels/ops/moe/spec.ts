/**
 * A mixture of experts: which experts a token goes to, rows sorted by expert, products of each expert's rows with its own weights, and the way back.
 *
 * Slot s = t * k + j is the j-th choice of token t. Shapes are static (M * k slots in all); how many slots an expert has is known on the device only.
 * route: the k largest of a token's E logits, the larger first, the lower index among equals: ids[t][j]. e_j = exp(l_j - l_0);
 *   gates[t][j] = e_j * recip((e_0 + e_1) + ...). Slots sorted by expert, in slot order inside one: order[r] is the slot at r, places[s] = r its inverse,
 *   offsets[e] the number of slots of experts below e, offsets[E] = M * k.
 * routeGrad: D = (g_0 * d_0 + g_1 * d_1) + ...; dlogits = g_j * (d_j - D) where chosen, else 0.
 * gatherRows: dst[r] = src[order[r] div k]. Its gradient is combine without gates.
 * combine: v = (g_0 * row_0 + g_1 * row_1) + ... over the rows at places[t][j], without gates row_0 + row_1 + ...; y = clamp(v), or clamp(residual + v).
 * combineGrad: drows[places[t][j]] = clamp(g_j * dy[t]); dgates[t][j] = sum over the columns of dy[t] * row_j, the reduction of NUMERICS.md.
 * groupedGemm: products as in gemm (ROUND of the exact sum, then clamp(residual + it)). 'rows': row r of a meets batch e of b, offsets[e] <= r < offsets[e + 1];
 *   rows from offsets[E] on are 0. 'contraction': batch e of dst sums over offsets[e] <= position < offsets[e + 1] only.
 * Each step is one PF32 operation. Source: Shazeer et al. 2017; Jiang et al. 2024 (softmax over the chosen).
 */
import { AtollError } from '#protocol/errors.ts';
import { checkSizes, checkTensors } from '../../tensor/check.ts';
import type { Quantized, Tensor } from '../../tensor/tensor.ts';
import { type Bits, qmaxOf } from '../quantize/spec.ts';

export interface RouteArgs {
  /** [M][E]. */
  logits: Tensor;
  M: number;
  E: number;
  k: number;
  /** [M][k] u32. */
  ids: Tensor;
  /** [M][k]. */
  gates: Tensor;
  /** [M * k] u32. */
  order: Tensor;
  /** [M * k] u32. */
  places: Tensor;
  /** [E + 1] u32. */
  offsets: Tensor;
}

export interface RouteGradArgs {
  ids: Tensor;
  gates: Tensor;
  /** [M][k]. */
  dgates: Tensor;
  /** [M][E]. */
  dlogits: Tensor;
  M: number;
  E: number;
  k: number;
}

export interface GatherRowsArgs {
  /** [M][cols]. */
  src: Tensor;
  order: Tensor;
  /** [M * k][cols]. */
  dst: Tensor;
  M: number;
  k: number;
  cols: number;
}

export interface CombineArgs {
  /** [M * k][cols], sorted by expert. */
  rows: Tensor;
  places: Tensor;
  /** [M][k]; absent: the rows are added as they are. */
  gates?: Tensor;
  /** [M][cols]; may be y itself. */
  residual?: Tensor;
  y: Tensor;
  M: number;
  k: number;
  cols: number;
}

export interface CombineGradArgs {
  /** [M][cols]. */
  dy: Tensor;
  rows: Tensor;
  places: Tensor;
  gates: Tensor;
  /** [M * k][cols]. */
  drows: Tensor;
  /** [M][k]. */
  dgates: Tensor;
  M: number;
  k: number;
  cols: number;
}

export interface GroupedGemmArgs {
  /** `a` is never narrow, b only with 'rows'. 'rows': a [1][R][K], b [E][N][K], dst [R][N]. 'contraction': a [1][M][R], b [1][N][R], dst [E][M][N]. */
  kind: 'rows' | 'contraction';
  a: Quantized;
  b: Quantized;
  /** [E + 1] u32, from 0 up; its size says E for 'contraction'. */
  offsets: Tensor;
  dst: Tensor;
  nb: Bits;
  /** Same layout as dst, may be dst itself; with 'contraction' only. */
  residual?: Tensor;
}

/** Most experts, and steps of one token's choice: one invocation walks them, and Mesa's lavapipe ends a shader's loops after 65,535 rounds. */
export const expertsMax = 512;
const choiceStepsMax = 32_768;

const refuse = (op: string, why: string): never => {
  throw new AtollError('bad_input', `${op}: ${why}.`);
};

function checkRouting(op: string, M: number, E: number, k: number): void {
  checkSizes(op, { M, E, k });
  if (E > expertsMax) refuse(op, `at most ${expertsMax} experts`);
  if (k > E || k * E > choiceStepsMax) refuse(op, `${k} of ${E} experts`);
}

function checkApart(op: string, outputs: readonly Tensor[], inputs: readonly (Tensor | undefined)[]): void {
  const clash = outputs.some((output, i) => inputs.includes(output) || outputs.indexOf(output) !== i);
  if (clash) refuse(op, 'an output cannot be an input too');
}

/** Throws `bad_input` when the shapes do not fit; so do those below. */
export function checkRoute({ logits, M, E, k, ids, gates, order, places, offsets }: RouteArgs): void {
  checkRouting('route', M, E, k);
  const slots = M * k;
  checkTensors('route', {
    logits: [logits, M * E],
    ids: [ids, slots],
    gates: [gates, slots],
    order: [order, slots],
    places: [places, slots],
    offsets: [offsets, E + 1],
  });
  checkApart('route', [ids, gates, order, places, offsets], [logits]);
}

export function checkRouteGrad({ ids, gates, dgates, dlogits, M, E, k }: RouteGradArgs): void {
  checkRouting('routeGrad', M, E, k);
  const slots = M * k;
  checkTensors('routeGrad', {
    ids: [ids, slots],
    gates: [gates, slots],
    dgates: [dgates, slots],
    dlogits: [dlogits, M * E],
  });
  checkApart('routeGrad', [dlogits], [ids, gates, dgates]);
}

export function checkGatherRows({ src, order, dst, M, k, cols }: GatherRowsArgs): void {
  checkSizes('gatherRows', { M, k, cols });
  checkTensors('gatherRows', { src: [src, M * cols], order: [order, M * k], dst: [dst, M * k * cols] });
  checkApart('gatherRows', [dst], [src, order]);
}

export function checkCombine({ rows, places, gates, residual, y, M, k, cols }: CombineArgs): void {
  checkSizes('combine', { M, k, cols });
  checkTensors('combine', {
    rows: [rows, M * k * cols],
    places: [places, M * k],
    gates: [gates, M * k],
    residual: [residual, M * cols],
    y: [y, M * cols],
  });
  checkApart('combine', [y], [rows, places, gates]);
}

export function checkCombineGrad(args: CombineGradArgs): void {
  const { dy, rows, places, gates, drows, dgates, M, k, cols } = args;
  checkSizes('combineGrad', { M, k, cols });
  checkTensors('combineGrad', {
    dy: [dy, M * cols],
    rows: [rows, M * k * cols],
    places: [places, M * k],
    gates: [gates, M * k],
    drows: [drows, M * k * cols],
    dgates: [dgates, M * k],
  });
  if (cols > 2 ** 24) refuse('combineGrad', 'a row has more than 2^24 elements');
  checkApart('combineGrad', [drows, dgates], [dy, rows, places, gates]);
}

export interface GroupedShape {
  /** Experts. */
  E: number;
  /** Rows and columns of dst (of one expert's, for 'contraction'), and the contraction. */
  M: number;
  N: number;
  K: number;
}

export function groupedShape({ kind, a, b, offsets }: GroupedGemmArgs): GroupedShape {
  const E = kind === 'rows' ? b.batch : offsets.size - 1;
  return { E, M: a.rows, N: b.rows, K: a.cols };
}

export function checkGroupedGemm(args: GroupedGemmArgs): void {
  const { kind, a, b, offsets, dst, nb, residual } = args;
  const { E, M, N, K } = groupedShape(args);
  checkSizes('groupedGemm', { E, M, N, K });
  const size = kind === 'rows' ? M * N : E * M * N;
  checkTensors('groupedGemm', { offsets: [offsets, E + 1], dst: [dst, size], residual: [residual, size] });
  const batches = a.batch === 1 && (kind === 'rows' || b.batch === 1);
  const narrow = a.narrow || (b.narrow && (kind === 'contraction' || nb !== 7));
  if (!batches || a.transposed || b.transposed || narrow || b.cols !== K) {
    refuse('groupedGemm', 'the operands do not fit');
  }
  if (E > expertsMax) refuse('groupedGemm', `at most ${expertsMax} experts`);
  if (K * qmaxOf[nb] ** 2 >= 2 ** 47) refuse('groupedGemm', 'the contraction is too long for an exact sum');
  if (residual && kind === 'rows') refuse('groupedGemm', 'a residual only where experts are summed apart');
  checkApart('groupedGemm', [dst], [offsets, residual === dst ? undefined : residual]);
}

/**
 * Embedding: gather forward, order-free scatter-add backward.
 *
 * Forward: x[m] = clamp(wte[token[m]] + wpe[position[m]]), or clamp(wte[token[m]]) without wpe; a position is m mod T where none are given. Backward: the gradient is quantised by columns (rows of `q` are channels, along the tokens), integers
 * of equal index are summed (exact, so order does not matter), then rounded: dst[v][c] = clamp(dst[v][c] + ROUND(S, E_c - nb)).
 */
import { AtollError } from '#protocol/errors.ts';
import { checkSizes, checkTensors } from '../../tensor/check.ts';
import type { Quantized, Tensor } from '../../tensor/tensor.ts';
import { type Bits, qmaxOf } from '../quantize/spec.ts';

export interface EmbedArgs {
  /** [rows] u32. */
  tokens: Tensor;
  wte: Tensor;
  /** Absent where positions are rotations. */
  wpe?: Tensor;
  /** [rows] u32, rows of wpe. */
  positions?: Tensor;
  x: Tensor;
  rows: number;
  cols: number;
  T: number;
}

export interface ScatterAddArgs {
  /** rows = channels, cols = positions in the batch. */
  q: Quantized;
  /** [q.cols] u32, which row of dst each position adds to. */
  indices: Tensor;
  /** [indexMax][q.rows]. */
  dst: Tensor;
  nb: Bits;
  /** Adds to what dst holds; else dst is overwritten. */
  accumulate: boolean;
}

/** Throws `bad_input` when the shapes do not fit. */
export function checkEmbed({ tokens, wte, wpe, positions, x, rows, cols, T }: EmbedArgs): void {
  checkSizes('embed', { rows, cols, T });
  checkTensors('embed', {
    tokens: [tokens, rows],
    wte: [wte, cols],
    wpe: [wpe, positions ? cols : Math.min(rows, T) * cols],
    positions: [positions, rows],
    x: [x, rows * cols],
  });
}

/** Throws `bad_input` when the shapes do not fit or an i32 sum could overflow. */
export function checkScatterAdd({ q, indices, dst, nb }: ScatterAddArgs): void {
  if (q.batch !== 1 || q.transposed || dst.size % q.rows !== 0 || dst.size === 0 || indices.size < q.cols) {
    throw new AtollError('bad_input', 'scatterAdd: the shapes do not fit.');
  }
  if (q.cols * qmaxOf[nb] >= 2 ** 31) throw new AtollError('bad_input', 'scatterAdd: too many positions.');
}

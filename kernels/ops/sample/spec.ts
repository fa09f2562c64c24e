/**
 * One token a row from logits: the largest, or a draw from softmax(logits / temperature) by the Gumbel-max trick.
 *
 * Word 0 of `temperature` is an f32: of size below 2^-100 it means the largest logit; else T is its size, brought into 2^-20 .. 2^40. Candidates are the
 * logits that are at least the topK-th largest, equals counted apart (so equals of the last are all in); without topK all are.
 * T = 0: score = l. Else score = (l - max l) * recip(T) - ln(e), with e = -ln(1 - w) for a uniform w; every step is one PF32 operation.
 * w comes from rnd = lowbias32(seed + index * 0x9E3779B9), index = row * V + column, seed = lowbias32(scalars[0] ^ site * 0x85EBCA6B), as in QUANT:
 * rnd < 2^22: w = (2 rnd + 1) * 2^-33, e = w * (1 + w * (.5 + w * 3eaaaaab)); else e = -ln((2^24 - 2 (rnd >> 9) - 1) * 2^-24), so that small e, which win,
 * are spaced finely. dst = column of the largest score, the lowest of equals.
 */
import { AtollError } from '#protocol/errors.ts';
import { checkSizes, checkTensors } from '../../tensor/check.ts';
import type { Tensor } from '../../tensor/tensor.ts';

export interface SampleArgs {
  /** [rows][V]. */
  logits: Tensor;
  rows: number;
  V: number;
  /** Read when the recording runs, as `scalars` is. */
  temperature: Tensor;
  topK?: number;
  /** Word 0 is the seed; the same seed gives the same tokens. */
  scalars: Tensor;
  /** Sets draws apart that share a seed. */
  site: number;
  /** [rows] u32. */
  dst: Tensor;
}

/** Throws `bad_input` when the shapes do not fit. */
export function checkSample({ logits, rows, V, temperature, topK, scalars, site, dst }: SampleArgs): void {
  checkSizes('sample', { rows, V, topK: topK ?? 1, 'site + 1': site + 1 });
  checkTensors('sample', {
    logits: [logits, rows * V],
    temperature: [temperature, 1],
    scalars: [scalars, 1],
    dst: [dst, rows],
  });
  if (V > 2 ** 24) throw new AtollError('bad_input', 'sample: a row has more than 2^24 logits.');
  if (dst === logits || dst === temperature || dst === scalars) {
    throw new AtollError('bad_input', 'sample: an output cannot be an input too.');
  }
}

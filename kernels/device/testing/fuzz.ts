/**
 * Random products for tests that hold a device to the reference: operands by whole or by rows, in any layout, parts of them, every epilogue. A plan is
 * plain data, so that fast-check can shrink it.
 */
import fc from 'fast-check';
import type { Bits, QuantizeArgs } from '../../ops/quantize/spec.ts';
import type { GemmArgs } from '../../ops/gemm/spec.ts';
import { type Quantized, type Tensor, transpose, type View } from '../../tensor/tensor.ts';
import { type Build, type Kind, kinds, values } from './match.ts';

type Layout = 'rows' | 'columns' | 'spaced';
type Epilogue = 'none' | 'gelu' | 'silu' | 'kept gelu' | 'kept silu' | 'gelu gradient' | 'silu gradient';

export interface ProductPlan {
  nb: Bits;
  batch: number;
  M: number;
  N: number;
  K: number;
  /** Rows of a, rows of b, and contraction of both, beyond what is used. */
  more: readonly [a: number, b: number, along: number];
  transposed: boolean;
  narrow: boolean;
  /** Where b is quantised anew, from a row on that is known at once or read from a tensor. */
  again: readonly [row: number, rows: number, fromTensor: boolean] | null;
  random: boolean;
  layouts: readonly [a: Layout, b: Layout, dst: Layout];
  kind: Kind;
  /** -1: the whole matrix; 0 and more: columns up to row + offset. */
  offset: number;
  biased: boolean;
  epilogue: Epilogue;
  residual: 'none' | 'other' | 'in place';
  seed: number;
}

const size = (most: number) =>
  fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 1, max: 20 }) }, fc.integer({ min: 1, max: most }));
const layout = fc.constantFrom<Layout>('rows', 'columns', 'spaced');

export const productPlans: fc.Arbitrary<ProductPlan> = fc.record({
  nb: fc.constantFrom<Bits>(7, 10, 15),
  batch: fc.integer({ min: 1, max: 3 }),
  M: fc.oneof(fc.constant(1), size(70)),
  N: size(150),
  K: fc.oneof(
    { weight: 5, arbitrary: size(90) },
    { weight: 1, arbitrary: fc.constantFrom(1023, 1025, 2053) },
  ),
  more: fc.tuple(fc.nat(5), fc.nat(9), fc.nat(11)),
  transposed: fc.boolean(),
  narrow: fc.boolean(),
  again: fc.option(fc.tuple(fc.nat(20), fc.integer({ min: 1, max: 6 }), fc.boolean())),
  random: fc.boolean(),
  layouts: fc.tuple(layout, layout, layout),
  kind: fc.constantFrom(...kinds),
  offset: fc.oneof(fc.constant(-1), fc.nat(80)),
  biased: fc.boolean(),
  epilogue: fc.constantFrom<Epilogue>(
    'none',
    'gelu',
    'silu',
    'kept gelu',
    'kept silu',
    'gelu gradient',
    'silu gradient',
  ),
  residual: fc.constantFrom('none', 'other', 'in place'),
  seed: fc.nat(2 ** 30),
});

/** A batch of rows x cols in a layout, from element 3 on, and the words that it takes. */
function place(layoutName: Layout, batch: number, rows: number, cols: number): { view: View; words: number } {
  const gap = layoutName === 'spaced' ? 2 : 1;
  const matrixWords = rows * cols * gap * gap;
  const tensor: Tensor = { size: 0 };
  const flipped = layoutName === 'columns';
  const [r, c] = flipped ? [cols, rows] : [rows, cols];
  const view: View = {
    tensor,
    offset: 3,
    batch: [batch, matrixWords, 1, 0],
    rows: r,
    rowStride: c * gap * gap,
    cols: c,
    colStride: gap,
  };
  return { view: flipped ? transpose(view) : view, words: 3 + batch * matrixWords };
}

/** Builds and runs a plan; compares operands and results. */
export function buildProduct(b: Build, p: ProductPlan): void {
  let seed = p.seed;
  const filled = (name: Layout, rows: number, cols: number): View => {
    const { view, words } = place(name, p.batch, rows, cols);
    return { ...view, tensor: b.tensor(values(p.kind, words, seed++)) };
  };
  const [moreA, moreB, along] = p.more;
  const depth = p.K + along;
  const narrow = p.narrow && p.nb === 7 && !p.transposed;
  const [rows, cols] = p.transposed ? [depth, p.N + moreB] : [p.N + moreB, depth];
  const right = b.quantized(p.batch, rows, cols, p.transposed, narrow);
  const left = b.quantized(p.batch, p.M + moreA, depth);
  const scalars = b.tensor(Uint32Array.of(seed, 0, 0, 0));
  const sources = { right: filled(p.layouts[1], rows, cols), left: filled(p.layouts[0], p.M + moreA, depth) };
  const stochastic = p.random ? { stochastic: { site: 7, scalars } } : {};
  const again = narrow ? null : againOf(b, p, rows, (count) => filled(p.layouts[1], count, cols));
  b.record((ops) => {
    ops.quantize({ src: sources.right, dst: right, nb: p.nb, ...stochastic });
    if (again) ops.quantize({ ...again, dst: right, nb: p.nb, ...stochastic });
    const fold = p.transposed ? { foldScale: right } : {};
    ops.quantize({ src: sources.left, dst: left, nb: p.nb, ...stochastic, ...fold });
  });
  b.compare('left', left);
  b.compare('right', right);
  multiply(b, p, left, right, filled);
}

function againOf(
  b: Build,
  { again }: ProductPlan,
  rows: number,
  source: (count: number) => View,
): Pick<QuantizeArgs, 'src' | 'dstRow'> | null {
  if (!again) return null;
  const count = Math.min(again[1], rows);
  const [, , fromTensor] = again;
  // A tensor may also point past the end.
  const row = fromTensor ? again[0] : Math.min(again[0], rows - count);
  return { src: source(count), dstRow: fromTensor ? b.tensor(Uint32Array.of(row, 1)) : row };
}

function multiply(
  b: Build,
  p: ProductPlan,
  left: Quantized,
  right: Quantized,
  filled: (name: Layout, rows: number, cols: number) => View,
): void {
  const like = () => filled(p.layouts[2], p.M, p.N);
  const dst = like();
  const kind = p.epilogue.includes('gelu') ? 'gelu' : 'silu';
  const kept = p.epilogue.startsWith('kept') ? like().tensor : null;
  const back = p.epilogue.endsWith('gradient');
  const args: GemmArgs = { a: left, b: right, dst, nb: p.nb };
  if (p.more[2] > 0) args.length = p.K;
  if (p.offset >= 0) args.causal = p.offset === 0 ? true : { offset: p.offset };
  if (p.biased) args.bias = b.tensor(values(p.kind, p.N, p.seed + 99));
  if (back) args.activationGrad = { kind, x: like().tensor };
  else if (p.epilogue !== 'none') args.activation = kind;
  if (kept) args.preactivation = kept;
  if (p.residual !== 'none') args.residual = p.residual === 'other' ? like().tensor : dst.tensor;
  b.record((ops) => ops.gemm(args));
  b.compare('dst', dst.tensor);
  if (kept) b.compare('preactivation', kept);
}

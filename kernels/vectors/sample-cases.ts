/** Conformance of sampling: rows of one logit up to a large vocabulary, equal logits, every kind of temperature, thresholds inside and between equals. */
import { type Bench, type Case, opCase } from './case.ts';
import { edgeBits } from './inputs.ts';

type Temperature = 'largest' | number;

function sample(
  name: string,
  rows: number,
  V: number,
  temperatures: readonly Temperature[],
  topK: number | undefined,
  logits: (bench: Bench) => Float32Array | Uint32Array,
  probe = false,
): Case {
  return opCase(
    `sample/${name}/${rows}x${V}/${temperatures.join()}/${topK ?? 'all'}`,
    (bench) => {
      const given = bench.from(logits(bench));
      const scalars = bench.scalars();
      const runs = temperatures.map((t) => ({
        temperature: bench.from(Float32Array.of(t === 'largest' ? 0 : t)),
        dst: bench.zeros(rows + 1),
      }));
      const extra = topK === undefined ? {} : { topK };
      return {
        record: (ops) =>
          runs.forEach((run, site) => ops.sample({ logits: given, rows, V, scalars, site, ...run, ...extra })),
        out: runs.map(({ dst }) => dst),
      };
    },
    { probe },
  );
}

const usual: readonly Temperature[] = ['largest', 1, 0.7, 40];
const normal = (count: number) => (bench: Bench) => bench.random.values(count, -4, 3);
/** Few different values, so that many are equal. */
const equal = (count: number) => (bench: Bench) =>
  Float32Array.from({ length: count }, () => (bench.random.below(5) - 2) / 4);
/** Both ends of the range. */
const edges = (rows: number) => (bench: Bench) =>
  Uint32Array.from(
    { length: rows * edgeBits.length },
    (_, i) => edgeBits[(i * 7 + bench.random.below(3)) % edgeBits.length] as number,
  );

export const sampleCases: readonly Case[] = [
  // One logit always gives column 0: a second row holds something.
  ...[2, 3, 4, 5, 63, 64, 65, 255, 256, 257, 1023].map((V) =>
    sample('normal', 9, V, usual, undefined, normal(9 * V), V === 65),
  ),
  ...[1, 2, 40, 256, 257, 300].map((k) => sample('normal', 7, 257, usual, k, normal(7 * 257), k === 40)),
  ...[1, 3, 50, 130].map((k) => sample('equal', 7, 131, usual, k, equal(7 * 131))),
  sample('edges', 5, edgeBits.length, [...usual, 2 ** -100, 2 ** -21, 2 ** 40], undefined, edges(5)),
  sample('edges', 5, edgeBits.length, [1, 1e6, 1e-3], 11, edges(5)),
  sample('negative', 3, 67, usual, 9, (bench) => bench.random.positives(3 * 67, -4, 3).map((x) => -x)),
  sample('large', 2, 50_257, ['largest', 1, 100], undefined, normal(2 * 50_257)),
  sample('large', 2, 50_257, [1, 100], 1000, normal(2 * 50_257)),
];

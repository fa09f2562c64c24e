/**
 * Conformance of a mixture of experts: one expert, all of them chosen, experts without a row and one with every row, equal logits, and products whose
 * parts begin and end anywhere inside a vector of four and a panel of four rows.
 */
import type { Bits } from '../ops/quantize/spec.ts';
import { matrix, type Tensor, type View } from '../tensor/tensor.ts';
import { type Bench, type Case, opCase } from './case.ts';
import { widths } from './quantize-cases.ts';

type Kind = 'any' | 'equal' | 'one' | 'gaps' | 'edges';

/** Logits; 'one': expert 0 always first; 'gaps': odd experts never among the first half. */
function logitsOf(bench: Bench, kind: Kind, M: number, E: number): Float32Array {
  const values = kind === 'edges' ? bench.random.values(M * E, -100, 40) : bench.random.values(M * E, -4, 3);
  if (kind === 'any' || kind === 'edges') return values;
  return values.map((x, i) => {
    if (kind === 'equal') return (bench.random.below(3) - 1) / 2;
    if (kind === 'one') return i % E === 0 ? 9 : x;
    return i % E & 1 ? -9 - Math.abs(x) : x;
  });
}

function route(kind: Kind, M: number, E: number, k: number, probe = false): Case {
  return opCase(
    `route/${kind}/${M}/${k}of${E}`,
    (bench) => {
      const slots = M * k;
      const logits = bench.from(logitsOf(bench, kind, M, E));
      const [ids, gates, order, places] = [slots, slots, slots, slots].map((size) => bench.zeros(size)) as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
      ];
      const offsets = bench.zeros(E + 1);
      const [dgates, dlogits] = [bench.values(slots), bench.values(M * E)];
      return {
        record: (ops) => {
          ops.route({ logits, M, E, k, ids, gates, order, places, offsets });
          ops.routeGrad({ ids, gates, dgates, dlogits, M, E, k });
        },
        out: [ids, gates, order, places, offsets, dlogits],
      };
    },
    { probe },
  );
}

/** Rows there and back over a permutation of the slots. */
function rows(M: number, k: number, cols: number, low = -6, high = 4, probe = false): Case {
  return opCase(
    `moe-rows/${M}x${k}x${cols}/${low},${high}`,
    (bench) => {
      const slots = M * k;
      const shuffled = Uint32Array.from({ length: slots }, (_, i) => i);
      for (let i = slots - 1; i > 0; i--) {
        const j = bench.random.below(i + 1);
        [shuffled[i], shuffled[j]] = [shuffled[j] as number, shuffled[i] as number];
      }
      const inverse = new Uint32Array(slots);
      shuffled.forEach((slot, place) => (inverse[slot] = place));
      const [order, places] = [bench.from(shuffled), bench.from(inverse)];
      const [src, dy] = [bench.values(M * cols, low, high), bench.values(M * cols, low, high)];
      const gates = bench.from(bench.random.positives(slots, -9, 0));
      const [sorted, drows, dgates] = [bench.zeros(slots * cols), bench.zeros(slots * cols), bench.zeros(slots)];
      const [y, plain, added] = [bench.zeros(M * cols), bench.zeros(M * cols), bench.zeros(M * cols)];
      const inPlace = bench.values(M * cols, low, high);
      const shape = { M, k, cols };
      return {
        record: (ops) => {
          ops.gatherRows({ src, order, dst: sorted, ...shape });
          ops.combine({ rows: sorted, places, gates, y, ...shape });
          ops.combine({ rows: sorted, places, y: plain, ...shape });
          ops.combine({ rows: sorted, places, gates, residual: src, y: added, ...shape });
          ops.combine({ rows: sorted, places, residual: inPlace, y: inPlace, ...shape });
          ops.combineGrad({ dy, rows: sorted, places, gates, drows, dgates, ...shape });
        },
        out: [sorted, y, plain, added, inPlace, drows, dgates],
      };
    },
    { probe },
  );
}

/** Products of both kinds over experts with `sizes` rows; `beyond` rows have no expert. */
function grouped(
  nb: Bits,
  sizes: readonly number[],
  [N, K]: readonly [number, number],
  beyond = 0,
  [low, high] = [-4, 4],
  probe = false,
): Case {
  const E = sizes.length;
  const R = sizes.reduce((sum, size) => sum + size, beyond);
  return opCase(
    `grouped-gemm/${nb}/${sizes.join()}+${beyond}/${N}x${K}/${low},${high}`,
    (bench) => {
      const starts = Uint32Array.from({ length: E + 1 }, (_, e) => sizes.slice(0, e).reduce((a, b) => a + b, 0));
      const offsets = bench.from(starts);
      const view = (rowCount: number, cols: number, batch = 1): View => ({
        ...matrix(bench.values(batch * rowCount * cols, low, high), rowCount, cols),
        batch: [batch, rowCount * cols, 1, 0],
      });
      const [x, w, dy, dx] = [view(R, K), view(N, K, E), view(N, R), view(K, R)];
      const operand = (from: View) => bench.device.quantized(from.batch[0], from.rows, from.cols);
      const [qx, qw, qdy, qdx] = [operand(x), operand(w), operand(dy), operand(dx)];
      const [forward, weights] = [bench.values(R * N), bench.values(E * N * K)];
      const [added, inPlace] = [bench.values(E * N * K), bench.values(E * N * K)];
      return {
        record: (ops) => {
          ops.quantize({ src: x, dst: qx, nb });
          ops.quantize({ src: w, dst: qw, nb });
          ops.quantize({ src: dy, dst: qdy, nb });
          ops.quantize({ src: dx, dst: qdx, nb });
          ops.groupedGemm({ kind: 'rows', a: qx, b: qw, offsets, dst: forward, nb });
          const sums = { kind: 'contraction', a: qdy, b: qdx, offsets, nb } as const;
          ops.groupedGemm({ ...sums, dst: weights });
          ops.groupedGemm({ ...sums, dst: added, residual: weights });
          ops.groupedGemm({ ...sums, dst: inPlace, residual: inPlace });
        },
        out: [forward, weights, added, inPlace],
      };
    },
    { probe },
  );
}

/** Weights as bytes. */
const narrow = opCase('grouped-gemm/narrow', (bench) => {
  const [R, E, N, K] = [11, 3, 13, 67];
  const [x, w] = [bench.values(R * K), bench.values(E * N * K)];
  const offsets = bench.from(Uint32Array.of(0, 5, 5, R));
  const [a, b] = [bench.device.quantized(1, R, K), bench.device.quantized(E, N, K, false, true)];
  const dst = bench.zeros(R * N);
  return {
    record: (ops) => {
      ops.quantize({ src: matrix(x, R, K), dst: a, nb: 7 });
      ops.quantize({ src: { ...matrix(w, N, K), batch: [E, N * K, 1, 0] }, dst: b, nb: 7 });
      ops.groupedGemm({ kind: 'rows', a, b, offsets, dst, nb: 7 });
    },
    out: [dst],
  };
});

export const moeCases: readonly Case[] = [
  route('any', 1, 1, 1),
  route('any', 9, 1, 1),
  route('any', 9, 2, 1),
  route('any', 67, 8, 2, true),
  route('any', 67, 5, 5),
  route('any', 4099, 16, 4),
  route('any', 65, 512, 3),
  route('equal', 67, 8, 3),
  route('one', 67, 8, 1),
  route('gaps', 130, 8, 2),
  route('edges', 67, 7, 3),
  rows(1, 1, 1),
  rows(7, 2, 13, -6, 4, true),
  rows(67, 3, 64),
  rows(3, 2, 4097),
  rows(9, 5, 65, -100, -40),
  rows(9, 5, 65, 30, 40),
  ...widths.flatMap((nb) => [
    grouped(nb, [1], [1, 1]),
    grouped(nb, [5, 0, 9, 1, 0, 17], [13, 19], 0, [-4, 4], true),
    grouped(nb, [0, 33, 0], [20, 65]),
    grouped(nb, [3, 4, 8, 2], [33, 64], 6),
    grouped(nb, [130, 1, 1, 70], [9, 130]),
    grouped(nb, [6, 11], [9, 12], 0, [-60, -40]),
    grouped(nb, [6, 11], [9, 12], 0, [-99, 40]),
  ]),
  grouped(7, [700, 1353, 11], [5, 2053]),
  grouped(10, [700, 2053, 11], [5, 2053]),
  grouped(15, [3, 2053], [5, 2053]),
  narrow,
];

/** Conformance of the gradient's norm, the clipping factor, and AdamW with it. */
import { constant } from '../ops/math/cpu.ts';
import { type Case, opCase } from './case.ts';

/** Norms of three tensors of which the first has `count` values; the factors for a norm below and above. */
function clip(count: number, low: number, high: number, probe = false): Case {
  return opCase(
    `clip/${count}/${low},${high}`,
    (bench) => {
      const tensors = [count, 7, 65].map((size) => bench.values(size, low, high));
      const [partials, above, below] = [bench.zeros(4), bench.zeros(1), bench.zeros(2)];
      return {
        record: (ops) => {
          tensors.forEach((src, at) => ops.sumSquares({ src, count: src.size, dst: partials, at }));
          ops.clipScale({ partials, count: 3, max: 2 ** -60, dst: above });
          ops.clipScale({ partials, count: 3, max: 2 ** 60, dst: below });
        },
        out: [partials, above, below],
      };
    },
    { probe },
  );
}

/** A factor over many partials, from 0 to the largest sums there are. */
function scale(count: number, low: number, high: number, max: number): Case {
  return opCase(`clip-scale/${count}/${low},${high}/${max}`, (bench) => {
    const partials = bench.from(bench.random.positives(count, low, high));
    const dst = bench.zeros(1);
    return { record: (ops) => ops.clipScale({ partials, count, max, dst }), out: [dst] };
  });
}

function adamw(size: number, probe: boolean): Case {
  return opCase(
    `adamw/scaled/${size}`,
    (bench) => {
      const [p, g, m] = [bench.values(size), bench.values(size, -60, 0), bench.values(size, -60, 0)];
      const v = bench.from(bench.random.positives(size, -99, 0));
      const scalars = bench.from(Float32Array.of(0, 6e-4, 10, 20));
      const gradScale = bench.from(Float32Array.of(0.3, 7));
      const [beta1, beta2, eps, weightDecay] = [0.9, 0.95, 1e-8, 0.1].map(constant) as [
        number,
        number,
        number,
        number,
      ];
      const rates = { beta1, beta2, eps, weightDecay };
      return {
        record: (ops) => ops.adamw({ p, g, m, v, scalars, size, gradScale, ...rates }),
        out: [p, m, v],
      };
    },
    { probe },
  );
}

export const clipCases: readonly Case[] = [
  ...[1, 2, 63, 64, 65, 4095, 4096, 4097].map((count) => clip(count, -10, 4, count === 4097)),
  clip(262_147, -10, 4),
  clip(131, -99, -40),
  clip(131, 30, 40),
  clip(5000, -60, 40),
  scale(1, -1, 1, 1),
  scale(148, -20, 10, 1),
  scale(4099, -20, 10, constant(0.1)),
  scale(67, 70, 90, 2 ** 40),
  scale(67, -99, -90, 2 ** -100),
  adamw(1031, true),
  adamw(1, false),
];

/** Conformance of the ops that work element by element, and of the embedding. */
import { constant } from '../ops/math/cpu.ts';
import type { Bits } from '../ops/quantize/spec.ts';
import { matrix, transpose } from '../tensor/tensor.ts';
import { type Bench, type Case, opCase } from './case.ts';
import { edgePairs } from './inputs.ts';
import { widths } from './quantize-cases.ts';

/** Values for functions of one variable: every exponent that matters many times, both signs. */
const functionPoints = 40_000;

function binary(
  kind: 'add' | 'sub',
  name: string,
  place: 'apart' | 'a' | 'b' | 'both',
  low: number,
  high: number,
): Case {
  return opCase(
    `elementwise/${kind}/${name}`,
    (bench) => {
      const size = 9001;
      const a = bench.values(size, low, high);
      const b = place === 'both' ? a : bench.values(size, low, high);
      const dst = place === 'apart' ? bench.zeros(size) : place === 'b' ? b : a;
      return { record: (ops) => ops.elementwise({ kind, a, b, dst, size }), out: [dst] };
    },
    { probe: place === 'a' },
  );
}

const elementwise: Case[] = [
  ...(['add', 'sub'] as const).flatMap((kind) => [
    binary(kind, 'near', 'apart', -2, 2),
    binary(kind, 'far', 'apart', -99, 40),
    binary(kind, 'tiny', 'apart', -100, -74),
    binary(kind, 'a-in-place', 'a', -3, 8),
    binary(kind, 'b-in-place', 'b', -3, 8),
    binary(kind, 'both-in-place', 'both', -3, 40),
    opCase(
      `elementwise/${kind}/edges`,
      (bench) => {
        const pairs = edgePairs();
        const [a, b, size] = [bench.from(pairs.a), bench.from(pairs.b), pairs.a.length];
        const dst = bench.zeros(size);
        return { record: (ops) => ops.elementwise({ kind, a, b, dst, size }), out: [dst] };
      },
      { probe: true },
    ),
  ]),
  ...[1, -1, 0, 2 ** -100, 2 ** 40, Math.fround(1 / 3), Math.fround(-1e-9)].map((factor) =>
    opCase(
      `elementwise/scale/${factor}`,
      (bench) => {
        const [a, size] = [bench.values(9001, -100, 40), 9001];
        const dst = factor === 1 ? a : bench.zeros(size);
        return { record: (ops) => ops.elementwise({ kind: 'scale', factor, a, dst, size }), out: [dst] };
      },
      { probe: factor < 0 },
    ),
  ),
  opCase(
    'elementwise/sqrt',
    (bench) => {
      const size = functionPoints;
      const a = bench.from(bench.random.positives(size, -100, 40));
      const dst = bench.zeros(size);
      return { record: (ops) => ops.elementwise({ kind: 'sqrt', a, dst, size }), out: [dst] };
    },
    { probe: true },
  ),
  opCase(
    'nesterov',
    (bench) => {
      const size = 10_007;
      const [p, momentum, delta] = [
        bench.values(size),
        bench.values(size, -9, 0),
        bench.values(size, -9, 40),
      ];
      const rates = { lr: Math.fround(0.7), mu: Math.fround(0.9) };
      return { record: (ops) => ops.nesterov({ p, momentum, delta, size, ...rates }), out: [p, momentum] };
    },
    { probe: true },
  ),
];

function gelu(name: string, low: number, high: number, size: number, probe: boolean): Case {
  return opCase(
    `gelu/${name}`,
    (bench) => {
      const [x, dy] = [bench.values(size, low, high), bench.values(size)];
      const [y, dx, same] = [bench.zeros(size), bench.zeros(size), bench.values(size)];
      return {
        record: (ops) => {
          ops.gelu({ x, y, size });
          ops.geluGrad({ x, dy, dx, size });
          ops.geluGrad({ x, dy: same, dx: same, size });
        },
        out: [y, dx, same],
      };
    },
    { probe },
  );
}

/** Only the first `size` words of longer tensors change, also where kernels take four at a time. */
function prefix(size: number): Case {
  return opCase(`prefix/${size}`, (bench) => {
    const make = () => bench.values(size + 7);
    const [a, b, y, dx, root] = [make(), make(), make(), make(), make()];
    const [p, g, m, momentum, delta] = [make(), make(), make(), make(), make()];
    const v = bench.from(bench.random.positives(size + 7));
    const scalars = bench.from(Float32Array.of(0, 0.5, 1, 1));
    const [lr, mu] = [0.5, 0.5];
    const rates = { beta1: 0.5, beta2: 0.5, eps: 0.5, weightDecay: 0.5 };
    return {
      record: (ops) => {
        ops.elementwise({ kind: 'add', a, b, dst: b, size });
        ops.elementwise({ kind: 'sqrt', a: v, dst: root, size });
        ops.gelu({ x: a, y, size });
        ops.geluGrad({ x: a, dy: y, dx, size });
        ops.nesterov({ p, momentum, delta, size, lr, mu });
        ops.adamw({ p, g, m, v, scalars, size, ...rates });
      },
      out: [b, y, dx, root, p, m, v, momentum],
    };
  });
}

/** Rates of a usual AdamW, and such that every term of the update matters to the last bit. */
const rates = {
  usual: { lr: 6e-4, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1 },
  large: { lr: 0.3, beta1: 0.3, beta2: 0.6, eps: 0.05, weightDecay: 0.9 },
};

function adamw(rate: keyof typeof rates, low: number, high: number, size: number, probe: boolean): Case {
  return opCase(
    `adamw/${rate}/${size}/${low},${high}`,
    (bench) => {
      const [p, g, m] = [bench.values(size), bench.values(size, low, high), bench.values(size, low, high)];
      const v = bench.from(bench.random.positives(size, Math.max(-99, 2 * low), Math.min(40, 2 * high)));
      // Part of it starts from nothing; bias corrections as in the first step, when they are largest.
      bench.device.write(v, new Uint32Array(Math.ceil(size / 7)));
      const { lr, ...rest } = rates[rate];
      const scalars = bench.from(Float32Array.of(0, lr, 10, 20));
      const [beta1, beta2, eps, weightDecay] = Object.values(rest).map(constant) as [
        number,
        number,
        number,
        number,
      ];
      return {
        record: (ops) => ops.adamw({ p, g, m, v, scalars, size, beta1, beta2, eps, weightDecay }),
        out: [p, m, v],
      };
    },
    { probe },
  );
}

function embed(rows: number, cols: number, T: number, probe: boolean): Case {
  return opCase(
    `embed/${rows}x${cols}/${T}`,
    (bench) => {
      const V = 29;
      const tokens = bench.from(bench.random.indices(rows, V));
      const [wte, wpe, x] = [bench.values(V * cols), bench.values(T * cols), bench.zeros(rows * cols)];
      return { record: (ops) => ops.embed({ tokens, wte, wpe, x, rows, cols, T }), out: [x] };
    },
    { probe },
  );
}

/** Without learned positions, and with positions that are given. */
function embedOptions(rows: number, cols: number): Case {
  return opCase(`embed/${rows}x${cols}/options`, (bench) => {
    const [V, T] = [29, 17];
    const tokens = bench.from(bench.random.indices(rows, V));
    const positions = bench.from(bench.random.indices(rows, T));
    const [wte, wpe] = [bench.values(V * cols, -3, 60), bench.values(T * cols, -3, 60)];
    const [plain, placed] = [bench.zeros(rows * cols), bench.zeros(rows * cols)];
    return {
      record: (ops) => {
        ops.embed({ tokens, wte, x: plain, rows, cols, T: 1 });
        ops.embed({ tokens, wte, wpe, positions, x: placed, rows, cols, T: 1 });
      },
      out: [plain, placed],
    };
  });
}

/** Scatters twice, the second time into less: the integer scratch must be clean again. */
function scatterAdd(nb: Bits, positions: number, channels: number, probe: boolean): Case {
  return opCase(
    `scatter-add/${nb}/${positions}x${channels}`,
    (bench: Bench) => {
      const V = 11;
      const indices = bench.from(bench.random.indices(positions, V));
      const columns = transpose(matrix(bench.values(positions * channels), positions, channels));
      const q = bench.device.quantized(1, channels, positions);
      const [fresh, added] = [bench.values((V + 3) * channels), bench.values(V * channels)];
      const stochastic = { site: 9, scalars: bench.scalars() };
      return {
        record: (ops) => {
          ops.quantize({ src: columns, dst: q, nb, stochastic });
          ops.scatterAdd({ q, indices, dst: fresh, nb, accumulate: false });
          ops.scatterAdd({ q, indices, dst: added, nb, accumulate: true });
        },
        out: [fresh, added],
      };
    },
    { probe },
  );
}

export const elementCases: readonly Case[] = [
  ...elementwise,
  gelu('usual', -6, 3, functionPoints, false),
  gelu('all', -100, 40, functionPoints, false),
  gelu('short', -6, 4, 1031, true),
  adamw('usual', -12, 0, 10_007, false),
  adamw('large', -3, 3, 10_007, true),
  adamw('large', -99, 20, 10_007, false),
  adamw('usual', -3, 0, 1, false),
  ...[1, 2, 3, 4, 5, 257].map(prefix),
  embed(1, 1, 1, false),
  embed(37, 13, 8, true),
  embed(64, 128, 64, false),
  embedOptions(1, 1),
  embedOptions(37, 13),
  ...widths.flatMap((nb) => [
    scatterAdd(nb, 1, 1, false),
    scatterAdd(nb, 67, 13, true),
    scatterAdd(nb, 515, 64, false),
  ]),
];

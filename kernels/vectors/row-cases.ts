/** Conformance of the ops that reduce rows or columns: lengths around 64 and 4096, where the order of additions changes. */
import type { Tensor } from '../tensor/tensor.ts';
import { type Bench, type Case, opCase, probed } from './case.ts';

function layerNorm(rows: number, cols: number, low = -4, high = 3, probe = false): Case {
  return opCase(
    `layer-norm/${rows}x${cols}/${low},${high}`,
    (bench) => {
      const x = bench.values(rows * cols, low, high);
      const [gain, bias] = [bench.values(cols, -1, 1), bench.values(cols, -3, 0)];
      const [y, mean, rstd] = [bench.zeros(rows * cols), bench.zeros(rows), bench.zeros(rows)];
      return {
        record: (ops) => ops.layerNorm({ x, gain, bias, y, mean, rstd, rows, cols }),
        out: [y, mean, rstd],
      };
    },
    { probe },
  );
}

type Residual = 'none' | 'other' | 'in place';

function layerNormGrad(rows: number, cols: number, residual: Residual, probe = false): Case {
  return opCase(
    `layer-norm-grad/${rows}x${cols}/${residual}`,
    (bench) => {
      const [dy, x] = [bench.values(rows * cols), bench.values(rows * cols, -4, 3)];
      const gain = bench.values(cols, -1, 1);
      const [mean, rstd] = [bench.values(rows, -8, -2), bench.from(bench.random.positives(rows, -2, 2))];
      const dx = residual === 'in place' ? bench.values(rows * cols) : bench.zeros(rows * cols);
      const other: Tensor = residual === 'other' ? bench.values(rows * cols) : dx;
      const extra = residual === 'none' ? {} : { residual: other };
      return {
        record: (ops) => ops.layerNormGrad({ dy, x, gain, mean, rstd, dx, rows, cols, ...extra }),
        out: [dx],
      };
    },
    { probe },
  );
}

function layerNormParamGrad(rows: number, cols: number, probe = false): Case {
  return opCase(
    `layer-norm-param-grad/${rows}x${cols}`,
    (bench) => {
      const [dy, x] = [bench.values(rows * cols), bench.values(rows * cols, -4, 3)];
      const [mean, rstd] = [bench.values(rows, -8, -2), bench.from(bench.random.positives(rows, -2, 2))];
      const [dgain, dbias] = [bench.zeros(cols), bench.zeros(cols)];
      return {
        record: (ops) => ops.layerNormParamGrad({ dy, x, mean, rstd, dgain, dbias, rows, cols }),
        out: [dgain, dbias],
      };
    },
    { probe },
  );
}

function columnSum(rows: number, cols: number, low = -10, high = 4): Case {
  return opCase(`column-sum/${rows}x${cols}/${low},${high}`, (bench) => {
    const src = bench.values(rows * cols, low, high);
    const [fresh, added] = [bench.values(cols), bench.values(cols, low, high)];
    return {
      record: (ops) => {
        ops.columnSum({ src, dst: fresh, rows, cols });
        ops.columnSum({ src, dst: added, rows, cols, accumulate: true });
      },
      out: [fresh, added],
    };
  });
}

function softmax(batch: number, T: number, low: number, high: number, probe = false): Case {
  return opCase(
    `softmax/${batch}x${T}/${low},${high}`,
    (bench) => {
      const scores = bench.values(batch * T * T, low, high);
      const gradient = bench.values(batch * T * T);
      const shape = { batch, rows: T, cols: T, offset: 0, scale: 0.125 };
      return {
        record: (ops) => {
          ops.softmax({ scores, ...shape });
          ops.softmaxGrad({ probabilities: scores, gradient, ...shape });
        },
        out: [scores, gradient],
      };
    },
    { probe },
  );
}

/** A tile of queries after others, with the position in a tensor or not. */
function softmaxTile(rows: number, cols: number, offset: number, position: number | null): Case {
  return opCase(
    `softmax-tile/${rows}x${cols}/${offset}+${position ?? 'none'}`,
    (bench) => {
      const scores = bench.values(2 * rows * cols, -3, 5);
      const gradient = bench.values(2 * rows * cols);
      const at = position === null ? {} : { position: bench.from(Uint32Array.of(position, 7)) };
      const shape = { batch: 2, rows, cols, offset, scale: 0.25, ...at };
      return {
        record: (ops) => {
          ops.softmax({ scores, ...shape });
          ops.softmaxGrad({ probabilities: scores, gradient, ...shape });
        },
        out: [scores, gradient],
      };
    }
  );
}

function crossEntropy(rows: number, V: number, high: number, probe = false): Case {
  const both = (bench: Bench, gradientScale?: number) => {
    const logits = bench.values(rows * V, -4, high);
    const targets = bench.random.indices(rows, V);
    targets[0] = V - 1;
    targets[rows - 1] = 0;
    const [goal, losses] = [bench.from(targets), bench.zeros(rows)];
    const extra = gradientScale === undefined ? {} : { gradientScale };
    return {
      record: (ops: Parameters<Parameters<Bench['device']['record']>[0]>[0]) =>
        ops.crossEntropy({ logits, targets: goal, losses, rows, V, ...extra }),
      out: [losses, logits],
    };
  };
  return opCase(
    `cross-entropy/${rows}x${V}/${high}/${probe ? 'gradient' : 'both'}`,
    (bench) => {
      const [plain, gradient] = [both(bench), both(bench, Math.fround(1 / 24))];
      return {
        record: (ops) => {
          plain.record(ops);
          gradient.record(ops);
        },
        out: [...plain.out, ...gradient.out],
      };
    },
    { probe },
  );
}

function sum(count: number, inPlace: boolean, probe = false): Case {
  return opCase(
    `sum/${count}${inPlace ? '-in-place' : ''}`,
    (bench) => {
      const src = bench.values(count, -10, 4);
      const dst = inPlace ? src : bench.zeros(3);
      const at = inPlace ? 0 : 1;
      return {
        record: (ops) => ops.sum({ src, count, factor: Math.fround(1 / 3), dst, at }),
        out: [dst],
      };
    },
    { probe },
  );
}

/** A large vocabulary, with and without the gradient; the last target is none of it. */
function vocabulary(rows: number, V: number): Case {
  return opCase(`cross-entropy/vocabulary/${rows}x${V}`, (bench) => {
    const [plain, gradient] = [bench.values(rows * V, -4, 4), bench.values(rows * V, -4, 4)];
    const indices = bench.random.indices(rows, V);
    indices[rows - 1] = V;
    const targets = bench.from(indices);
    const [losses, trained] = [bench.zeros(rows), bench.zeros(rows)];
    return {
      record: (ops) => {
        ops.crossEntropy({ logits: plain, targets, losses, rows, V });
        ops.crossEntropy({ logits: gradient, targets, losses: trained, rows, V, gradientScale: 0.5 });
      },
      out: [losses, plain, trained, gradient],
    };
  });
}

export const rowCases: readonly Case[] = [
  ...[1, 63, 64, 65, 130, 4095, 4096, 4097, 8209].map((rows) => columnSum(rows, 5)),
  ...[1, 15, 16].map((cols) => columnSum(67, cols)),
  probed(columnSum(67, 17)),
  columnSum(67, 33),
  columnSum(70_001, 1),
  columnSum(67, 7, -100, -90),
  columnSum(67, 7, 30, 41),
  ...[1, 2, 63, 64, 65, 127, 128, 131, 768].map((cols) => layerNorm(3, cols, -4, 3, cols === 128 || cols === 131)),
  layerNorm(2, 4096),
  layerNorm(2, 4097),
  layerNorm(1, 12_289),
  layerNorm(5, 67, -99, -40),
  layerNorm(5, 67, 30, 40),
  layerNorm(5, 67, -99, 40),
  ...(['none', 'other', 'in place'] as const).flatMap((residual) => [
    layerNormGrad(7, 67, residual, true),
    layerNormGrad(2, 4097, residual),
    layerNormGrad(3, 1, residual),
    layerNormGrad(18, 128, residual, residual === 'other'),
    layerNormGrad(2, 4096, residual),
  ]),
  ...[1, 63, 64, 65, 130, 4096, 4097, 70_001].map((rows) => layerNormParamGrad(rows, 5, rows === 65)),
  ...[1, 15, 16, 17, 33].map((cols) => layerNormParamGrad(67, cols)),
  ...[1, 2, 63, 64, 65, 129, 4095, 4096, 4097].map((rows) => layerNormParamGrad(rows, 68, rows === 129)),
  ...[1, 2, 17, 63, 64, 65, 131].map((T) => softmax(3, T, -3, 5, T === 64 || T === 65)),
  softmax(2, 19, -90, -60),
  softmax(2, 19, 20, 40),
  softmax(2, 19, -99, 40),
  softmax(1, 300, -3, 5),
  softmax(2, 64, -90, -60),
  softmax(2, 64, 20, 40),
  softmax(2, 64, -99, 40),
  softmax(1, 128, -3, 5),
  softmaxTile(128, 256, 128, null),
  softmaxTile(1, 257, 256, null),
  softmaxTile(5, 67, 62, 0),
  softmaxTile(5, 67, 3, 40),
  softmaxTile(1, 129, 0, 63),
  // Beyond the last column a row attends to all.
  softmaxTile(3, 65, 60, 9),
  softmaxTile(2, 4097, 4094, 1),
  ...[1, 2, 64, 257, 4096, 4097].map((V) => crossEntropy(5, V, 4, V === 257)),
  crossEntropy(2, 50_257, 5),
  crossEntropy(4, 67, 40),
  vocabulary(3, 67),
  vocabulary(1, 50_257),
  vocabulary(2, 50_257),
  vocabulary(1, 131_072),
  vocabulary(2, 131_072),
  ...[1, 2, 63, 64, 65, 4095, 4096, 4097, 10_007, 262_145].map((count) => sum(count, false, count === 4097)),
  sum(67, true),
  sum(5000, true),
];

/** Conformance of QUANT: lengths, hard rows, views, transposed operands, folded scales, both roundings, all widths. */
import type { Bits } from '../ops/quantize/spec.ts';
import { matrix, transpose, type View } from '../tensor/tensor.ts';
import { type Bench, type Case, opCase, type Plan } from './case.ts';
import { hardRows } from './inputs.ts';

export const widths: readonly Bits[] = [7, 10, 15];
const lengths = [1, 2, 15, 16, 17, 64, 65, 255, 1023, 1024, 1025, 2052, 2053, 65_536];

interface Options {
  stochastic?: boolean;
  transposed?: boolean;
}

function plan(bench: Bench, view: View, nb: Bits, { stochastic, transposed }: Options = {}): Plan {
  const dst = bench.device.quantized(
    view.batch[0] * view.batch[2],
    view.rows,
    view.cols,
    transposed ?? false,
  );
  const scalars = bench.scalars();
  const rounding = stochastic ? { stochastic: { site: 77, scalars } } : {};
  return { record: (ops) => ops.quantize({ src: view, dst, nb, ...rounding }), out: [dst] };
}

/** Two batch dimensions inside [2][7][3][11], the second batch dimension between rows and columns. */
export function headsView(bench: Bench): View {
  const tensor = bench.values(5 + 2 * 7 * 3 * 11);
  return { tensor, offset: 5, batch: [2, 7 * 33, 3, 11], rows: 7, rowStride: 33, cols: 11, colStride: 1 };
}

function foldCase(nb: Bits, low: number, high: number, name: string, probe: boolean): Case {
  return opCase(
    `quantize/${nb}/fold-${name}`,
    (bench) => {
      const [batch, T, HD] = [2, 13, 6];
      const v = bench.values(batch * T * HD, low, high);
      const p = bench.values(batch * T * T, -90, 3);
      const batched = (tensor: typeof v, cols: number): View => ({
        ...matrix(tensor, T, cols),
        batch: [batch, T * cols, 1, 0],
      });
      const qv = bench.device.quantized(batch, T, HD, true);
      const qp = bench.device.quantized(batch, T, T);
      return {
        record: (ops) => {
          ops.quantize({ src: batched(v, HD), dst: qv, nb });
          ops.quantize({ src: batched(p, T), dst: qp, nb, foldScale: qv });
        },
        out: [qv, qp],
      };
    },
    { probe },
  );
}

/** Rows into part of an operand that holds others, the place known or in a tensor, and a last write that does not fit. */
function intoCase(nb: Bits, transposed: boolean): Case {
  const build = (bench: Bench): Plan => {
    const [batch, rows, cols] = [2, 23, 37];
    const view = (count: number, stride = cols): View => ({
      ...matrix(bench.values(batch * count * stride, -12, 4), count, cols),
      rowStride: stride,
      batch: [batch, count * stride, 1, 0],
    });
    const dst = bench.device.quantized(batch, rows, cols, transposed);
    const fold = bench.device.quantized(batch, cols + 3, 5, true);
    const foldSource = { ...view(cols + 3), cols: 5 };
    const [all, some, one, folded, last] = [view(rows), view(6), view(1), view(2, cols + 4), view(4)];
    const scalars = bench.scalars();
    const at = (row: number) => bench.from(Uint32Array.of(row, 99));
    const [ten, end, beyond] = [at(10), at(rows - 2), at(0xffffffff)];
    return {
      record: (ops) => {
        ops.quantize({ src: foldSource, dst: fold, nb });
        ops.quantize({ src: all, dst, nb });
        ops.quantize({ src: some, dst, nb, dstRow: 3 });
        ops.quantize({ src: one, dst, nb, dstRow: ten });
        ops.quantize({ src: folded, dst, nb, dstRow: 15, foldScale: fold, stochastic: { site: 4, scalars } });
        ops.quantize({ src: last, dst, nb, dstRow: end });
        ops.quantize({ src: some, dst, nb, dstRow: beyond });
      },
      out: [dst],
    };
  };
  return opCase(`quantize/${nb}/rows-into${transposed ? '-transposed' : ''}`, build, { probe: true });
}

function casesOf(nb: Bits): Case[] {
  const cases: Case[] = [];
  for (const stochastic of [false, true]) {
    const mode = stochastic ? 'sr' : 'rne';
    for (const cols of lengths) {
      const rows = cols > 5000 ? 2 : 5;
      cases.push(
        opCase(`quantize/${nb}/${mode}/${rows}x${cols}`, (bench) =>
          plan(bench, matrix(bench.values(rows * cols, -20, 3), rows, cols), nb, { stochastic }),
        ),
      );
    }
    for (const cols of [1, 7, 96, 1031]) {
      cases.push(
        opCase(
          `quantize/${nb}/${mode}/hard-${cols}`,
          (bench) => {
            const { words, rows } = hardRows(cols, nb);
            return plan(bench, matrix(bench.from(words), rows, cols), nb, { stochastic });
          },
          { probe: cols === 96 },
        ),
      );
    }
    cases.push(
      opCase(
        `quantize/${nb}/${mode}/columns`,
        (bench) => plan(bench, transpose(matrix(bench.values(131 * 37), 131, 37)), nb, { stochastic }),
        { probe: true },
      ),
      opCase(`quantize/${nb}/${mode}/columns-1601`, (bench) =>
        plan(bench, transpose(matrix(bench.values(9 * 1601), 9, 1601)), nb, { stochastic }),
      ),
      opCase(`quantize/${nb}/${mode}/heads`, (bench) => plan(bench, headsView(bench), nb, { stochastic })),
      opCase(`quantize/${nb}/${mode}/heads-columns`, (bench) =>
        plan(bench, transpose(headsView(bench)), nb, { stochastic }),
      ),
      opCase(`quantize/${nb}/${mode}/heads-transposed`, (bench) =>
        plan(bench, headsView(bench), nb, { stochastic, transposed: true }),
      ),
    );
  }
  return [
    ...cases,
    foldCase(nb, -6, 2, 'usual', true),
    foldCase(nb, -99, -60, 'tiny', false),
    foldCase(nb, 20, 40, 'huge', false),
    foldCase(nb, -99, 40, 'mixed', true),
    intoCase(nb, false),
    intoCase(nb, true),
  ];
}

/** Weights that a device may keep in less memory, along rows and columns. */
const narrowCases = ([1, 15, 67, 1031] as const).flatMap((cols) =>
  (['rows', 'columns'] as const).map((name) =>
    opCase(`quantize/7/narrow-${name}-${cols}`, (bench) => {
      const view = matrix(bench.values(13 * cols, -20, 3), 13, cols);
      const src = name === 'rows' ? view : transpose(view);
      const dst = bench.device.quantized(1, src.rows, src.cols, false, true);
      return { record: (ops) => ops.quantize({ src, dst, nb: 7 }), out: [dst] };
    }),
  ),
);

/** More rows than one dimension of a grid holds workgroups. */
const manyRows = opCase('quantize/10/rne/65599x1', (bench) =>
  plan(bench, matrix(bench.values(65_599), 65_599, 1), 10),
);

export const quantizeCases: readonly Case[] = [...widths.flatMap(casesOf), ...narrowCases, manyRows];

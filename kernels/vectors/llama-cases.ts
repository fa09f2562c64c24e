/** Conformance of the ops that Llama's layers add: RMSNorm, rotary positions, SwiGLU. */
import type { Tensor, View } from '../tensor/tensor.ts';
import { matrix } from '../tensor/tensor.ts';
import { type Case, opCase, probed } from './case.ts';

function rmsNorm(rows: number, cols: number, low = -4, high = 3): Case {
  return opCase(`rms-norm/${rows}x${cols}/${low},${high}`, (bench) => {
    const [x, gain] = [bench.values(rows * cols, low, high), bench.values(cols, -1, 1)];
    const [y, rstd] = [bench.zeros(rows * cols), bench.zeros(rows)];
    return { record: (ops) => ops.rmsNorm({ x, gain, y, rstd, rows, cols }), out: [y, rstd] };
  });
}

type Residual = 'none' | 'other' | 'in place';

function rmsNormGrad(rows: number, cols: number, residual: Residual): Case {
  return opCase(`rms-norm-grad/${rows}x${cols}/${residual}`, (bench) => {
    const [dy, x] = [bench.values(rows * cols), bench.values(rows * cols, -4, 3)];
    const [gain, rstd] = [bench.values(cols, -1, 1), bench.from(bench.random.positives(rows, -2, 2))];
    const dx = residual === 'in place' ? bench.values(rows * cols) : bench.zeros(rows * cols);
    const other: Tensor = residual === 'other' ? bench.values(rows * cols) : dx;
    const extra = residual === 'none' ? {} : { residual: other };
    return {
      record: (ops) => ops.rmsNormGrad({ dy, x, gain, rstd, dx, rows, cols, ...extra }),
      out: [dx],
    };
  });
}

function rmsNormParamGrad(rows: number, cols: number): Case {
  return opCase(`rms-norm-param-grad/${rows}x${cols}`, (bench) => {
    const [dy, x] = [bench.values(rows * cols), bench.values(rows * cols, -4, 3)];
    const [rstd, dgain] = [bench.from(bench.random.positives(rows, -2, 2)), bench.zeros(cols)];
    return {
      record: (ops) => ops.rmsNormParamGrad({ dy, x, rstd, dgain, rows, cols }),
      out: [dgain],
    };
  });
}

/** Heads inside wider rows, turned and turned back; the tables hold any values, one position lies past them. */
function rotary(rows: number, heads: number, HD: number, low = -4, high = 3): Case {
  return opCase(`rotary/${rows}x${heads}x${HD}/${low},${high}`, (bench) => {
    const table = 13;
    const [headStride, offset] = [HD + 3, 5];
    const rowStride = heads * headStride + 2;
    const x = bench.values(offset + rows * rowStride, low, high);
    const [cos, sin] = [bench.values((table * HD) / 2, -3, 0), bench.values((table * HD) / 2, -3, 0)];
    const indices = bench.random.indices(rows, table);
    if (rows > 2) indices[2] = table;
    const shape = { x, offset, rowStride, heads, headStride, rows, HD, cos, sin };
    const [there, back] = [bench.from(indices), bench.from(indices.map((i) => (i * 7) % (table + 1)))];
    return {
      record: (ops) => {
        ops.rotary({ ...shape, positions: there, inverse: false });
        ops.rotary({ ...shape, positions: back, inverse: true });
      },
      out: [x],
    };
  });
}

/** Apart, and both halves of one projection, whose gradients also share a tensor. */
function swiglu(rows: number, cols: number, low = -6, high = 4): Case {
  return opCase(`swiglu/${rows}x${cols}/${low},${high}`, (bench) => {
    const size = rows * cols;
    const apart = (tensor: Tensor): View => matrix(tensor, rows, cols);
    const halves = (tensor: Tensor, index: 0 | 1): View => ({
      ...matrix(tensor, rows, cols, 3 + index * cols),
      rowStride: 2 * cols + 1,
    });
    const fused = () => bench.values(3 + rows * (2 * cols + 1), low, high);
    const [gate, up] = [bench.values(size, low, high), bench.values(size, low, high)];
    const [y, dy, projection] = [bench.zeros(size), bench.values(size, low, high), fused()];
    const [both, dgate, dup, gradient] = [bench.zeros(size), bench.zeros(size), bench.zeros(size), fused()];
    return {
      record: (ops) => {
        const views = { gate: apart(gate), up: apart(up) };
        ops.swiglu({ ...views, y });
        ops.swigluGrad({ ...views, dy, dgate: apart(dgate), dup: apart(dup) });
        const inside = { gate: halves(projection, 0), up: halves(projection, 1) };
        ops.swiglu({ ...inside, y: both });
        ops.swigluGrad({ ...inside, dy, dgate: halves(gradient, 0), dup: halves(gradient, 1) });
      },
      out: [y, dgate, dup, both, gradient],
    };
  });
}

export const llamaCases: readonly Case[] = [
  ...[1, 2, 63, 64, 65, 127].map((cols) => rmsNorm(3, cols)),
  probed(rmsNorm(3, 131)),
  rmsNorm(3, 768),
  ...[4095, 4096, 4097].map((cols) => rmsNorm(2, cols)),
  rmsNorm(5, 67, -100, -40),
  rmsNorm(5, 67, 30, 41),
  rmsNorm(5, 67, -99, 40),
  ...(['none', 'other', 'in place'] as const).flatMap((residual) => [
    probed(rmsNormGrad(7, 67, residual)),
    rmsNormGrad(2, 4097, residual),
    rmsNormGrad(3, 1, residual),
  ]),
  ...[1, 63, 64, 65, 130, 4095, 4096, 4097, 70_001].map((rows) => rmsNormParamGrad(rows, 5)),
  ...[1, 15, 16].map((cols) => rmsNormParamGrad(67, cols)),
  probed(rmsNormParamGrad(67, 17)),
  rmsNormParamGrad(67, 33),
  rotary(1, 1, 2),
  rotary(1, 1, 64),
  rotary(19, 3, 8),
  probed(rotary(19, 3, 14)),
  rotary(67, 5, 64),
  rotary(19, 3, 14, -100, -90),
  rotary(19, 3, 14, 30, 41),
  swiglu(1, 1),
  probed(swiglu(7, 67)),
  swiglu(33, 64),
  swiglu(31, 131, -100, 40),
  swiglu(5, 1031, -3, 7),
];

/** Conformance of GEMM and ROUND: lengths around every bound of an exact sum, shapes, strides, residuals, and results at both ends of the range. */
import type { Device } from '../device/device.ts';
import type { Activation } from '../ops/gemm/spec.ts';
import { type Bits, qmaxOf } from '../ops/quantize/spec.ts';
import { matrix, type Tensor, transpose, type View } from '../tensor/tensor.ts';
import { type Bench, type Case, opCase, type Plan } from './case.ts';
import { widths } from './quantize-cases.ts';

const shapes: readonly (readonly [M: number, N: number, K: number])[] = [
  [1, 1, 1],
  [1, 5, 1],
  [3, 5, 15],
  [8, 8, 16],
  [3, 7, 17],
  [1, 67, 64],
  [67, 1, 64],
  [9, 33, 255],
  [9, 33, 257],
  [5, 3, 1023],
  [4, 9, 1024],
  [5, 3, 1025],
  [3, 9, 2047],
  [3, 5, 2048],
  [3, 5, 2052],
  [5, 3, 2053],
  [2, 3, 4096],
  [2, 3, 4100],
  [3, 2, 8209],
  [2, 3, 65_536],
  [67, 131, 33],
  [64, 64, 64],
  [130, 129, 12],
];

interface Options {
  causal?: boolean;
  residual?: 'other' | 'in place';
}

/** dst = a b^T for two matrices, RNE. */
function product(
  bench: Bench,
  a: Tensor,
  b: Tensor,
  [M, N, K]: readonly [number, number, number],
  nb: Bits,
  options: Options = {},
): Plan {
  const [qa, qb] = [bench.device.quantized(1, M, K), bench.device.quantized(1, N, K)];
  const y = options.residual ? bench.values(M * N, -3, 6) : bench.zeros(M * N);
  const other = options.residual === 'other' ? bench.values(M * N, -3, 6) : null;
  const residual = options.residual === 'in place' ? y : other;
  return {
    record: (ops) => {
      ops.quantize({ src: matrix(a, M, K), dst: qa, nb });
      ops.quantize({ src: matrix(b, N, K), dst: qb, nb });
      ops.gemm({
        a: qa,
        b: qb,
        dst: matrix(y, M, N),
        nb,
        ...(options.causal ? { causal: true } : {}),
        ...(residual ? { residual } : {}),
      });
    },
    out: [y],
  };
}

/** Every product at the largest mantissa, signs by row: the largest sums there are. */
function extreme(bench: Bench, rows: number, K: number, nb: Bits): Tensor {
  const value = qmaxOf[nb] / 2 ** nb;
  return bench.from(
    Float32Array.from({ length: rows * K }, (_, i) => (Math.floor(i / K) % 2 ? -value : value)),
  );
}

/** Rows whose scales run from 2^-98 to 2^40, so that results underflow, overflow and lie between. */
function ladder(bench: Bench, rows: number, K: number): Tensor {
  const values = bench.random.values(rows * K, -4, 0);
  const scaled = values.map(
    (value, i) => value * 2 ** (-94 + Math.floor((Math.floor(i / K) * 132) / (rows - 1 || 1))),
  );
  return bench.from(scaled);
}

function attention(device: Device, bench: Bench, nb: Bits, causal: boolean): Plan {
  const [B, NH, T, HD] = [2, 3, 19, 5];
  const C = NH * HD;
  const qkv = bench.values(B * T * 3 * C);
  const part = (index: number): View => ({
    tensor: qkv,
    offset: index * C,
    batch: [B, T * 3 * C, NH, HD],
    rows: T,
    rowStride: 3 * C,
    cols: HD,
    colStride: 1,
  });
  const scores = bench.zeros(B * NH * T * T);
  const square: View = { ...matrix(scores, T, T), batch: [B * NH, T * T, 1, 0] };
  const out = bench.zeros(B * T * C);
  const heads: View = { ...part(0), tensor: out, offset: 0, batch: [B, T * C, NH, HD], rowStride: C };
  const [q, k] = [device.quantized(B * NH, T, HD), device.quantized(B * NH, T, HD)];
  const [p, v] = [device.quantized(B * NH, T, T), device.quantized(B * NH, T, HD, true)];
  const dq = bench.zeros(B * T * 3 * C);
  const [ds, kt] = [device.quantized(B * NH, T, T), device.quantized(B * NH, HD, T)];
  return {
    record: (ops) => {
      ops.quantize({ src: part(0), dst: q, nb });
      ops.quantize({ src: part(1), dst: k, nb });
      ops.gemm({ a: q, b: k, dst: square, nb, causal });
      ops.quantize({ src: part(2), dst: v, nb });
      ops.quantize({ src: square, dst: p, nb, foldScale: v });
      ops.gemm({ a: p, b: v, dst: heads, nb });
      ops.quantize({ src: square, dst: ds, nb });
      ops.quantize({ src: transpose(part(1)), dst: kt, nb });
      ops.gemm({ a: ds, b: kt, dst: { ...part(1), tensor: dq }, nb });
    },
    out: [scores, out, dq],
  };
}

/** One and a few rows by narrow weights. */
function narrow(bench: Bench, [M, N, K]: readonly [number, number, number]): Plan {
  const [a, b, y] = [bench.values(M * K), bench.values(N * K), bench.zeros(M * N)];
  const qa = bench.device.quantized(1, M, K);
  const qb = bench.device.quantized(1, N, K, false, true);
  return {
    record: (ops) => {
      ops.quantize({ src: matrix(a, M, K), dst: qa, nb: 7 });
      ops.quantize({ src: matrix(b, N, K), dst: qb, nb: 7 });
      ops.gemm({ a: qa, b: qb, dst: matrix(y, M, N), nb: 7 });
    },
    out: [y],
  };
}

/** Part of both operands, part of the contraction, a diagonal further right: over rests of 8 and 4, and sums of several chunks. */
function prefix(
  bench: Bench,
  [M, N, K]: readonly [number, number, number],
  nb: Bits,
  transposed: boolean,
  offset: number,
): Plan {
  const batch = 2;
  const [rows, lines, along] = [M + 3, N + 5, K + 7];
  const batched = (height: number, width: number, low: number): View => ({
    ...matrix(bench.values(batch * height * width, low, 3), height, width),
    batch: [batch, height * width, 1, 0],
  });
  const [a, b] = [batched(rows, along, -5), transposed ? batched(along, lines, -5) : batched(lines, along, -5)];
  const [qa, qb] = [
    bench.device.quantized(batch, rows, along),
    bench.device.quantized(batch, b.rows, b.cols, transposed),
  ];
  const y = bench.zeros(batch * M * N);
  const dst: View = { ...matrix(y, M, N), batch: [batch, M * N, 1, 0] };
  return {
    record: (ops) => {
      ops.quantize({ src: b, dst: qb, nb });
      ops.quantize({ src: a, dst: qa, nb, ...(transposed ? { foldScale: qb } : {}) });
      ops.gemm({ a: qa, b: qb, dst, nb, length: K, ...(offset < 0 ? {} : { causal: { offset } }) });
    },
    out: [y],
  };
}

type Epilogue = 'bias' | Activation | `${Activation} gradient`;

/** The same product through an epilogue, over every layout of dst; `low` .. `high` are the sizes of its operands. */
function epilogue(
  bench: Bench,
  nb: Bits,
  kind: Epilogue,
  options: { biased: boolean; residual?: 'other' | 'in place'; flipped?: boolean; low?: number; high?: number },
): Plan {
  const [batch, M, N, K] = [2, 37, 141, 9];
  const { biased, residual, flipped, low = -4, high = 2 } = options;
  const size = batch * M * N;
  const view = (tensor: Tensor): View => {
    const rows = flipped ? transpose(matrix(tensor, N, M)) : matrix(tensor, M, N);
    return { ...rows, batch: [batch, M * N, 1, 0] };
  };
  const operand = (rows: number): View => ({
    ...matrix(bench.values(batch * rows * K, low, high), rows, K),
    batch: [batch, rows * K, 1, 0],
  });
  const [a, b] = [operand(M), operand(N)];
  const [qa, qb] = [bench.device.quantized(batch, M, K), bench.device.quantized(batch, N, K)];
  const y = residual === 'in place' ? bench.values(size, -3, 6) : bench.zeros(size);
  const other = residual === 'other' ? bench.values(size, -3, 6) : y;
  const [kept, x] = [bench.zeros(size), bench.values(size, low, high)];
  const bias = bench.values(N, -4, 2);
  const activation = kind === 'gelu' || kind === 'silu';
  const back = kind === 'gelu gradient' ? 'gelu' : 'silu';
  return {
    record: (ops) => {
      ops.quantize({ src: a, dst: qa, nb });
      ops.quantize({ src: b, dst: qb, nb });
      ops.gemm({
        a: qa,
        b: qb,
        dst: view(y),
        nb,
        ...(flipped ? { causal: { offset: 5 } } : {}),
        ...(biased ? { bias } : {}),
        ...(activation ? { activation: kind, preactivation: kept } : {}),
        ...(kind === 'bias' || activation ? {} : { activationGrad: { kind: back, x } }),
        ...(residual ? { residual: other } : {}),
      });
    },
    out: activation ? [y, kept] : [y],
  };
}

const narrowShapes = [
  [1, 1, 1],
  [1, 21, 9],
  [1, 128, 64],
  [1, 141, 1025],
  [1, 5, 3072],
  [2, 13, 67],
  [3, 7, 16],
  [5, 141, 2053],
  [67, 131, 33],
] as const;

/** What a product may do besides: parts of operands, and epilogues. */
function optionCases(nb: Bits): Case[] {
  const named = (name: string, build: (bench: Bench) => Plan, probe = false) =>
    opCase(`gemm/${nb}/${name}`, build, { probe });
  const lengths = [1, 3, 8, 16, 21, 64, 1021, 1024, 2053] as const;
  const kinds: readonly Epilogue[] = ['bias', 'gelu', 'silu', 'gelu gradient', 'silu gradient'];
  // Sums that one accumulator of f32, of i32, or of i32 over digits still holds, and that it does not; the longest of all at 15 bits.
  const bounds = [1040, 1041, 65_537, ...(nb === 15 ? [131_072, 132_109, 132_110] : [133_144, 133_145])];
  return [
    ...bounds.map((K) =>
      named(`extreme-${K}`, (bench) => {
        const [a, b] = [extreme(bench, 2, K, nb), extreme(bench, 3, K, nb)];
        return product(bench, a, b, [2, 3, K], nb);
      }),
    ),
    // A single row, as when one token follows another.
    ...([5, 13, 128, 141, 50_257] as const).map((N) =>
      named(`row-1x${N}`, (bench) =>
        product(bench, bench.values(37), bench.values(N * 37), [1, N, 37], nb),
      ),
    ),
    ...([1040, 2053, 133_145] as const)
      .filter((K) => nb < 15 || K < 132_110)
      .map((K) =>
        named(`row-extreme-${K}`, (bench) =>
          product(bench, extreme(bench, 1, K, nb), extreme(bench, 2, K, nb), [1, 2, K], nb),
        ),
      ),
    ...(nb === 7 ? narrowShapes : []).map((shape) =>
      named(`narrow-${shape.join('x')}`, (bench) => narrow(bench, shape), shape[0] === 5),
    ),
    ...lengths.flatMap((K) =>
      [false, true].map((transposed) =>
        named(
          `prefix-${K}${transposed ? '-transposed' : ''}`,
          (bench) => prefix(bench, [6, 11, K], nb, transposed, -1),
          K === 21,
        ),
      ),
    ),
    ...[0, 1, 7, 64, 200].map((offset) =>
      named(`offset-${offset}`, (bench) => prefix(bench, [70, 140, 10], nb, false, offset), offset === 7),
    ),
    ...kinds.flatMap((kind) => [
      named(`${kind}`, (bench) => epilogue(bench, nb, kind, { biased: kind === 'bias' })),
      named(
        `${kind}-bias-residual`,
        (bench) => epilogue(bench, nb, kind, { biased: true, residual: 'other' }),
        nb === 10,
      ),
      named(`${kind}-in-place-flipped`, (bench) =>
        epilogue(bench, nb, kind, { biased: true, residual: 'in place', flipped: true }),
      ),
      named(`${kind}-far`, (bench) => epilogue(bench, nb, kind, { biased: false, low: -60, high: 30 })),
    ]),
  ];
}

function casesOf(nb: Bits): Case[] {
  const named = (name: string, build: (bench: Bench) => Plan, probe = false) =>
    opCase(`gemm/${nb}/${name}`, build, { probe });
  const random = (
    shape: readonly [number, number, number],
    name: string,
    options: Options = {},
    probe = false,
  ) =>
    named(
      `${shape.join('x')}${name}`,
      (bench) =>
        product(
          bench,
          bench.values(shape[0] * shape[2]),
          bench.values(shape[1] * shape[2]),
          shape,
          nb,
          options,
        ),
      probe,
    );
  return [
    ...shapes.map((shape) => random(shape, '', {}, shape[0] === 9)),
    // Beyond what i32 holds, for each width.
    ...[2052, 2053, 65_536, ...(nb === 7 ? [140_000] : [])].map((K) =>
      named(
        `extreme-${K}`,
        (bench) => product(bench, extreme(bench, 3, K, nb), extreme(bench, 2, K, nb), [3, 2, K], nb),
        K === 2053,
      ),
    ),
    ...([1, 16, 100] as const).map((K) =>
      named(
        `ladder-${K}`,
        (bench) => product(bench, ladder(bench, 67, K), ladder(bench, 67, K), [67, 67, K], nb),
        K === 16,
      ),
    ),
    random([37, 37, 20], '-causal', { causal: true }),
    random([1, 1, 20], '-causal', { causal: true }),
    random([70, 70, 3], '-causal-residual', { causal: true, residual: 'in place' }),
    random([37, 41, 20], '-residual', { residual: 'other' }),
    random([37, 41, 20], '-accumulate', { residual: 'in place' }, true),
    named('attention', (bench) => attention(bench.device, bench, nb, false)),
    named('attention-causal', (bench) => attention(bench.device, bench, nb, true), true),
    ...optionCases(nb),
  ];
}

export const gemmCases: readonly Case[] = widths.flatMap(casesOf);

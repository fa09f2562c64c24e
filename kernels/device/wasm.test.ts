/** The WASM device against the reference, op by op, bit by bit, over odd shapes and every kind of value. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromBits, lowbias32, toBits } from '../ops/math/cpu.ts';
import type { Bits } from '../ops/quantize/spec.ts';
import { matrix, type Tensor, transpose, type View } from '../tensor/tensor.ts';
import conformance from '../vectors/conformance.json' with { type: 'json' };
import { runProgramVectors } from '../vectors/programs.ts';
import programs from '../vectors/programs.json' with { type: 'json' };
import { runConformance } from './conformance.ts';
import type { Device } from './device.ts';
import { probeDigest, runProbe } from './probe.ts';
import { anyBits, expectSame, kinds, values } from './testing/match.ts';
import { createWasmDevice } from './wasm.ts';

const precisions = [7, 10, 15] as const;
const f = Math.fround;
const scalars = Uint32Array.of(12345, 0x3a83126f, 0x41200000, 0x42c80000);

/** Heads inside [B, T, 3 C]: strided rows, two batch dimensions. */
function heads(tensor: Tensor, B: number, T: number, NH: number, HD: number): View {
  const rowStride = 3 * NH * HD;
  return {
    tensor,
    offset: NH * HD,
    batch: [B, T * rowStride, NH, HD],
    rows: T,
    rowStride,
    cols: HD,
    colStride: 1,
  };
}

describe.each([1, 3])('%i threads', (threads) => {
  let device: Device;
  beforeAll(async () => {
    device = await createWasmDevice({ threads });
  });
  afterAll(() => device.destroy());

  describe('quantize', () => {
    const shapes = [
      [1, 1],
      [1, 9],
      [9, 1],
      [3, 5],
      [4, 8],
      [7, 64],
      [65, 7],
      [67, 33],
      [130, 70],
    ] as const;
    const cases = shapes.flatMap(([rows, cols]) => precisions.map((nb) => [rows, cols, nb] as const));

    it.each(cases)('%i x %i to %i bits, every reading', async (rows, cols, nb) => {
      for (const [k, kind] of kinds.entries()) {
        const data = values(kind, rows * cols + 3, rows * 100 + cols + k);
        for (const site of [null, 5]) await sameReadings(data, rows, cols, nb, site);
      }
    });

    it.each(precisions)('takes any bits to %i bits', async (nb) => {
      for (let seed = 0; seed < 30; seed++) {
        // Rows around the smallest exponents, and over the whole range.
        const data = anyBits(8 * 61, seed, seed % 3 === 0 ? 40 : seed % 3 === 1 ? 60 : 253);
        for (const site of [null, seed]) await sameReadings(data, 8, 61, nb, site);
      }
    });

    async function sameReadings(
      data: Float32Array | Uint32Array,
      rows: number,
      cols: number,
      nb: Bits,
      site: number | null,
    ): Promise<void> {
      await expectSame(device, (b) => {
        const src = b.tensor(data);
        const random = site === null ? {} : { stochastic: { site, scalars: b.tensor(scalars) } };
        const view = matrix(src, rows, cols, data.length - rows * cols);
        // Every second row and column: neither direction is contiguous.
        const spaced = {
          ...view,
          rows: (rows + 1) >> 1,
          rowStride: cols * 2,
          cols: (cols + 1) >> 1,
          colStride: 2,
        };
        const fold = b.quantized(1, cols, 3, true);
        const foldSource = b.tensor(values('wide', cols * 3, 77));
        const targets: [string, View, boolean, boolean][] = [
          ['rows', view, false, false],
          ['columns', transpose(view), false, false],
          ['spaced', spaced, false, false],
          ['folded', view, false, true],
          ['transposed', view, true, false],
          ['transposed columns', transpose(view), true, false],
          ['transposed folded', view, true, true],
        ];
        b.record((ops) => {
          ops.quantize({ src: matrix(foldSource, cols, 3), dst: fold, nb });
          for (const [name, from, transposed, folded] of targets) {
            const dst = b.quantized(1, from.rows, from.cols, transposed);
            ops.quantize({ src: from, dst, nb, ...random, ...(folded ? { foldScale: fold } : {}) });
            b.compare(name, dst);
          }
        });
      });
    }
  });

  describe('gemm', () => {
    const shapes = [
      [1, 1, 1],
      [1, 7, 2],
      [5, 1, 15],
      [4, 8, 16],
      [9, 13, 17],
      [33, 65, 64],
      [70, 70, 33],
      [3, 5, 1023],
      [5, 9, 1024],
      [2, 3, 1025],
      [4, 12, 2052],
      [66, 9, 2053],
      [2, 5, 65_536],
      [3, 3, 66_000],
    ] as const;
    const cases = shapes.flatMap(([M, N, K]) => precisions.map((nb) => [M, N, K, nb] as const));

    it.each(cases)('%i x %i over %i at %i bits', async (M, N, K, nb) => {
      const few = M * N * K > 200_000;
      for (const kind of few ? (['normal', 'largest'] as const) : ([...kinds, 'largest'] as const)) {
        const fill = (size: number, seed: number) =>
          kind === 'largest' ? new Float32Array(size).fill(1.9999) : values(kind, size, seed);
        await expectSame(device, (b) => {
          const a = b.quantized(1, M, K);
          const w = b.quantized(1, N, K);
          const [ta, tw] = [b.tensor(fill(M * K, 1)), b.tensor(fill(N * K, 2))];
          const residual = b.tensor(values('wide', M * N, 3));
          const dst = Array.from({ length: 4 }, () => b.empty(M * N));
          const [plain, causal, added, flipped] = dst as [Tensor, Tensor, Tensor, Tensor];
          b.record((ops) => {
            ops.quantize({ src: matrix(ta, M, K), dst: a, nb });
            ops.quantize({ src: matrix(tw, N, K), dst: w, nb });
            ops.gemm({ a, b: w, dst: matrix(plain, M, N), nb });
            ops.gemm({ a, b: w, dst: matrix(causal, M, N), nb, causal: true });
            ops.gemm({ a, b: w, dst: matrix(added, M, N), nb, residual });
            ops.gemm({ a, b: w, dst: transpose(matrix(flipped, N, M)), nb, causal: true, residual });
          });
          dst.forEach((tensor, i) => b.compare(`dst${i}`, tensor));
        });
      }
    });

    it.each(precisions)('in batches, folded, into heads, at %i bits', async (nb) => {
      for (const [B, NH, T, HD] of [
        [1, 1, 1, 1],
        [2, 3, 9, 4],
        [2, 2, 70, 5],
        [1, 2, 64, 32],
      ] as const) {
        for (const kind of kinds) {
          await expectSame(device, (b) => {
            const batch = B * NH;
            const src = b.tensor(values(kind, B * T * 3 * NH * HD, 4));
            const p = b.tensor(values('normal', batch * T * T, 5));
            const scores: View = { ...matrix(p, T, T), batch: [batch, T * T, 1, 0] };
            const v = b.quantized(batch, T, HD, true);
            const qp = b.quantized(batch, T, T);
            const dst = b.empty(B * T * 3 * NH * HD);
            b.record((ops) => {
              ops.quantize({ src: heads(src, B, T, NH, HD), dst: v, nb });
              ops.quantize({ src: scores, dst: qp, nb, foldScale: v });
              ops.gemm({ a: qp, b: v, dst: heads(dst, B, T, NH, HD), nb });
            });
            b.compare('folded', qp);
            b.compare('dst', dst);
          });
        }
      }
    });

    it('rounds exponents at both ends of the range', async () => {
      for (const nb of precisions) {
        for (const [ea, eb] of [
          [1, 1],
          [27, 100],
          [60, 94],
          [27, 227],
          [147, 147],
          [167, 167],
          [250, 30],
          [250, 250],
        ] as const) {
          const word = (e: number, i: number) => ((e << 23) | ((i * 0x13579b) & 0x7fffff)) >>> 0;
          await expectSame(device, (b) => {
            const [a, w] = [b.quantized(1, 5, 7), b.quantized(1, 9, 7)];
            const ta = b.tensor(Uint32Array.from({ length: 35 }, (_, i) => word(ea, i)));
            const tw = b.tensor(Uint32Array.from({ length: 63 }, (_, i) => word(eb, i)));
            const dst = b.empty(45);
            b.record((ops) => {
              ops.quantize({ src: matrix(ta, 5, 7), dst: a, nb });
              ops.quantize({ src: matrix(tw, 9, 7), dst: w, nb });
              ops.gemm({ a, b: w, dst: matrix(dst, 5, 9), nb });
            });
            b.compare('dst', dst);
          });
        }
      }
    });
  });

  it.each(precisions)('gemm rounds a sum of 1 on both sides of 2^-100 at %i bits', async (nb) => {
    for (let exponent = -110; exponent <= -90; exponent++) {
      await expectSame(device, (b) => {
        // Each row's largest meets a 0; the smallest mantissas meet each other, so that S = 1 and its value is 2^exponent.
        const [ea, eb] = [exponent >> 1, exponent - (exponent >> 1)].map((e) => e + nb);
        const unit = (e: number | undefined) => 2 ** ((e as number) - nb);
        const ta = b.tensor(Float32Array.of(2 ** ((ea as number) - 1), 0, unit(ea)));
        const tb = b.tensor(
          Float32Array.from(
            { length: 15 },
            (_, i) => [0, 2 ** ((eb as number) - 1), unit(eb)][i % 3] as number,
          ),
        );
        const [qa, qb] = [b.quantized(1, 1, 3), b.quantized(1, 5, 3)];
        const dst = b.empty(5);
        b.record((ops) => {
          ops.quantize({ src: matrix(ta, 1, 3), dst: qa, nb });
          ops.quantize({ src: matrix(tb, 5, 3), dst: qb, nb });
          ops.gemm({ a: qa, b: qb, dst: matrix(dst, 1, 5), nb });
        });
        b.compare('dst', dst);
      });
    }
  });

  const sizes = [1, 3, 4, 5, 63, 64, 65, 130, 1000];

  describe('elementwise', () => {
    it.each(sizes)('of %i', async (size) => {
      for (const kind of kinds) {
        for (const other of kinds) {
          await expectSame(device, (b) => {
            const [x, y] = [b.tensor(values(kind, size, 1)), b.tensor(values(other, size, 2))];
            const positive = b.tensor(values(kind, size, 3).map(Math.abs));
            const [p, m] = [b.tensor(values(other, size, 4)), b.tensor(values(kind, size, 5))];
            const dst = Array.from({ length: 6 }, () => b.empty(size));
            const [sum, difference, scaled, root, act, grad] = dst as Tensor[];
            b.record((ops) => {
              ops.elementwise({ kind: 'add', a: x, b: y, dst: sum as Tensor, size });
              ops.elementwise({ kind: 'sub', a: x, b: y, dst: difference as Tensor, size });
              ops.elementwise({ kind: 'scale', a: x, factor: f(0.7), dst: scaled as Tensor, size });
              ops.elementwise({ kind: 'sqrt', a: positive, dst: root as Tensor, size });
              ops.nesterov({ p, momentum: m, delta: y, size, lr: f(0.7), mu: f(0.9) });
              ops.gelu({ x, y: act as Tensor, size });
              ops.geluGrad({ x, dy: y, dx: grad as Tensor, size });
            });
            [...dst, p, m].forEach((tensor, i) => b.compare(`tensor ${i}`, tensor));
          });
        }
      }
    });

    it('gelu over a million patterns', async ({ skip }) => {
      skip(threads > 1, 'its size is for one thread; the split over threads is tested above');
      const size = 1 << 20;
      for (const seed of [1, 2]) {
        await expectSame(device, (b) => {
          const [x, dy] = [b.tensor(values('patterns', size, seed)), b.tensor(values('normal', size, 3))];
          const near = b.tensor(values('normal', size, seed + 10).map((v) => v * 4));
          const [y, dx, z, dz] = [1, 2, 3, 4].map(() => b.empty(size)) as [Tensor, Tensor, Tensor, Tensor];
          b.record((ops) => {
            ops.gelu({ x, y, size });
            ops.geluGrad({ x, dy, dx, size });
            ops.gelu({ x: near, y: z, size });
            ops.geluGrad({ x: near, dy, dx: dz, size });
          });
          [y, dx, z, dz].forEach((tensor, i) => b.compare(`tensor ${i}`, tensor));
        });
      }
    });

    it('adamw on both sides of every threshold', async () => {
      const size = 1 << 15;
      for (let seed = 0; seed < 8; seed++) {
        await expectSame(device, (b) => {
          // A third of each tensor is 0; the rest lies from 2^low on, a different exponent every vector of four.
          const band = (low: number, count: number, i: number) =>
            values('normal', size, i).map((x, j) => {
              const u = lowbias32(j * 4 + i);
              const field = 127 + low + (lowbias32((j >> 2) * 8 + i) % count);
              return u % 3 === 0 ? 0 : fromBits((toBits(x) & 0x807fffff) + field * 2 ** 23);
            });
          const one = seed % 4;
          const wide = (usual: number, i: number) => (one === i ? band(-100, 110, i) : band(usual, 30, i));
          const [p, g, m] = [wide(-49, 0), wide(-39, 1), wide(-59, 2)].map((x) => b.tensor(x)) as Tensor[];
          const v = b.tensor(wide(-79, 3).map(Math.abs));
          const fixed = { beta1: f(0.9), beta2: f(0.99), eps: f(1e-8), weightDecay: f(0.1) };
          const scalars = b.tensor(Uint32Array.from([0, 1e-3, 10, 100], (x) => toBits(f(x))));
          const tensors = { p, g, m, v } as Record<'p' | 'g' | 'm' | 'v', Tensor>;
          b.record((ops) => ops.adamw({ ...tensors, scalars, size, ...fixed }));
          Object.entries(tensors).forEach(([name, tensor]) => b.compare(name, tensor));
        });
      }
    });

    it.each(sizes)('adamw of %i', async (size) => {
      for (const kind of kinds) {
        await expectSame(device, (b) => {
          const [p, g, m] = [1, 2, 3].map((seed) => b.tensor(values(kind, size, seed))) as [
            Tensor,
            Tensor,
            Tensor,
          ];
          const v = b.tensor(values(kind, size, 4).map(Math.abs));
          const fixed = { beta1: f(0.9), beta2: f(0.99), eps: f(1e-8), weightDecay: f(0.1) };
          b.record((ops) => ops.adamw({ p, g, m, v, scalars: b.tensor(scalars), size, ...fixed }));
          [p, m, v].forEach((tensor, i) => b.compare(`tensor ${i}`, tensor));
        });
      }
    });
  });

  describe('reductions', () => {
    it.each([1, 2, 63, 64, 65, 4095, 4096, 4097, 8192, 9000])('sum of %i', async (count) => {
      for (const kind of kinds) {
        await expectSame(device, (b) => {
          const src = b.tensor(values(kind, count, 1));
          const dst = b.empty(3);
          b.record((ops) => ops.sum({ src, count, factor: Math.fround(1 / count), dst, at: 1 }));
          b.compare('sum', dst);
        });
      }
    });

    it('sums beyond two levels of blocks', async ({ skip }) => {
      skip(threads > 1, 'its size is for one thread; the split over threads is tested above');
      const count = 4096 * 4096 + 4099;
      await expectSame(device, (b) => {
        const src = b.tensor(values('normal', count, 1));
        const dst = b.empty(1);
        b.record((ops) => ops.sum({ src, count, factor: 1, dst, at: 0 }));
        b.compare('sum', dst);
      });
    });

    it.each([
      [1, 1],
      [3, 5],
      [65, 12],
      [70, 64],
      [130, 67],
      [9000, 18],
      [3, 5000],
    ])('layer norm of %i x %i', async (rows, cols) => {
      for (const kind of kinds) {
        if (rows * cols > 100_000 && kind !== 'normal') continue;
        await expectSame(device, (b) => {
          const x = b.tensor(values(kind, rows * cols, 1));
          const dy = b.tensor(values('normal', rows * cols, 2));
          const residual = b.tensor(values('wide', rows * cols, 3));
          const [gain, bias] = [b.tensor(values('normal', cols, 4)), b.tensor(values('wide', cols, 5))];
          const [y, dx, dxSum] = [b.empty(rows * cols), b.empty(rows * cols), b.empty(rows * cols)];
          const [mean, rstd, dgain, dbias] = [b.empty(rows), b.empty(rows), b.empty(cols), b.empty(cols)];
          b.record((ops) => {
            ops.layerNorm({ x, gain, bias, y, mean, rstd, rows, cols });
            ops.layerNormGrad({ dy, x, gain, mean, rstd, dx, rows, cols });
            ops.layerNormGrad({ dy, x, gain, mean, rstd, dx: dxSum, residual, rows, cols });
            ops.layerNormParamGrad({ dy, x, mean, rstd, dgain, dbias, rows, cols });
          });
          Object.entries({ y, mean, rstd, dx, dxSum, dgain, dbias }).forEach(([n, t]) => b.compare(n, t));
        });
      }
    });

    it.each([1, 2, 5, 9, 64, 70, 130])('causal softmax of T = %i', async (T) => {
      const shape = { batch: 3, rows: T, cols: T, offset: 0, scale: 0.25 };
      for (const kind of kinds) {
        await expectSame(device, (b) => {
          const scores = b.tensor(values(kind, 3 * T * T, 1));
          const gradient = b.tensor(values('normal', 3 * T * T, 2));
          b.record((ops) => {
            ops.softmax({ scores, ...shape });
            ops.softmaxGrad({ probabilities: scores, gradient, ...shape });
          });
          b.compare('probabilities', scores);
          b.compare('gradient', gradient);
        });
      }
    });

    it.each([1, 2, 37, 64, 256, 5001])('cross-entropy over V = %i', async (V) => {
      const rows = 5;
      for (const kind of kinds) {
        await expectSame(device, (b) => {
          const logits = [1, 2].map((seed) => b.tensor(values(kind, rows * V, seed)));
          const targets = b.tensor(Uint32Array.from({ length: rows }, (_, i) => (i * 31) % V));
          const losses = [b.empty(rows), b.empty(rows)] as const;
          const [train, evaluate] = logits as [Tensor, Tensor];
          b.record((ops) => {
            ops.crossEntropy({ logits: train, targets, losses: losses[0], rows, V, gradientScale: f(0.2) });
            ops.crossEntropy({ logits: evaluate, targets, losses: losses[1], rows, V });
          });
          [train, evaluate, ...losses].forEach((tensor, i) => b.compare(`tensor ${i}`, tensor));
        });
      }
    });
  });

  describe('embedding', () => {
    it.each([
      [1, 1, 1],
      [9, 7, 5],
      [64, 12, 37],
      [33, 66, 3],
    ])('of %i tokens, C = %i, V = %i', async (M, C, V) => {
      for (const kind of kinds) {
        for (const nb of precisions) {
          await expectSame(device, (b) => {
            const tokens = b.tensor(Uint32Array.from({ length: M }, (_, i) => (i * i * 7) % V));
            const [wte, wpe] = [b.tensor(values(kind, V * C, 1)), b.tensor(values('normal', M * C, 2))];
            const x = b.empty(M * C);
            const q = b.quantized(1, C, M);
            const grads = b.tensor(values('wide', V * C, 3));
            const fresh = b.tensor(values('wide', V * C, 4));
            b.record((ops) => {
              ops.embed({ tokens, wte, wpe, x, rows: M, cols: C, T: Math.max(1, M >> 1) });
              ops.quantize({ src: transpose(matrix(x, M, C)), dst: q, nb });
              ops.scatterAdd({ q, indices: tokens, dst: grads, nb, accumulate: true });
              ops.scatterAdd({ q, indices: tokens, dst: fresh, nb, accumulate: false });
            });
            [x, grads, fresh].forEach((tensor, i) => b.compare(`tensor ${i}`, tensor));
          });
        }
      }
    });
  });

  describe('vectors', () => {
    it('conformance', async () => {
      const expected = Object.entries(conformance).map(([id, { outputs }]) => [id, outputs]);
      expect(await runConformance(device)).toEqual(Object.fromEntries(expected));
      expect(await runProbe(device)).toBe(probeDigest);
    });

    it('programs', async () => {
      expect(await runProgramVectors(device)).toEqual(programs);
    });
  });
});

describe('memory', () => {
  it('refuses what does not fit before allocating, and gives back what a scope held', async () => {
    const small = await createWasmDevice({ bytesMax: 2 ** 22 });
    for (let round = 0; round < 5; round++) {
      const scope = small.scope();
      const kept = scope.tensor(300_000);
      scope.write(kept, new Float32Array(300_000).fill(1));
      expect(() => scope.tensor(2 ** 20)).toThrow(/do not fit/);
      const next = scope.tensor(200_000);
      expect((await scope.read(next)).every((x) => x === 0)).toBe(true);
      expect((await scope.read(kept))[299_999]).toBe(1);
      scope.destroy();
    }
    expect(() => small.tensor(0)).toThrow();
    expect(() => small.write(small.tensor(4), new Float32Array(5))).toThrow(/do not fit/);
  });
});

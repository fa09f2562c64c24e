/**
 * A mixture of experts is what it says: experts' products are those of `gemm` on their rows, gathering and combining are each other's gradients, and the
 * gates' gradient is that of a softmax, by finite differences.
 */
import { describe, expect, it } from 'vitest';
import { createCpuDevice } from '../../device/cpu.ts';
import type { Device } from '../../device/device.ts';
import { values } from '../../device/testing/match.ts';
import { matrix, type Tensor } from '../../tensor/tensor.ts';

type Words = Float32Array | Uint32Array;

function place(device: Device, words: Words): Tensor {
  const tensor = device.tensor(words.length);
  device.write(tensor, words);
  return tensor;
}

const words = async (device: Device, tensor: Tensor) => new Uint32Array((await device.read(tensor)).buffer);

/** Routes random logits; returns what `route` wrote. */
async function routed(M: number, E: number, k: number, logits = values('normal', M * E, 7)) {
  const device = createCpuDevice();
  const slots = M * k;
  const [ids, gates] = [device.tensor(slots), device.tensor(slots)];
  const [order, places, offsets] = [device.tensor(slots), device.tensor(slots), device.tensor(E + 1)];
  const out = { ids, gates, order, places, offsets };
  const given = place(device, logits);
  await device.run(device.record((ops) => ops.route({ logits: given, M, E, k, ...out })));
  return { device, ...out, logits };
}

const sum = (a: Float32Array, b: Float32Array) => a.reduce((total, x, i) => total + x * (b[i] as number), 0);

describe('route', () => {
  it.each([
    [1, 1, 1],
    [9, 4, 4],
    [67, 8, 2],
    [130, 5, 3],
  ])('%i tokens to %3$i of %2$i: sorted, stable, gates that sum to one', async (M, E, k) => {
    const { device, ids, gates, order, places, offsets } = await routed(M, E, k);
    const [id, slot, at, starts] = await Promise.all(
      [ids, order, places, offsets].map((t) => words(device, t)),
    );
    expect(starts?.[E]).toBe(M * k);
    const sorted = Array.from(slot ?? [], (s, r) => ({ s, r, e: id?.[s] as number }));
    for (const { s, r, e } of sorted) {
      expect(at?.[s]).toBe(r);
      expect([e, (starts?.[e] as number) <= r, r < (starts?.[e + 1] as number)]).toEqual([e, true, true]);
      const next = sorted[r + 1];
      if (next && next.e === e) expect(next.s).toBeGreaterThan(s);
    }
    const gate = await device.read(gates);
    for (let t = 0; t < M; t++) {
      const own = gate.subarray(t * k, (t + 1) * k);
      expect(Math.abs(own.reduce((a, b) => a + b) - 1)).toBeLessThan(1e-6);
      expect(new Set(id?.subarray(t * k, (t + 1) * k)).size).toBe(k);
      expect(Array.from(own)).toEqual(Array.from(own).sort((a, b) => b - a));
    }
  });

  it('has the gradient of its gates', async () => {
    const [M, E, k] = [5, 6, 3];
    const { device, ids, gates, logits } = await routed(M, E, k);
    const weights = values('normal', M * k, 3);
    const [dgates, dlogits] = [place(device, weights), device.tensor(M * E)];
    await device.run(device.record((ops) => ops.routeGrad({ ids, gates, dgates, dlogits, M, E, k })));
    const [gradient, id] = [await device.read(dlogits), await words(device, ids)];
    /** Sum of gate times weight of token t in doubles, its choice being fixed. */
    const value = (t: number, l: (e: number) => number) => {
      const own = Array.from(id.subarray(t * k, (t + 1) * k), l).map(Math.exp);
      const total = own.reduce((a, b) => a + b);
      return own.reduce((s, e, j) => s + (e / total) * (weights[t * k + j] as number), 0);
    };
    for (let i = 0; i < M * E; i++) {
      const t = Math.floor(i / E);
      const near = (d: number) => value(t, (e) => (logits[t * E + e] as number) + (t * E + e === i ? d : 0));
      expect(Math.abs((near(1e-4) - near(-1e-4)) / 2e-4 - (gradient[i] as number))).toBeLessThan(1e-5);
    }
  });
});

describe('rows there and back', () => {
  const [M, E, k, cols] = [11, 4, 2, 9] as const;

  it('are each other’s gradients', async () => {
    const { device, order, places, gates } = await routed(M, E, k);
    const [x, r] = [values('normal', M * cols, 1), values('normal', M * k * cols, 2)];
    const [src, rows, dy] = [place(device, x), place(device, r), place(device, x)];
    const [gathered, back, y] = [device.tensor(r.length), device.tensor(x.length), device.tensor(x.length)];
    const [drows, dgates] = [device.tensor(r.length), device.tensor(M * k)];
    const shape = { M, k, cols };
    const recording = device.record((ops) => {
      ops.gatherRows({ src, order, dst: gathered, ...shape });
      ops.combine({ rows, places, y: back, ...shape });
      ops.combine({ rows, places, gates, y, ...shape });
      ops.combineGrad({ dy, rows, places, gates, drows, dgates, ...shape });
    });
    await device.run(recording);
    const read = (tensor: Tensor) => device.read(tensor);
    const near = (a: number, b: number) => expect(Math.abs(a - b)).toBeLessThan(1e-4);
    // <gather x, r> = <x, combine r>; <combine(g, r), x> is linear in r and in g, so it is <r, drows> and <g, dgates>.
    near(sum(await read(gathered), r), sum(x, await read(back)));
    near(sum(await read(y), x), sum(r, await read(drows)));
    near(sum(await read(y), x), sum(await read(gates), await read(dgates)));
  });
});

describe('groupedGemm', () => {
  it('gives the bits of a product an expert', async () => {
    const device = createCpuDevice();
    const [N, K, nb] = [5, 19, 10] as const;
    const sizes = [3, 0, 6, 1];
    const starts = sizes.map((_, e) => sizes.slice(0, e).reduce((a, b) => a + b, 0));
    const R = 10;
    const [x, w] = [place(device, values('wide', R * K, 1)), place(device, values('normal', 4 * N * K, 2))];
    const [a, b] = [device.quantized(1, R, K), device.quantized(4, N, K)];
    const offsets = place(device, Uint32Array.from([...starts, R]));
    const [all, apart] = [device.tensor(R * N), device.tensor(R * N)];
    const recording = device.record((ops) => {
      ops.quantize({ src: matrix(x, R, K), dst: a, nb });
      ops.quantize({ src: { ...matrix(w, N, K), batch: [4, N * K, 1, 0] }, dst: b, nb });
      ops.groupedGemm({ kind: 'rows', a, b, offsets, dst: all, nb });
      sizes.forEach((size, e) => {
        if (size === 0) return;
        const [start, own, expert] = [
          starts[e] as number,
          device.quantized(1, size, K),
          device.quantized(1, N, K),
        ];
        ops.quantize({ src: matrix(x, size, K, start * K), dst: own, nb });
        ops.quantize({ src: matrix(w, N, K, e * N * K), dst: expert, nb });
        ops.gemm({ a: own, b: expert, dst: matrix(apart, size, N, start * N), nb });
      });
    });
    await device.run(recording);
    expect(await words(device, all)).toEqual(await words(device, apart));
  });

  it('sums each expert’s positions, all of which make up one product', async () => {
    const device = createCpuDevice();
    const [M, N, R, nb] = [3, 4, 21, 7] as const;
    const offsets = place(device, Uint32Array.of(0, 5, 5, R));
    const [a, b] = [device.quantized(1, M, R), device.quantized(1, N, R)];
    const [x, y] = [place(device, values('normal', M * R, 1)), place(device, values('normal', N * R, 2))];
    const [parts, whole] = [device.tensor(3 * M * N), device.tensor(M * N)];
    const recording = device.record((ops) => {
      ops.quantize({ src: matrix(x, M, R), dst: a, nb });
      ops.quantize({ src: matrix(y, N, R), dst: b, nb });
      ops.groupedGemm({ kind: 'contraction', a, b, offsets, dst: parts, nb });
      ops.gemm({ a, b, dst: matrix(whole, M, N), nb });
    });
    await device.run(recording);
    const [part, all] = [await device.read(parts), await device.read(whole)];
    for (let i = 0; i < M * N; i++) {
      const total = [0, 1, 2].reduce((s, e) => s + (part[e * M * N + i] as number), 0);
      // Sums of 7-bit products over so few positions are exact in f32.
      expect(total).toBe(all[i]);
      expect(part[M * N + i]).toBe(0);
    }
  });
});

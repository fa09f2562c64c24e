/** For tests that hold a device to the reference: reproducible PF32 values of every kind, and one comparison of bits. */
import { expect } from 'vitest';
import { fl, fromBits, lowbias32 } from '../../ops/math/cpu.ts';
import type { Quantized, Tensor } from '../../tensor/tensor.ts';
import { createCpuDevice } from '../cpu.ts';
import type { Device, Ops } from '../device.ts';

/** Kinds of values: each stresses another part of the arithmetic. */
export const kinds = ['normal', 'wide', 'ties', 'edges', 'sparse', 'patterns', 'zero'] as const;
export type Kind = (typeof kinds)[number];

/** `size` PF32 values, the same for the same seed. */
export function values(kind: Kind, size: number, seed: number): Float32Array {
  const make = makers[kind];
  return Float32Array.from({ length: size }, (_, i) => {
    const u = lowbias32((seed + Math.imul(i, 0x9e3779b9)) | 0);
    return fl(make(u, lowbias32(u ^ 0x5bd1e995)));
  });
}

const signed = (u: number) => ((u >>> 8) - 2 ** 23) / 2 ** 23;

const makers: Record<Kind, (u: number, w: number) => number> = {
  normal: (u, w) => Math.fround(signed(u) + signed(w)),
  // Exponents over 48 binades: most elements of a row vanish beside its largest.
  wide: (u, w) => Math.fround(signed(u) * 2 ** ((w % 48) - 40)),
  // Few bits, so that sums and quantised values tie.
  ties: (u, w) => (((u % 65) - 32) / 64) * 2 ** -(w % 12),
  // Around 2^-100, 2^40 and 1.
  edges: (u, w) => Math.fround(signed(u) * 2 ** ([-99, -98, -60, -50, 0, 1, 20, 38, 40][w % 9] as number)),
  sparse: (u, w) => (w % 7 === 0 ? Math.fround(signed(u)) : 0),
  // Every exponent from 2^-100 to 2^39 alike.
  patterns: (u, w) => fromBits(((u & 0x807fffff) | ((27 + (w % 140)) << 23)) >>> 0),
  zero: () => 0,
};

/** Any f32 bits that are no NaN or infinity: what QUANT must survive. */
export function anyBits(size: number, seed: number, exponentMax = 253): Uint32Array {
  return Uint32Array.from({ length: size }, (_, i) => {
    const u = lowbias32((seed + Math.imul(i, 0x9e3779b9)) | 0);
    const exponent = lowbias32(u) % (exponentMax + 1);
    return ((u & 0x807fffff) | (exponent << 23)) >>> 0;
  });
}

/** What a test builds on a device: tensors that it fills, ops, and what to compare. */
export interface Build {
  tensor(words: Float32Array | Uint32Array): Tensor;
  empty(size: number): Tensor;
  quantized: Device['quantized'];
  record(build: (ops: Ops) => void): void;
  compare(name: string, what: Tensor | Quantized): void;
}

/** Builds and runs the same on both devices and expects the same bits. */
export async function expectSame(device: Device, build: (b: Build) => void): Promise<void> {
  const [want, got] = [await outcome(createCpuDevice(), build), await outcome(device.scope(), build)];
  for (const [name, words] of want) {
    const other = got.get(name) as ArrayLike<number>;
    const at = firstDifference(words, other);
    expect(at < 0 ? 'equal' : `${name}[${at}] is ${hex(other[at])}, not ${hex(words[at])}`).toBe('equal');
  }
}

const hex = (word: number | undefined) => `0x${((word ?? 0) >>> 0).toString(16)}`;

function firstDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Math.min(a.length, b.length);
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return i;
  return -1;
}

async function outcome(device: Device, build: (b: Build) => void): Promise<Map<string, ArrayLike<number>>> {
  const compared: [string, Tensor | Quantized][] = [];
  const runs: Promise<void>[] = [];
  const empty = (size: number) => device.tensor(size);
  build({
    empty,
    tensor(words) {
      const tensor = empty(words.length);
      device.write(tensor, words);
      return tensor;
    },
    quantized: (batch, rows, cols, transposed) => device.quantized(batch, rows, cols, transposed),
    record(ops) {
      runs.push(device.run(device.record(ops)));
    },
    compare: (name, what) => compared.push([name, what]),
  });
  // Some devices compile before a first run.
  await Promise.all(runs);
  const out = new Map<string, ArrayLike<number>>();
  for (const [name, what] of compared) {
    if ('mantissas' in what) {
      const { mantissas, exponents } = await device.readQuantized(what);
      // The reference holds -0 among its doubles.
      out.set(`${name}.mantissas`, mantissas);
      out.set(`${name}.exponents`, exponents);
    } else out.set(name, new Uint32Array((await device.read(what)).buffer));
  }
  device.destroy();
  return out;
}

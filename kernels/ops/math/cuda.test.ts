/**
 * Every function of pf32.cuh against the reference, bit for bit, over the dense grids of the conformance suite and more of the same: compiled for the
 * processor, whose single operations round as CUDA's do. Skipped where there is no g++.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compiler } from '../../device/cuda/testing/emulated-compiler.ts';
import { inputsOf, references } from '../../vectors/function-cases.ts';
import { Random } from '../../vectors/inputs.ts';
import { round } from '../gemm/cpu.ts';
import * as math from './cpu.ts';
import { functionNames } from './names.ts';
import harness from './pf32-functions.cpp?raw';
import pf32 from './pf32.cuh?raw';

/** The few CUDA words that pf32.cuh uses. */
const shim = `
#include <cmath>
#include <cstring>
#define __device__
#define __forceinline__ inline
static inline float __uint_as_float(unsigned u) { float f; std::memcpy(&f, &u, 4); return f; }
static inline unsigned __float_as_uint(float f) { unsigned u; std::memcpy(&u, &f, 4); return u; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz((unsigned)x); }
static inline int max(int a, int b) { return a > b ? a : b; }
`;

type Reference = (a: number, b: number, c: number) => number;
interface Words {
  a: Uint32Array;
  b: Uint32Array;
  c: Uint32Array;
}

const float = (f: (x: number, y: number) => number): Reference => {
  return (a, b) => math.toBits(f(math.fromBits(a), math.fromBits(b)));
};

/** What CUDA's header has beside the functions of NUMERICS.md. */
const others: readonly [name: string, reference: Reference][] = [
  ['round of 32 bits', (a, _, c) => math.toBits(round(a | 0, c | 0))],
  ['limit', float((x) => math.clamp(x))],
  ['the larger by order', float(Math.max)],
  ['recip_positive of exp', float((x) => math.recip(math.exp(x)))],
  ['neg', float((x) => math.fl(-x))],
];

const hasCompiler = spawnSync(compiler, ['--version']).status === 0;
if (!hasCompiler) console.log('skipped: PF32 for CUDA on the processor, as there is no g++');
const folder = hasCompiler ? mkdtempSync(path.join(tmpdir(), 'atoll-pf32-')) : '';

beforeAll(() => {
  if (!hasCompiler) return;
  const source = path.join(folder, 'functions.cpp');
  writeFileSync(source, `${shim}\n${pf32}\n${harness}`);
  const flags = ['-O2', '-ffp-contract=off', '-std=c++17', '-o', path.join(folder, 'functions'), source];
  execFileSync(compiler, flags, { timeout: 120_000 });
});
afterAll(() => {
  if (folder) rmSync(folder, { recursive: true, force: true });
});

function evaluate(kind: number, { a, b, c }: Words): Uint32Array {
  const input = Buffer.concat([Uint32Array.of(a.length), a, b, c].map((words) => Buffer.from(words.buffer)));
  const options = { input, maxBuffer: 4 * a.length + 1024, timeout: 60_000 };
  const output = execFileSync(path.join(folder, 'functions'), [String(kind)], options);
  return new Uint32Array(Uint8Array.from(output).buffer);
}

/** The first words for which the two differ. */
function firstDifference(kind: number, reference: Reference, words: Words): string | null {
  const got = evaluate(kind, words);
  for (const [i, a] of words.a.entries()) {
    const [b, c] = [words.b[i] as number, words.c[i] as number];
    const want = reference(a, b, c) >>> 0;
    if (got[i] !== want) return `${[a, b, c, got[i] as number, want].map((u) => u.toString(16)).join(' ')}`;
  }
  return null;
}

/** Many more values a function, over the exponents for which it is asked. */
function more(name: string): Words {
  const random = Random.of(`cuda/${name}`);
  const positive = ['recip', 'rsqrt', 'sqrt', 'ln'].includes(name);
  const count = 80_000;
  const draw = (low: number, high: number) => new Uint32Array(random.values(count, low, high).buffer);
  const a = new Uint32Array(2 * count);
  const b = new Uint32Array(2 * count);
  a.set(draw(-100, positive ? 98 : 60));
  a.set(draw(-4, 5), count);
  b.set(draw(-100, 60));
  b.set(draw(-4, 5), count);
  if (positive) for (const i of a.keys()) a[i] = (a[i] as number) & 0x7fffffff;
  return { a, b, c: new Uint32Array(a.length) };
}

describe.skipIf(!hasCompiler)('PF32 for CUDA', () => {
  it.each(functionNames.map((name, kind) => [name, kind] as const))('%s', (name, kind) => {
    expect(firstDifference(kind, references[name], inputsOf(name))).toBe(null);
    if (name !== 'round') expect(firstDifference(kind, references[name], more(name))).toBe(null);
  });

  it.each(others.map(([name, reference], i) => [name, reference, i] as const))('%s', (name, reference, i) => {
    const words = name === 'round of 32 bits' ? inputsOf('round') : inputsOf('mul');
    expect(firstDifference(functionNames.length + i, reference, words)).toBe(null);
  });
});

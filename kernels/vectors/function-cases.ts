/**
 * Conformance of the functions of one number, densely over their whole domain. Ops reach only some of them, and only at some values; a backend that
 * can call them by themselves does so here, the reference stands for any other.
 */
import type { Device } from '../device/device.ts';
import type { CudaDevice } from '../device/cuda/device.ts';
import type { WebGpuDevice } from '../device/webgpu.ts';
import { round } from '../ops/gemm/cpu.ts';
import * as math from '../ops/math/cpu.ts';
import { functionPass } from '../ops/math/gpu.ts';
import { type FunctionName, functionNames } from '../ops/math/names.ts';
import { type Case, concat } from './case.ts';
import { edgePairs, Random } from './inputs.ts';

interface Inputs {
  a: Uint32Array;
  b: Uint32Array;
  c: Uint32Array;
}

type Reference = (a: number, b: number, c: number) => number;

const unary =
  (f: (x: number) => number): Reference =>
  (a) =>
    math.toBits(f(math.fromBits(a)));
const binary =
  (f: (x: number, y: number) => number): Reference =>
  (a, b) =>
    math.toBits(f(math.fromBits(a), math.fromBits(b)));

export const references: Record<FunctionName, Reference> = {
  add: binary(math.add),
  sub: binary(math.sub),
  mul: binary(math.mul),
  exp: unary(math.exp),
  exp2: unary(math.exp2),
  recip: unary(math.recip),
  rsqrt: unary(math.rsqrt),
  sqrt: unary(math.sqrt),
  ln: unary(math.ln),
  sigmoid: unary(math.sigmoid),
  silu: unary(math.silu),
  tanh: unary(math.tanh),
  erf: unary(math.erf),
  lowbias32: (a) => math.lowbias32(a),
  round: (hi, lo, e) => math.toBits(round((hi | 0) * 65_536 + (lo & 0xffff), e | 0)),
};

const positive: readonly FunctionName[] = ['rsqrt', 'sqrt', 'ln'];

/** The whole range once, then three dense stretches where functions change their recipe. */
export function inputsOf(name: FunctionName): Inputs {
  const random = Random.of(`function/${name}`);
  if (name === 'round') return roundInputs(random);
  const high = name === 'recip' || positive.includes(name) ? 100 : 60;
  const stretches = [
    [30_000, -100, high],
    [30_000, -8, 8],
    [10_000, -1, 1],
    [10_000, -100, -70],
  ] as const;
  const draw = () => stretches.flatMap(([count, low, up]) => [...random.values(count, low, up)]);
  const sign = positive.includes(name) ? Math.abs : (x: number) => x;
  const [a, b] = [draw().map(sign), draw()];
  const edges = edgePairs();
  // Nothing is asked of the reciprocal, root or logarithm of zero, nor of those of negative numbers.
  const allowed = (bits: number) =>
    positive.includes(name) || name === 'recip'
      ? bits !== 0 && (name === 'recip' || bits < 0x80000000)
      : true;
  const pairs = [...edges.a]
    .map((bits, i) => [bits, edges.b[i] as number] as const)
    .filter(([bits]) => allowed(bits));
  const words = (values: number[], side: 0 | 1) =>
    Uint32Array.from([
      ...new Uint32Array(Float32Array.from(values).buffer),
      ...pairs.map((pair) => pair[side]),
    ]);
  const [wordsA, wordsB] = [words(a, 0), words(b, 1)];
  return { a: wordsA, b: wordsB, c: new Uint32Array(wordsA.length) };
}

/** Sums of every size, ties among them, with exponents on both sides of both ends of the range. */
function roundInputs(random: Random): Inputs {
  const count = 60_000;
  const [a, b, c] = [new Uint32Array(count), new Uint32Array(count), new Uint32Array(count)];
  for (let i = 0; i < count; i++) {
    const hi = (random.word() | 0) >> random.below(32);
    const lo = random.word() >>> 16;
    a[i] = hi;
    b[i] = i % 3 === 0 ? lo & (0xffff << random.below(17)) : lo;
    c[i] = i % 2 === 0 ? random.below(150) - 145 : random.below(40) - 20;
  }
  return { a, b, c };
}

/** A device that can call functions by themselves. */
type Caller = CudaDevice | WebGpuDevice;

async function evaluate(device: Caller, name: FunctionName, inputs: Inputs): Promise<Uint32Array> {
  const [a, b, c] = [inputs.a, inputs.b, inputs.c].map((words) => {
    const tensor = device.tensor(words.length);
    device.write(tensor, words);
    return tensor;
  }) as [ReturnType<Device['tensor']>, ReturnType<Device['tensor']>, ReturnType<Device['tensor']>];
  const y = device.tensor(inputs.a.length);
  const recording =
    'recordPasses' in device
      ? device.recordPasses([functionPass(name, a, b, c, y)])
      : device.recordLaunches([await cudaLaunch(name, a, b, c, y)]);
  await device.run(recording);
  return new Uint32Array((await device.read(y)).buffer);
}

/** Loaded where there is such a device: a page never needs CUDA's sources. */
async function cudaLaunch(...args: Parameters<typeof functionPass>) {
  const { functionLaunch } = await import('../ops/math/cuda.ts');
  return functionLaunch(...args);
}

export const functionCases: readonly Case[] = functionNames.map((name) => ({
  id: `function/${name}`,
  probe: false,
  inputs() {
    const { a, b, c } = inputsOf(name);
    return concat([a, b, c]);
  },
  async run(device) {
    const inputs = inputsOf(name);
    if (!('recordPasses' in device || 'recordLaunches' in device)) {
      const f = references[name];
      return inputs.a.map((a, i) => f(a, inputs.b[i] as number, inputs.c[i] as number));
    }
    const scope = device.scope() as Caller;
    try {
      return await evaluate(scope, name, inputs);
    } finally {
      scope.destroy();
    }
  },
}));

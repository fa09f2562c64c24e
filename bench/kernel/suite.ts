/**
 * `npm run bench -- kernel`: exact GEMM end to end (f32 bits in, both operands quantised, multiplied, rounded, f32 bits out) against the f32 products of
 * jax-js, onnxruntime-web and tfjs, per CPU-second of all of Chromium's processes.
 *
 * WebGPU runs on SwiftShader; WASM has one thread. Everybody's operands lie on the device in the layout that suits them, everybody's result is read
 * back each time. Ours must have the reference's digest, peers must be within f32 tolerance of an f64 product. Bounds are for `i10sr`, the default policy.
 */
import { createCpuDevice } from '#kernels/device/cpu.ts';
import { type Policy, policySchema } from '#protocol/messages/model.ts';
import type { BenchOutcome, BenchRow, SuiteOptions } from '#scripts/bench.ts';
import { ensurePeers } from '../peers/install.ts';
import { Rig } from '../rig/browser.ts';
import type { GemmTask, Prepared } from '../rig/contest.ts';
import { bounded, information, median, ratio } from '../rig/duel.ts';
import { type Entrant, failureRows, type MatchResult, playMatch } from '../rig/match.ts';
import { digestOf, type Shape } from './inputs.ts';
import { nativeOutcome } from './native.ts';
import { multiplierOn } from './ours.ts';

const shapes: readonly Shape[] = [
  { M: 512, N: 512, K: 512 },
  { M: 64, N: 1024, K: 1024 },
];
const policies: readonly Policy[] = policySchema.options;
export const defaultPolicy: Policy = 'i10sr';
const libraries = ['jax', 'ort', 'tfjs'] as const;
type Backend = 'webgpu' | 'wasm';

/** f32 sums of K terms in any order are this close, relative to the result's root mean square. */
const f32Tolerance = 1e-4;

const nameOf = ({ M, N, K }: Shape) => (M === N && N === K ? `${M}^3` : `${M}x${N}x${K}`);

interface Match extends MatchResult {
  shape: Shape;
  backend: Backend;
}

export async function run(say: (line: string) => void, options: SuiteOptions): Promise<BenchOutcome> {
  if (options.native) return nativeOutcome(say);
  const versions = ensurePeers(say);
  const rig = await Rig.open();
  try {
    const matches: Match[] = [];
    for (const shape of shapes) {
      const digests = await referenceDigests(shape);
      for (const backend of ['webgpu', 'wasm'] as const) {
        say(`${nameOf(shape)}, ${backend}`);
        const entrants = entrantsOf(shape, backend, digests);
        const effort = options.quick
          ? { rounds: 3, seconds: 0.5 }
          : { rounds: 7, seconds: 1, clockSecondsMax: 90 };
        const result = await playMatch(rig, entrants, effort, say);
        for (const [name, seconds] of result.times) {
          say(`  ${name.padEnd(6)} ${speed(shape, seconds).toFixed(2)} GOP/CPU-s`);
        }
        matches.push({ ...result, shape, backend });
      }
    }
    const rows = [...reachRows(matches), ...matches.flatMap(detailRows)];
    const labels = new Set(matches.map((match) => match.labels.get(defaultPolicy) ?? 'nothing'));
    const device = `${[...labels].join(' and ')} in headless Chromium`;
    return { device, versions: { chromium: rig.version, ...versions }, rows };
  } finally {
    await rig.close();
  }
}

/** Digests of the two products, by policy, on the reference device. */
async function referenceDigests(shape: Shape): Promise<Map<Policy, string[]>> {
  const digests = new Map<Policy, string[]>();
  for (const policy of policies) {
    const device = createCpuDevice();
    const multiplier = multiplierOn(device, { kind: 'gemm', contestant: 'reference', policy, ...shape });
    const both = [await multiplier.multiply(0), await multiplier.multiply(1)];
    digests.set(policy, await Promise.all(both.map(digestOf)));
    device.destroy();
  }
  return digests;
}

function entrantsOf(shape: Shape, backend: Backend, digests: ReadonlyMap<Policy, string[]>): Entrant[] {
  const task = (library: string): GemmTask => ({
    kind: 'gemm',
    contestant: `${library}-${backend}`,
    ...shape,
  });
  const own = policies.map((policy) => ({
    name: policy,
    task: { ...task('atoll'), policy },
    verify: (prepared: Prepared) => {
      if (prepared.digests.join() === digests.get(policy)?.join()) return;
      throw new Error('The bits are not the reference’s.');
    },
  }));
  const peers = libraries.map((name) => ({
    name,
    task: task(name),
    verify: ({ maxError = NaN }: Prepared) => {
      if (!(maxError <= f32Tolerance)) throw new Error(`An error of ${maxError} is more than f32 explains.`);
    },
  }));
  return [...own, ...peers];
}

function speed({ M, N, K }: Shape, seconds: readonly number[]): number {
  return (2 * M * N * K) / median(seconds) / 1e9;
}

/** Our speed against those peers, each by itself; NaN for one that failed. */
function ratios({ times }: Match, peers: readonly string[]): number[] {
  return peers.map((peer) => (times.has(peer) ? ratio(times, peer, defaultPolicy) : NaN));
}

/** The worst over shapes and peers is the value: NaN when anything is missing. */
function reachRows(matches: readonly Match[]): BenchRow[] {
  const worst = (backend: Backend, peers: readonly string[]) =>
    Math.min(...matches.filter((m) => m.backend === backend).flatMap((m) => ratios(m, peers)));
  return [
    bounded('gemm webgpu / jax-js', worst('webgpu', ['jax']), 'x', { atLeast: 1.3, aim: 2.2 }),
    bounded('gemm webgpu / ort and tfjs', worst('webgpu', ['ort', 'tfjs']), 'x', { atLeast: 5, aim: 9 }),
    bounded('gemm wasm / best of jax-js, ort, tfjs', worst('wasm', libraries), 'x', { atLeast: 1.3, aim: 2 }),
  ];
}

/** What everybody did, and every ratio by itself. */
function detailRows(result: Match): BenchRow[] {
  const { shape, backend, times } = result;
  const id = `gemm ${backend} ${nameOf(shape)}`;
  const speeds = [...times].map(([name, seconds]) =>
    information(`${id} ${name}`, speed(shape, seconds), 'GOP/CPU-s'),
  );
  const against = policies.flatMap((policy) =>
    libraries
      .filter((peer) => times.has(peer) && times.has(policy))
      .map((peer) => information(`${id} ${policy} / ${peer}`, ratio(times, peer, policy), 'x')),
  );
  return [...speeds, ...against, ...failureRows(id, result)];
}

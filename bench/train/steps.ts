/**
 * One GPT training step in Chromium: ours on WebGPU and on WASM (one thread) against jax-js and tfjs, per CPU-second of all of the browser's processes.
 *
 * All start from the same weights and see the same tokens. Ours must give the reference's losses and weights bit for bit after two steps; a peer's first
 * two losses must be within 0.01 of the reference's.
 */
import { createCpuDevice } from '#kernels/device/cpu.ts';
import { type Policy, policySchema } from '#protocol/messages/model.ts';
import type { BenchRow } from '#scripts/bench.ts';
import type { Rig } from '../rig/browser.ts';
import type { Prepared, TrainTask } from '../rig/contest.ts';
import { bounded, type DuelOptions, information, median, ratio } from '../rig/duel.ts';
import { type Entrant, failureRows, type MatchResult, playMatch } from '../rig/match.ts';
import { TrainContest } from './contest.ts';
import { trainerOn } from './ours.ts';
import { batch, model } from './shape.ts';

const defaultPolicy: Policy = 'i10sr';
const lossTolerance = 0.01;
type Backend = 'webgpu' | 'wasm';

const peers = ['jax', 'tfjs'] as const;

export async function stepRows(
  rig: Rig,
  quick: boolean,
  say: (line: string) => void,
): Promise<{ rows: BenchRow[]; labels: string[] }> {
  const reference = new Map<Policy, Prepared>();
  const policies = quick ? [defaultPolicy] : policySchema.options;
  for (const policy of policies) reference.set(policy, await referenceOf(policy));
  const matches = new Map<Backend, MatchResult>();
  for (const backend of ['webgpu', 'wasm'] as const) {
    say(`train step, ${backend}`);
    const effort: DuelOptions = quick
      ? { rounds: 2, seconds: 0.5 }
      : { rounds: 5, seconds: 1, clockSecondsMax: 150 };
    const result = await playMatch(rig, entrantsOf(backend, reference), effort, say);
    for (const [name, seconds] of result.times)
      say(`  ${name.padEnd(6)} ${median(seconds).toFixed(3)} CPU-s`);
    matches.set(backend, result);
  }
  const against = (backend: Backend, peer: string) => {
    const { times } = matches.get(backend) as MatchResult;
    return times.has(peer) && times.has(defaultPolicy) ? ratio(times, peer, defaultPolicy) : NaN;
  };
  const rows = [
    bounded('train step webgpu / jax-js', against('webgpu', 'jax'), 'x', { atLeast: 2, aim: 3 }),
    bounded('train step webgpu / tfjs', against('webgpu', 'tfjs'), 'x', { atLeast: 10, aim: 15 }),
    bounded('train step wasm / jax-js', against('wasm', 'jax'), 'x', { atLeast: 1.3, aim: 2.5 }),
    ...[...matches].flatMap(([backend, result]) => detailRows(backend, result)),
  ];
  const labels = [...matches.values()].map((match) => match.labels.get(defaultPolicy) ?? 'nothing');
  return { rows, labels };
}

function taskOf(contestant: string, policy?: Policy): TrainTask {
  return { kind: 'train', contestant, model, batch, ...(policy ? { policy } : {}) };
}

/** The same steps on the reference device, in this process. */
async function referenceOf(policy: Policy): Promise<Prepared> {
  const device = createCpuDevice();
  const task = taskOf('reference', policy);
  const prepared = await new TrainContest(task, trainerOn(device, task)).prepare();
  device.destroy();
  return prepared;
}

function entrantsOf(backend: Backend, reference: ReadonlyMap<Policy, Prepared>): Entrant[] {
  const own = [...reference].map(([policy, expected]) => ({
    name: policy,
    task: taskOf(`atoll-${backend}`, policy),
    verify: ({ digests }: Prepared) => {
      if (digests.join() === expected.digests.join()) return;
      throw new Error('The bits are not the reference’s.');
    },
  }));
  const expected = reference.get(defaultPolicy)?.losses ?? [];
  const others = peers.map((name) => ({
    name,
    task: taskOf(`${name}-${backend}`),
    verify: ({ losses = [] }: Prepared) => {
      const differs = expected.some((loss, i) => !(Math.abs((losses[i] ?? NaN) - loss) < lossTolerance));
      if (differs) throw new Error(`Losses of ${losses.join(', ')} instead of ${expected.join(', ')}.`);
    },
  }));
  return [...own, ...others];
}

function detailRows(backend: Backend, result: MatchResult): BenchRow[] {
  const id = `train step ${backend}`;
  const costs = [...result.times].map(([name, seconds]) =>
    information(`${id} ${name}`, median(seconds), 'CPU-s'),
  );
  return [...costs, ...failureRows(id, result)];
}

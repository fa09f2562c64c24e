/** GEMM in a tab: who takes part, and how results are verified. */
import type { GemmTask, Multiplier, Prepared } from '../rig/contest.ts';
import { digestOf, inputs, product64 } from './inputs.ts';

/** The contestant by name, `<library>-<backend>`. */
export async function multiplierOf(task: GemmTask): Promise<Multiplier> {
  const [library, backend] = task.contestant.split('-') as [string, 'webgpu' | 'wasm'];
  if (library === 'atoll') return (await import('./ours.ts')).multiplier(task, backend);
  if (library === 'jax') return (await import('./peers/jax.ts')).multiplier(task, backend);
  if (library === 'tfjs') return (await import('./peers/tfjs.ts')).multiplier(task, backend);
  if (library === 'ort' && backend === 'webgpu')
    return (await import('./peers/ort-webgpu.ts')).multiplier(task);
  if (library === 'ort') return (await import('./peers/ort-wasm.ts')).multiplier(task);
  throw new Error(`Nobody is called ${task.contestant}.`);
}

/** Elements of each timed result that are looked at. */
const probes = 256;

export class GemmContest {
  private readonly task: GemmTask;
  private readonly multiplier: Multiplier;
  private verified: Float32Array[] = [];
  private turn = 0;

  constructor(task: GemmTask, multiplier: Multiplier) {
    this.task = task;
    this.multiplier = multiplier;
  }

  async prepare(): Promise<Prepared> {
    const { M, N } = this.task;
    const { a, b } = inputs(this.task);
    const digests: string[] = [];
    let maxError = 0;
    for (const which of [0, 1] as const) {
      const result = (await this.multiplier.multiply(which)).slice();
      if (result.length !== M * N) throw new Error(`${result.length} elements instead of ${M * N}.`);
      // Ours has the reference's digest instead; a product in f64 takes a while.
      if (!this.task.policy) {
        maxError = Math.max(maxError, relativeError(result, product64(a[which], b, this.task)));
      }
      digests.push(await digestOf(result));
      this.verified.push(result);
    }
    return { label: this.multiplier.label, digests, maxError };
  }

  async run(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const which = (this.turn++ & 1) as 0 | 1;
      const result = await this.multiplier.multiply(which);
      const expected = this.verified[which] as Float32Array;
      const stride = Math.floor(expected.length / probes);
      for (let at = this.turn % stride; at < expected.length; at += stride) {
        if (result[at] !== expected[at]) throw new Error(`Element ${at} differs from the verified result.`);
      }
    }
  }
}

/** The largest error relative to the root mean square of the exact product. */
export function relativeError(x: Float32Array, exact: Float64Array): number {
  let [largest, squares] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    largest = Math.max(largest, Math.abs((x[i] as number) - (exact[i] as number)));
    squares += (exact[i] as number) ** 2;
  }
  return largest / Math.sqrt(squares / x.length);
}

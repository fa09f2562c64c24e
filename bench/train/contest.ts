/**
 * Training in a tab: who takes part, and how it is verified. All start from the same weights and see the same tokens, so that the first losses must agree, a
 * fresh model's must be near ln V, and they must fall.
 */
import { digestOf } from '../kernel/inputs.ts';
import type { Prepared, Trainer, TrainTask } from '../rig/contest.ts';
import { windowSets } from './shape.ts';

/** A trainer, and for ours the weights in layout order. */
export type OwnTrainer = Trainer & { weights?: () => Promise<Float32Array>; finish?: () => Promise<void> };

export async function trainerOf(task: TrainTask): Promise<OwnTrainer> {
  const [library, backend] = task.contestant.split('-') as [string, 'webgpu' | 'wasm'];
  if (library === 'atoll') return (await import('./ours.ts')).trainer(task, backend);
  if (library === 'jax') return (await import('./peers/jax.ts')).trainer(task, backend);
  if (library === 'tfjs') return (await import('./peers/tfjs.ts')).trainer(task, backend);
  throw new Error(`Nobody is called ${task.contestant}.`);
}

/** Steps that are compared before timing. */
export const preparedSteps = 2;

export class TrainContest {
  private readonly trainer: OwnTrainer;
  private readonly task: TrainTask;
  private turn = 0;
  private first = 0;

  constructor(task: TrainTask, trainer: OwnTrainer) {
    this.task = task;
    this.trainer = trainer;
  }

  private step(): Promise<number> {
    return this.trainer.step(this.turn++ % windowSets);
  }

  /** The first steps, with what there is to compare. */
  async prepare(): Promise<Prepared> {
    const losses: number[] = [];
    for (let i = 0; i < preparedSteps; i++) losses.push(await this.step());
    this.first = losses[0] as number;
    if (!(Math.abs(this.first - Math.log(this.task.model.V)) < 0.2)) {
      throw new Error(`The first loss is ${this.first}, not ln V.`);
    }
    const weights = await this.trainer.weights?.();
    const digests = weights ? [await digestOf(Float32Array.from(losses)), await digestOf(weights)] : [];
    return { label: this.trainer.label, digests, losses };
  }

  /** Each loss is read back and must be below the first. */
  async run(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const loss = await this.step();
      if (!(loss < this.first)) throw new Error(`The loss of step ${this.turn} is ${loss}.`);
    }
    await this.trainer.finish?.();
  }
}

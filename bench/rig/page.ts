/**
 * The tab's side: finds the contestant, verifies what it computes, then repeats it. Every result of a timed run is read back and compared at many places
 * with the one that was verified, so that no work can be skipped.
 */
import { multiplierOf, GemmContest } from '../kernel/contest.ts';
import { trainerOf, TrainContest } from '../train/contest.ts';
import type { Task } from './contest.ts';

let current: { run(count: number): Promise<void> } | undefined;

globalThis.contest = {
  async prepare(task: Task) {
    if (task.kind === 'gemm') {
      const contest = new GemmContest(task, await multiplierOf(task));
      current = contest;
      return contest.prepare();
    }
    const contest = new TrainContest(task, await trainerOf(task));
    current = contest;
    return contest.prepare();
  },
  async run(count) {
    if (!current) throw new Error('Nothing was prepared.');
    await current.run(count);
  },
};

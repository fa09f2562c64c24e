/** Timing by the clock of what a GPU does while the CPU waits: contestants in turn, round after round, as in rig/duel.ts. */
import { duel, type Times } from '../rig/duel.ts';

export interface GpuContender {
  name: string;
  /** Hands over that many pieces of work and comes back when all are done. */
  work(count: number): Promise<void>;
}

/** Seconds a piece of work, by contender, one entry a round; the first round of each warms it up and counts nothing. */
export function clockDuel(contenders: readonly GpuContender[], quick: boolean): Promise<Times> {
  const timed = contenders.map(({ name, work }) => ({
    name,
    async time(count: number) {
      const start = performance.now();
      await work(count);
      return (performance.now() - start) / 1e3 / count;
    },
  }));
  return duel(timed, quick ? { rounds: 3, seconds: 0.2 } : { rounds: 9, seconds: 1 });
}

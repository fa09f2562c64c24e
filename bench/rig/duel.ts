/**
 * Contestants measured in turn, round after round, so that what else the machine does hits all alike. A ratio is the median over rounds of the ratio
 * within a round; an absolute figure is the median over rounds.
 */
import type { BenchRow } from '#scripts/bench.ts';

/** Something that can be timed: CPU-seconds of one piece of work out of `count`. */
export interface Contender {
  name: string;
  time(count: number): Promise<number>;
}

export interface DuelOptions {
  rounds: number;
  /** CPU-seconds that each contender should spend in a round; at least one piece of work. */
  seconds: number;
  countMax?: number;
}

/** CPU-seconds a piece of work, by contender, one entry a round. A contender that fails meanwhile is missing and said. */
export type Times = Map<string, number[]>;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((x, y) => x - y);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

export async function duel(contenders: readonly Contender[], options: DuelOptions): Promise<Times> {
  const { rounds, seconds, countMax = 1000 } = options;
  const counts = new Map<string, number>();
  for (const { name, time } of contenders) {
    // Engines compile hot code again meanwhile, so the second look counts.
    let one = Math.max(await time(1), 1e-3);
    if (one < seconds) {
      const few = Math.min(countMax, Math.max(1, Math.round((seconds * 0.4) / one)));
      one = Math.max(await time(few), 1e-4);
    }
    counts.set(name, Math.min(countMax, Math.max(1, Math.round(seconds / one))));
  }
  const times: Times = new Map(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const { name, time } of contenders) {
      times.get(name)?.push(await time(counts.get(name) as number));
    }
  }
  return times;
}

/** How many times the work of `peer` costs that of `own`. */
export function ratio(times: Times, peer: string, own: string): number {
  const [theirs, ours] = [times.get(peer) ?? [], times.get(own) ?? []];
  return median(theirs.map((seconds, round) => seconds / (ours[round] as number)));
}

type Bound = { atLeast: number; aim: number } | { atMost: number; aim: number };

/** A line of the Reach table. NaN, where something failed, is never ok. */
export function bounded(id: string, value: number, unit: string, bound: Bound): BenchRow {
  const ok = 'atLeast' in bound ? value >= bound.atLeast : value <= bound.atMost;
  return { id, value: rounded(value), unit, ...bound, ok };
}

/** A figure without a bound. */
export function information(id: string, value: number, unit: string): BenchRow {
  return { id, value: rounded(value), unit, aim: null, ok: true };
}

/** Three significant digits say what such a measurement knows. */
export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

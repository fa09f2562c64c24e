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
  /** No further round begins after this many seconds by the clock, but `roundsMin` there are. */
  clockSecondsMax?: number;
  /** Told of a contender that failed on its way; it is out. */
  failed?: (name: string, error: Error) => void;
}

/** Enough for a median that one bad round does not move. */
const roundsMin = 3;
const countMax = 1000;

/** CPU-seconds a piece of work, by contender, one entry a round. */
export type Times = Map<string, number[]>;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((x, y) => x - y);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

export async function duel(contenders: readonly Contender[], options: DuelOptions): Promise<Times> {
  const { rounds, seconds, clockSecondsMax = Infinity, failed } = options;
  const start = performance.now();
  const times: Times = new Map(contenders.map(({ name }) => [name, []]));
  const counts = new Map<string, number>();
  const turn = async (act: (contender: Contender) => Promise<void>) => {
    for (const contender of contenders.filter(({ name }) => times.has(name))) {
      await act(contender).catch((error: Error) => {
        if (!failed) throw error;
        times.delete(contender.name);
        failed(contender.name, error);
      });
    }
  };
  await turn(async (contender) => void counts.set(contender.name, await countFor(contender, seconds)));
  for (let round = 0; round < rounds; round++) {
    if (round >= roundsMin && (performance.now() - start) / 1e3 > clockSecondsMax) break;
    await turn(async ({ name, time }) => {
      const cost = await time(counts.get(name) as number);
      times.get(name)?.push(cost);
    });
  }
  return times;
}

/** How many pieces of work take about that long. Engines compile hot code again meanwhile, so the second look counts. */
async function countFor({ time }: Contender, seconds: number): Promise<number> {
  const within = (one: number, wanted: number) =>
    Math.min(countMax, Math.max(1, Math.round(wanted / Math.max(one, 1e-4))));
  const first = await time(1);
  if (first >= seconds) return 1;
  return within(await time(within(Math.max(first, 1e-3), seconds * 0.4)), seconds);
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

/** The loss curve's points and scales. Pure. */
import type { JobStatus } from '#protocol/http/api.ts';

export interface CurvePoint {
  /** 0 is the model before training. */
  round: number;
  loss: number;
  trainLoss: number | null;
}

export function curveOf(status: Pick<JobStatus, 'lossFirst' | 'rounds'>): CurvePoint[] {
  const points: CurvePoint[] = status.rounds.map(({ round, loss, trainLoss }) => ({
    round,
    loss,
    trainLoss,
  }));
  if (status.lossFirst !== null) points.unshift({ round: 0, loss: status.lossFirst, trainLoss: null });
  return points;
}

/** Nats from 0 to the top of what is shown, with air; a loss below zero cannot be. */
export function lossRange(values: readonly number[]): [number, number] {
  const finite = values.filter(Number.isFinite);
  const high = Math.max(...finite, 0.1);
  const low = Math.min(...finite, high);
  const air = Math.max((high - low) * 0.12, 0.02);
  return [Math.max(0, low - air), high + air];
}

/** Whole rounds only: half a round has no loss. */
export function roundTicks(min: number, max: number, atMost: number): number[] {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];
  const step = steps.find((each) => (max - min) / each <= atMost) ?? Math.ceil((max - min) / atMost);
  const ticks: number[] = [];
  for (let tick = Math.ceil(min / step) * step; tick <= max; tick += step) ticks.push(tick);
  return ticks;
}

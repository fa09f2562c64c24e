/**
 * What one event changes in a job's status. Pure, and idempotent: the stream replays after a reconnect, and events that arrive while a
 * snapshot is on its way are applied to it again.
 */
import type { JobEvent, JobStatus, RoundSummary } from '#protocol/http/api.ts';

type Unit = JobStatus['units'][number];

export function applyEvent(status: JobStatus, event: JobEvent): JobStatus {
  switch (event.type) {
    case 'round':
      return closeRound(status, event.round);
    case 'unit':
      // Told again after its round has closed: no longer computed now.
      if (status.rounds.some((round) => round.round === event.unit.round)) return status;
      return {
        ...status,
        round: Math.max(status.round, event.unit.round),
        units: putUnit(status.units, event.unit),
      };
    case 'anchor':
      return {
        ...status,
        rounds: status.rounds.map((round) =>
          round.round === event.round ? { ...round, anchor: event.anchor } : round,
        ),
      };
    case 'contributors':
      return status; // the network's figure, not the job's
  }
}

function closeRound(status: JobStatus, closed: RoundSummary): JobStatus {
  const others = status.rounds.filter((round) => round.round !== closed.round);
  const rounds = [...others, closed].sort((a, b) => a.round - b.round);
  const newest = rounds.at(-1) as RoundSummary;
  return {
    ...status,
    rounds,
    round: Math.max(status.round, closed.round),
    lossLast: newest.loss,
    checkpoint: newest.checkpoint,
    units: status.units.filter((unit) => unit.round > closed.round),
  };
}

/** A unit's place in the plan. Its CID is not enough: equal work at two places is one unit. */
export function unitKey(unit: Unit): string {
  return `${unit.round}/${unit.lane}/${unit.unit}`;
}

function putUnit(units: Unit[], unit: Unit): Unit[] {
  const key = unitKey(unit);
  const at = units.findIndex((known) => unitKey(known) === key);
  return at < 0 ? [...units, unit] : units.with(at, unit);
}

/**
 * What is worth showing: everything of the newest round, and what an older one still waits for. Each place once. Lanes come
 * first, so that what joins and leaves does so below them.
 */
export function computedNow(status: JobStatus): Unit[] {
  const places = new Map(status.units.map((unit) => [unitKey(unit), unit]));
  const lane = (unit: Unit) => unit.lane ?? Number.MAX_SAFE_INTEGER;
  return [...places.values()]
    .filter((unit) => unit.round === status.round || unit.state !== 'accepted')
    .sort(
      (a, b) =>
        b.round - a.round ||
        lane(a) - lane(b) ||
        programRank(a.program) - programRank(b.program) ||
        Number(a.initial ?? false) - Number(b.initial ?? false),
    );
}

function programRank(program: string): number {
  if (program.startsWith('train.steps')) return 0;
  return program.startsWith('train.outer') ? 1 : 2;
}

/** The share of the way from the unigram entropy to the source's own entropy that the model has gone; null outside of it. */
export function wayToLimit(status: JobStatus): number | null {
  const { lossLast, unigramEntropy, sourceEntropy } = status;
  if (lossLast === null || sourceEntropy === null || sourceEntropy >= unigramEntropy) return null;
  const share = (unigramEntropy - lossLast) / (unigramEntropy - sourceEntropy);
  return share < 0 ? null : Math.min(share, 1);
}

/** The job to show: the one asked for, else the first that runs, else the newest. */
export function chooseJob(
  jobs: readonly { id: string; state: string }[],
  asked: string | null,
): string | null {
  if (asked !== null) return asked;
  return (jobs.find((job) => job.state === 'running') ?? jobs[0])?.id ?? null;
}

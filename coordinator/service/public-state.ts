/**
 * What the world may see of units whose results are not published yet: nothing that tells one from another.
 *
 * A replay of an accepted unit must look like work on an open one, so an unpublished unit shows no history of its own: not whether anybody had it before, how many
 * have it, how far they are or whether they agreed. What the page shows of it (ready or leased, and how far) is that of the job as a whole. A unit that was
 * published and is disputed since shows as split: that it had been accepted is known already.
 */
import type { JobEvent } from '#protocol/http/api.ts';
import type { SlotRecord } from '../storage/port.ts';

export type LaneState = Extract<JobEvent, { type: 'unit' }>['unit'];

/** Accepted and published. */
export function isShown({ phase, sealed }: Pick<SlotRecord, 'phase' | 'sealed'>): boolean {
  return phase === 'accepted' && !sealed;
}

/** What `/v1/units/{cid}` calls the phase of a unit. */
export function shownPhase({ phase, sealed }: Pick<SlotRecord, 'phase' | 'sealed'>): SlotRecord['phase'] {
  if (phase === 'failed') return phase;
  return sealed ? 'gathering' : phase;
}

/** The open slots of a job as they may be seen; `progressOf` is that of a unit's replica that is furthest. */
export function laneStates(open: readonly SlotRecord[], progressOf: (unit: string) => number): LaneState[] {
  const hidden = open.filter((record) => !isShown(record) && record.phase !== 'failed');
  const working = hidden.some((record) => record.leased > 0);
  const shares = hidden.map((record) => progressOf(record.unit)).filter((share) => share > 0);
  // In steps of a twentieth: a finer one would say when a single replica moved.
  const mean = shares.reduce((sum, share) => sum + share, 0) / Math.max(1, shares.length);
  const job = { working, progress: working ? Math.round(mean * 20) / 20 : 0 };
  return open.map((record) => laneState(record, job));
}

function laneState(record: SlotRecord, job: { working: boolean; progress: number }): LaneState {
  const { unit, program, slot, phase, sealed, replicas } = record;
  const lane = slot.kind === 'train' ? slot.lane : null;
  const initial = slot.kind === 'first' ? { initial: true } : {};
  const named = { unit, program, round: slot.round, lane, ...initial };
  if (isShown(record)) return { ...named, state: 'accepted', replicas, progress: 1 };
  if (phase === 'failed') return { ...named, state: 'failed', replicas: 0, progress: 0 };
  if (!sealed && phase === 'disputed') return { ...named, state: 'split', replicas: 0, progress: 0 };
  return {
    ...named,
    state: job.working ? 'leased' : 'ready',
    replicas: job.working ? 1 : 0,
    progress: job.progress,
  };
}

/** Which states a job's listeners have not been told yet. Holds the open units of the jobs that are going, and no others. */
export class ToldStates {
  readonly #told = new Map<string, Map<string, string>>();

  news(job: string, states: readonly LaneState[]): LaneState[] {
    const before = this.#told.get(job) ?? new Map<string, string>();
    const now = new Map(states.map((state) => [`${state.round} ${state.unit}`, JSON.stringify(state)]));
    this.#told.set(job, now);
    return states.filter((state) => {
      const id = `${state.round} ${state.unit}`;
      return before.get(id) !== now.get(id);
    });
  }
}

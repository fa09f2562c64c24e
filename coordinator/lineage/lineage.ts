/**
 * Where a checkpoint comes from: checkpoint -> outer unit -> updates -> train units -> shards of the data and contributors, round by round back
 * to the job's beginning.
 *
 * The documents themselves are followed, not the plan: a unit names its inputs by CID, so whoever has the documents can follow the same path. A unit
 * that was overturned after it had been used is shown as such, with what was used; nothing is rewound. One page holds some rounds, and no more than
 * `unitsMax` units.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { Lineage, LineageRound, ShareInfo } from '#protocol/http/ledger.ts';
import { decodeJob, type Job } from '#protocol/messages/job.ts';
import { decodeWorkunit, type Workunit } from '#protocol/messages/workunit.ts';
import type { Hex } from 'viem';
import { corpusShape } from '../planner/corpus.ts';

export interface LineageUnit {
  kind: 'train' | 'outer';
  lane: number;
  cid: Cid;
  /** Canonical bytes of the workunit. */
  bytes: Uint8Array;
  digest: Cid | null;
  /** A later check found false what had been shown, and used, already. */
  overturned: boolean;
  /** Of the replicas that agreed, oldest first. */
  contributors: readonly { contributor: Hex; credit: bigint }[];
}

export interface LineageSourceRound {
  round: number;
  checkpoint: Cid;
  units: readonly LineageUnit[];
}

/** What lineage reads. Only closed rounds are part of it: what is open is nobody's business. */
export interface LineageSource {
  /** The closed round that ended with a checkpoint; the first one, where several jobs came to the same. */
  madeIn(checkpoint: Cid): Promise<{ job: Cid; round: number } | null>;
  /** The job that starts from a checkpoint. */
  startedFrom(checkpoint: Cid): Promise<Cid | null>;
  job(id: Cid): Promise<{ bytes: Uint8Array; initial: Cid } | null>;
  /** Closed rounds from `first` to `last`, with their training and outer units. */
  rounds(job: Cid, first: number, last: number): Promise<LineageSourceRound[]>;
  /** The largest shares of a job's model. */
  shares(job: Cid, most: number): Promise<{ contributor: Hex; amount: bigint }[]>;
}

export interface LineageOptions {
  /** Rounds back, at most. */
  depth: number;
}

export const depthMax = 100;
/** Units in one page. */
const unitsMax = 400;
const sharesMax = 100;

/** Throws `not_found` for what is no checkpoint of a closed round, nor one that a job began with. */
export async function lineageOf(
  checkpoint: Cid,
  source: LineageSource,
  { depth }: LineageOptions,
): Promise<Lineage> {
  const made = await source.madeIn(checkpoint);
  const id = made?.job ?? (await source.startedFrom(checkpoint));
  const record = id === null ? null : await source.job(id);
  if (id === null || !record) {
    throw new AtollError('not_found', 'No closed round ended with this checkpoint.', {
      details: { checkpoint },
    });
  }
  const job = decodeJob(record.bytes);
  const last = made?.round ?? 0;
  const first = Math.max(1, last + 1 - pageRounds(job, depth));
  const found = last === 0 ? [] : await source.rounds(id, first, last);
  const rounds = found.toSorted((a, b) => b.round - a.round).map((round) => roundOf(job, round));
  return {
    ...{ checkpoint, job: id, name: job.name },
    data: dataOf(job, last),
    rounds,
    overturned: rounds.filter(isOverturned).map(({ round }) => round),
    shares: (await source.shares(id, sharesMax)).map(shown),
    next: await nextOf(rounds, source),
  };
}

function pageRounds(job: Job, depth: number): number {
  const perRound = job.training.lanes + 1;
  return Math.max(1, Math.min(depth, depthMax, Math.floor(unitsMax / perRound)));
}

/** The checkpoint before a page; where the job began with it, only if another job made it. */
async function nextOf(rounds: readonly LineageRound[], source: LineageSource): Promise<Cid | null> {
  const oldest = rounds.at(-1);
  if (!oldest) return null;
  if (oldest.round > 1) return oldest.parent;
  return (await source.madeIn(oldest.parent)) ? oldest.parent : null;
}

function dataOf(job: Job, rounds: number): Lineage['data'] {
  const { windows, windowsPerRound } = corpusShape(job, job.corpus.size);
  const windowsConsumed = rounds * windowsPerRound;
  return {
    origin: job.data ?? null,
    sizeBytes: job.corpus.size,
    blocks: job.corpus.blocks.length,
    ...{ windows, windowsConsumed },
    timesConsumed: windowsConsumed / windows,
  };
}

function roundOf(job: Job, { round, checkpoint, units }: LineageSourceRound): LineageRound {
  const outer = units.find((unit) => unit.kind === 'outer');
  if (!outer) throw broken(round, 'it has no outer unit');
  const { inputs } = decodeWorkunit(outer.bytes);
  const { roundsPerEpoch } = corpusShape(job, job.corpus.size);
  const pass = Math.floor((round - 1) / roundsPerEpoch) + 1;
  const lanes = units
    .filter((unit) => unit.kind === 'train')
    .toSorted((a, b) => a.lane - b.lane)
    .map((unit) => {
      const update = required(inputs, `update${unit.lane}`, round);
      return { ...laneOf(job, unit, update, round), pass };
    });
  if (lanes.length !== job.training.lanes) throw broken(round, 'a lane is missing');
  const parent = required(inputs, 'checkpoint', round);
  return { round, checkpoint, parent, outer: workOf(outer), lanes };
}

function laneOf(job: Job, unit: LineageUnit, update: Cid, round: number) {
  const { steps, batch } = job.training;
  return {
    ...workOf(unit),
    lane: unit.lane,
    update,
    tokens: required(decodeWorkunit(unit.bytes).inputs, 'tokens', round),
    count: steps * batch * job.model.T,
  };
}

function workOf(unit: LineageUnit) {
  return {
    unit: unit.cid,
    digest: unit.digest,
    overturned: unit.overturned,
    contributors: unit.contributors.map(({ contributor, credit }) => shown({ contributor, amount: credit })),
  };
}

function isOverturned({ outer, lanes }: LineageRound): boolean {
  return outer.overturned || lanes.some((lane) => lane.overturned);
}

function shown({ contributor, amount }: { contributor: Hex; amount: bigint }): ShareInfo {
  return { contributor, amount: String(amount) };
}

function required(inputs: Workunit['inputs'], name: string, round: number): Cid {
  const cid = inputs[name];
  if (cid === undefined) throw broken(round, `a unit has no input named ${name}`);
  return cid;
}

function broken(round: number, why: string): AtollError {
  return new AtollError('internal', `Round ${round} cannot be followed: ${why}.`);
}

/** What the HTTP side asks: the database's rows and what is connected now, in the shapes of `protocol/http/api.ts`. */
import { Buffer } from 'node:buffer';
import { type Cid, cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type {
  ContributorInfo,
  JobList,
  JobStatus,
  RoundList,
  RoundSummary,
  UnitInfo,
} from '#protocol/http/api.ts';
import { merkleTree, resultLeaf } from '#protocol/merkle.ts';
import { decodeJob, type Job } from '#protocol/messages/job.ts';
import { parameterCount } from '#kernels/model/layout.ts';
import type { Hex } from 'viem';
import * as v from 'valibot';
import { readLoss } from '../planner/run-job.ts';
import type { Blobs } from '../storage/blobs.ts';
import type { JobRecord, SlotRecord, Storage, UnitRecord } from '../storage/port.ts';
import { type Page, pageOf, readCursor } from './pages.ts';
import type { Directory } from './directory.ts';
import { leavesOf, outputOf } from './job-runner.ts';
import { isShown, type LaneState, laneStates, shownPhase } from './public-state.ts';

export interface QueryPorts {
  storage: Storage;
  blobs: Blobs;
  directory: Directory;
  progressOf: (unit: Cid) => number;
  /** Rounds the job stops after; null when it is not being worked on. */
  stopAfter: (job: Cid) => number | null;
}

const maxCredit = BigInt(Number.MAX_SAFE_INTEGER);

export class Queries {
  readonly #ports: QueryPorts;
  readonly #firstLosses = new Map<Cid, number>();

  constructor(ports: QueryPorts) {
    this.#ports = ports;
  }

  /** A page of all jobs, newest first. */
  async jobs({ limit, cursor }: Page): Promise<JobList> {
    const all = await this.#ports.storage.jobs();
    const after = readCursor(v.tuple([v.string()]), cursor)?.[0];
    const from = after === undefined ? 0 : all.findIndex((record) => record.id === after) + 1;
    const { rows, next } = pageOf(all.slice(from, from + limit + 1), limit, (record) => [record.id]);
    return { jobs: await Promise.all(rows.map((record) => this.#brief(record))), next };
  }

  /** Jobs that are worked on here and not done. */
  async running(): Promise<JobList['jobs']> {
    const records = (await this.#ports.storage.jobs()).filter((record) => record.active);
    const briefs = await Promise.all(records.map((record) => this.#brief(record)));
    return briefs.filter((brief) => brief.state === 'running');
  }

  /** A page of a job's closed rounds, oldest first. Throws `not_found`. */
  async rounds(id: Cid, { limit, cursor }: Page): Promise<RoundList> {
    await this.#record(id);
    const after = readCursor(v.tuple([v.number()]), cursor)?.[0] ?? 0;
    const records = (await this.#ports.storage.rounds(id)).filter((record) => record.round > after);
    const { rows, next } = pageOf(records, limit, (record) => [record.round]);
    return { rounds: rows.map((record) => record.summary), next };
  }

  async #record(id: Cid): Promise<JobRecord> {
    const record = (await this.#ports.storage.jobs()).find((job) => job.id === id);
    if (!record) throw new AtollError('not_found', 'There is no such job.', { details: { job: id } });
    return record;
  }

  async #brief(record: JobRecord): Promise<JobList['jobs'][number]> {
    const last = (await this.#ports.storage.rounds(record.id, 1))[0];
    const open = await this.#ports.storage.slotsAfter(record.id, last?.round ?? 0);
    return {
      id: record.id,
      name: decodeJob(record.bytes).name,
      state: this.#state(record.id, last?.round ?? 0, open),
      round: roundInProgress(last?.round ?? 0, open),
      lossLast: last?.summary.loss ?? null,
    };
  }

  /** Throws `not_found`. */
  async job(id: Cid): Promise<JobStatus> {
    const { storage } = this.#ports;
    const record = await this.#record(id);
    const job = decodeJob(record.bytes);
    const rounds = (await storage.rounds(id)).map((round) => round.summary);
    const closed = rounds.at(-1)?.round ?? 0;
    const open = await storage.slotsAfter(id, closed);
    const sums = sumOf(rounds);
    addCounts(sums, countsOf(open));
    return {
      ...describe(id, job),
      state: this.#state(id, closed, open),
      weight: record.weight ?? 1,
      pool: (await storage.ledger.poolOf(id))?.toString() ?? null,
      paused: !record.active && !record.cancelled,
      cancelled: record.cancelled ?? false,
      round: roundInProgress(closed, open),
      lossFirst: await this.#lossFirst(id),
      lossLast: rounds.at(-1)?.loss ?? null,
      unigramEntropy: record.unigramEntropy,
      sourceEntropy: record.sourceEntropy,
      checkpoint: newestCheckpoint(open) ?? rounds.at(-1)?.checkpoint ?? record.initial,
      ...sums,
      units: laneStates(open, this.#ports.progressOf),
      rounds,
    };
  }

  /** The open units of a job as the world may see them. */
  async laneStates(job: Cid): Promise<LaneState[]> {
    const { storage, progressOf } = this.#ports;
    const last = (await storage.rounds(job, 1))[0];
    return laneStates(await storage.slotsAfter(job, last?.round ?? 0), progressOf);
  }

  #state(id: Cid, closed: number, open: readonly SlotRecord[]): JobStatus['state'] {
    const stopAfter = this.#ports.stopAfter(id);
    if (stopAfter !== null && closed >= stopAfter) return 'done';
    const failed = open.some((slot) => slot.phase === 'failed');
    return stopAfter === null || failed ? 'stalled' : 'running';
  }

  /** Held-out loss of the initial checkpoint, once it is known. */
  async #lossFirst(id: Cid): Promise<number | null> {
    const known = this.#firstLosses.get(id);
    if (known !== undefined) return known;
    const slots = await this.#ports.storage.slotsOfRound(id, 1);
    const first = slots.find((slot) => slot.slot.kind === 'first' && slot.result !== null && !slot.sealed);
    if (!first) return null;
    const loss = readLoss(await this.#ports.blobs.get(outputOf(first, 'loss')));
    if (!Number.isFinite(loss)) return null;
    this.#firstLosses.set(id, loss);
    return loss;
  }

  /** Throws `not_found`. */
  async unit(cid: Cid): Promise<UnitInfo> {
    const unit = await this.#ports.storage.unit(cid);
    if (!unit) throw new AtollError('not_found', 'There is no such unit.', { details: { unit: cid } });
    // Digests and names are nobody's business while they could still be copied or colluded with, or help to tell a check from work.
    const shown = isShown(unit);
    const settled = shown || unit.phase === 'failed';
    return {
      unit: cid,
      unitBytes: base64(unit.bytes),
      job: unit.job,
      round: unit.round,
      state: shownPhase(unit),
      resultBytes: shown && unit.result ? base64(unit.result) : null,
      digest: shown ? unit.digest : null,
      replicas: settled
        ? unit.replicas.map(({ contributor, state, digest }) => ({ contributor, state, digest }))
        : [],
      ...(await this.#proof(unit)),
    };
  }

  async #proof(unit: UnitRecord): Promise<Pick<UnitInfo, 'proof' | 'anchor'>> {
    const { storage } = this.#ports;
    const round = await storage.round(unit.job, unit.round);
    if (!round || !isShown(unit)) return { proof: null, anchor: null };
    const tree = merkleTree(leavesOf(await storage.slotsOfRound(unit.job, unit.round)));
    const leaf = resultLeaf(unit.cid, cidOfSync(unit.result as Uint8Array, cborCode));
    const proof = { root: round.root, siblings: tree.proof(leaf) };
    return { proof, anchor: round.summary.anchor };
  }

  /** As far as results are published. Throws `not_found`. */
  async contributor(address: Hex): Promise<ContributorInfo> {
    const { storage, directory } = this.#ports;
    const record = await storage.contributor(address);
    if (!record) throw new AtollError('not_found', 'No such contributor has ever connected.');
    const hidden = await storage.records.unpublished(address);
    const credit = record.credit - hidden.credit;
    return {
      contributor: record.contributor,
      online: directory.isOnline(address),
      agreed: Math.max(0, record.agreed - hidden.agreed),
      rejected: Math.max(0, record.rejected - hidden.rejected),
      credit: Number(credit < 0n ? 0n : credit < maxCredit ? credit : maxCredit),
    };
  }

  /** A block or document that may be served. Throws `not_found`: outputs before acceptance do not exist for the world. */
  async block(cid: Cid): Promise<Uint8Array> {
    const { storage, blobs } = this.#ports;
    if (await storage.isPublic(cid)) return blobs.get(cid);
    const document = await storage.document(cid);
    if (!document) throw new AtollError('not_found', 'No such block is served here.', { details: { cid } });
    return document;
  }
}

function describe(id: Cid, job: Job) {
  return {
    id,
    name: job.name,
    model: job.model,
    parameters: parameterCount(job.model),
    policy: job.policy,
    lanes: job.training.lanes,
    stepsPerRound: job.training.steps,
    batch: job.training.batch,
  };
}

type Sums = Pick<RoundSummary, 'unitsAccepted' | 'unitsSplit' | 'replicasUsed'>;

function sumOf(rounds: readonly RoundSummary[]): Sums {
  const sums: Sums = { unitsAccepted: 0, unitsSplit: 0, replicasUsed: 0 };
  for (const round of rounds) addCounts(sums, round);
  return sums;
}

/** Of open rounds only what is published counts: the rest would tell when something was decided. */
function countsOf(open: readonly SlotRecord[]): Sums {
  const shown = open.filter(isShown);
  return {
    unitsAccepted: shown.length,
    unitsSplit: shown.filter((slot) => slot.splits > 0).length,
    replicasUsed: shown.reduce((sum, slot) => sum + slot.replicas, 0),
  };
}

function addCounts(sums: Sums, more: Sums): void {
  sums.unitsAccepted += more.unitsAccepted;
  sums.unitsSplit += more.unitsSplit;
  sums.replicasUsed += more.replicasUsed;
}

/** The highest round that has been planned; round 1 before anything is. */
function roundInProgress(closed: number, open: readonly SlotRecord[]): number {
  return open.reduce((most, slot) => Math.max(most, slot.slot.round), Math.max(1, closed));
}

function newestCheckpoint(open: readonly SlotRecord[]): Cid | null {
  const outer = open
    .filter((slot) => slot.slot.kind === 'outer' && slot.result !== null && !slot.sealed)
    .at(-1);
  return outer ? outputOf(outer, 'checkpoint') : null;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** A job that was run to its end, as lineage sees it: real documents from the fake programs, in memory or put into a database. */
import { writeFile } from '#protocol/messages/file.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { encodeJob, type Job, jobId } from '#protocol/messages/job.ts';
import { encodeWorkunit, workunitId } from '#protocol/messages/workunit.ts';
import type { Hex } from 'viem';
import type { LineageSource, LineageSourceRound, LineageUnit } from '../lineage/lineage.ts';
import { runJob } from '../planner/run-job.ts';
import type { Db } from '../storage/sql/schema.ts';
import { fakeExecute, fakeInitialCheckpoint, MemoryBlocks, testJob, testText } from './fake-programs.ts';

export interface History {
  job: Job;
  id: Cid;
  initial: Cid;
  rounds: { round: number; checkpoint: Cid; units: LineageUnit[] }[];
}

export const contributors: readonly Hex[] = [1, 2, 3].map((n): Hex => `0x${String(n).repeat(40)}`);

/** `initial`: the checkpoint it starts from, with the blocks of who made it. */
export async function historyOf(
  changes: Partial<Job>,
  rounds: number,
  blocks = new MemoryBlocks(),
  initial?: Cid,
): Promise<History> {
  const job: Job = { ...testJob(), corpus: await writeFile(blocks, testText()), ...changes };
  const bytes = new Map<Cid, Uint8Array>();
  const first = initial ?? (await fakeInitialCheckpoint(job.model, job.seed, blocks));
  const execute = (unit: Parameters<typeof fakeExecute>[0]) => {
    bytes.set(workunitId(unit), encodeWorkunit(unit));
    return fakeExecute(unit, blocks);
  };
  const run = await runJob(job, rounds, blocks, execute, { initial: async () => first });
  const closed = run.checkpoints.map((checkpoint, i) => {
    const units = run.units
      .filter(({ slot }) => slot.round === i + 1 && (slot.kind === 'train' || slot.kind === 'outer'))
      .map(({ slot, unit, digest }): LineageUnit => ({
        ...{ kind: slot.kind as LineageUnit['kind'], lane: slot.lane, cid: unit, digest, overturned: false },
        bytes: bytes.get(unit) as Uint8Array,
        contributors: contributors.slice(0, 2).map((contributor) => ({ contributor, credit: 10n })),
      }));
    return { round: i + 1, checkpoint, units };
  });
  return { job, id: jobId(job), initial: first, rounds: closed };
}

/** The first history is the oldest. */
export function memorySource(histories: readonly History[]): LineageSource {
  const byId = (id: Cid) => histories.find((history) => history.id === id);
  return {
    async madeIn(checkpoint) {
      for (const { id, rounds } of histories) {
        const found = rounds.find((round) => round.checkpoint === checkpoint);
        if (found) return { job: id, round: found.round };
      }
      return null;
    },
    startedFrom: async (checkpoint) => histories.find(({ initial }) => initial === checkpoint)?.id ?? null,
    async job(id) {
      const history = byId(id);
      return history ? { bytes: encodeJob(history.job), initial: history.initial } : null;
    },
    rounds: async (id, first, last) =>
      (byId(id)?.rounds ?? []).filter(({ round }): boolean => round >= first && round <= last),
    shares: async () => contributors.map((contributor, i) => ({ contributor, amount: 30n - BigInt(i) })),
  };
}

/** Puts histories into a database, as the planner, the record and the sealer leave them. */
export async function storeHistories(db: Db, histories: readonly History[]): Promise<void> {
  for (const [i, history] of histories.entries()) {
    const { id, job, initial, rounds } = history;
    const entropy = { unigram_entropy: 1, source_entropy: null };
    await db
      .insertInto('jobs')
      .values({
        id,
        bytes: encodeJob(job),
        initial,
        active: 1,
        ...entropy,
        created_at: i,
        weight: 1,
        finish: 0,
      })
      .execute();
    const shares = contributors.map((contributor, k) => ({ job: id, contributor, amount: String(30 - k) }));
    await db.insertInto('shares').values(shares).execute();
    for (const round of rounds) await storeRound(db, history, round, i);
  }
  for (const address of contributors) {
    await db
      .insertInto('contributors')
      .values({
        ...{ address, owner: address, prefix: '', device: '', vendor: '', tier: 'mobile', stake: '0' },
        ...{ agreed: 0, rejected: 0, faults: 0, strikes: 0, last_rejected_at: null, outlawed_at: null },
        ...{ trusted_at: null, first_seen_at: 0, last_seen_at: 0 },
      })
      .execute();
  }
}

async function storeRound(
  db: Db,
  { id }: History,
  source: LineageSourceRound,
  closedAt: number,
): Promise<void> {
  const { round, checkpoint, units } = source;
  await db
    .insertInto('rounds')
    .values({
      job: id,
      round,
      root: '0x',
      checkpoint,
      summary: '{}',
      closed_at: closedAt,
      tx: null,
      block_number: null,
    })
    .execute();
  for (const unit of units) {
    await db
      .insertInto('slots')
      .values({ job: id, round, kind: unit.kind, lane: unit.lane, unit: unit.cid })
      .execute();
    await db
      .insertInto('units')
      .values({
        ...{ cid: unit.cid, job: id, bytes: unit.bytes, program: 'p@1', operations: 1, quality: 1000 },
        ...{
          memory_bytes: 0,
          checkpoint: null,
          spare: 0,
          phase: 'accepted',
          attempt: 1,
          target: 2,
          quorum: 2,
          splits: 0,
        },
        ...{
          until: null,
          digest: unit.digest,
          result: null,
          reason: '',
          wanted: 0,
          due_at: null,
          queue: 1,
        },
        ...{
          paused: 0,
          sealed: 0,
          rechecks: 0,
          overturned: unit.overturned ? 1 : 0,
          planned_at: 1,
          accepted_at: 2,
        },
      })
      .execute();
    await storeReplicas(db, unit);
  }
}

/** Those that agreed, in order, and one that did not. */
async function storeReplicas(db: Db, { cid, contributors: agreed }: LineageUnit): Promise<void> {
  const rejected = { contributor: contributors[2] as Hex, credit: 0n };
  for (const [i, { contributor, credit }] of [...agreed, rejected].entries()) {
    await db
      .insertInto('replicas')
      .values({
        ...{ assignment: `${contributor}${cid}` as Hex, unit: cid, attempt: 1, purpose: 'vote', contributor },
        ...{ owner: contributor, prefix: '', device: '', vendor: '', weight: 1, leased_at: i, deadline: 9 },
        state: i < agreed.length ? 'agreed' : 'rejected',
        ...{ commitment: null, commit_signature: null, salt: null, digest: null, result: null },
        ...{ reveal_signature: null, credit: String(credit), settled_at: 3 },
      })
      .execute();
  }
}

/** Jobs, their slots and rounds. */
import type { Cid } from '#protocol/codec/cid.ts';
import type { RoundSummary } from '#protocol/http/api.ts';
import { type ExpressionBuilder, type Selectable, sql } from 'kysely';
import type { Rules } from '../../consensus/consensus.ts';
import { slotKinds } from '../../planner/plan.ts';
import { plainBytes, storedRow } from '../../record/tables.ts';
import { poolOf } from '../../ledger/accounts.ts';
import { fairTags, weightOfJob } from '../../scheduler/fairness.ts';
import { plannedRow } from '../../record/units.ts';
import type { Counts, JobChange, JobRecord, NewUnit, RoundRecord, SlotRecord, Storage } from '../port.ts';
import { chunks, type SqlPorts, type Trx } from './ports.ts';
import type { Database } from './schema.ts';

export type JobMethods = Pick<
  Storage,
  | 'addJob'
  | 'setActiveJobs'
  | 'changeJob'
  | 'jobs'
  | 'addUnits'
  | 'slotsAfter'
  | 'slotsOfRound'
  | 'slotsOfUnit'
  | 'counts'
  | 'contributorsOfRound'
  | 'closeRound'
  | 'anchorRound'
  | 'rounds'
  | 'round'
>;

const roundsMax = 10_000;

export function jobMethods(ports: SqlPorts, rules: Rules): JobMethods {
  const { db, write } = ports;
  const ofRound = (job: Cid, comparison: '=' | '>', round: number) =>
    slotsQuery(ports).where('s.job', '=', job).where('s.round', comparison, round).execute();
  return {
    addJob: (job, blocks) => write((trx) => addJob(trx, job, blocks)),
    setActiveJobs: async (ids) => {
      await write((trx) => setActive(trx, ids));
      ports.onUnits('all');
    },
    changeJob: async (id, change) => {
      await write((trx) => changeJob(trx, id, change));
      ports.onUnits('all');
    },
    async jobs() {
      // Ids are as good as random, so the last key only makes the order the same everywhere.
      const rows = await db
        .selectFrom('jobs')
        .selectAll()
        .orderBy('created_at', 'desc')
        .orderBy('id')
        .execute();
      return rows.map(jobRecord);
    },
    async addUnits(job, units, now) {
      await write((trx) => addUnits(trx, job, units, now, rules));
      ports.onUnits(units.map((unit) => unit.cid));
    },
    slotsAfter: async (job, round) => (await ofRound(job, '>', round)).map(slotRecord).sort(planOrder),
    slotsOfRound: async (job, round) => (await ofRound(job, '=', round)).map(slotRecord).sort(planOrder),
    async slotsOfUnit(unit) {
      const rows = await slotsQuery(ports).where('s.unit', '=', unit).execute();
      return rows.map((row) => ({ job: row.job, record: slotRecord(row) }));
    },
    counts: (job, round) => counts(ports, job, round),
    async contributorsOfRound(job, round) {
      const row = await db
        .selectFrom('slots as s')
        .innerJoin('replicas as r', 'r.unit', 's.unit')
        .select((eb) => eb.fn.count<number>('r.contributor').distinct().as('contributors'))
        .where('s.job', '=', job)
        .where('s.round', '=', round)
        .where('r.state', '=', 'agreed')
        .executeTakeFirst();
      return Number(row?.contributors ?? 0);
    },
    closeRound: (record, now) => write((trx) => closeRound(trx, record, now)),
    anchorRound: (job, round, tx, blockNumber) =>
      write(async (trx) => {
        const change = { tx, block_number: blockNumber };
        await trx
          .updateTable('rounds')
          .set(change)
          .where('job', '=', job)
          .where('round', '=', round)
          .execute();
      }),
    async rounds(job, last = roundsMax) {
      const query = db.selectFrom('rounds').selectAll().where('job', '=', job).orderBy('round', 'desc');
      const rows = await query.limit(Math.min(last, roundsMax)).execute();
      const overturned = await overturnedFrom(ports, job, rows.at(-1)?.round ?? 0);
      return rows.map((row) => roundRecord(row, overturned)).reverse();
    },
    async round(job, round) {
      const query = db.selectFrom('rounds').selectAll().where('job', '=', job).where('round', '=', round);
      const row = await query.executeTakeFirst();
      return row ? roundRecord(row, await overturnedFrom(ports, job, round)) : null;
    },
  };
}

async function addJob(
  trx: Trx,
  job: Omit<JobRecord, 'active' | 'cancelled'>,
  blocks: readonly Cid[],
): Promise<void> {
  const row = {
    id: job.id,
    bytes: job.bytes,
    initial: job.initial,
    active: 1,
    unigram_entropy: job.unigramEntropy,
    source_entropy: job.sourceEntropy,
    created_at: job.createdAt,
    weight: job.weight ?? 1,
    finish: 0,
  };
  await trx
    .insertInto('jobs')
    .values(row)
    .onConflict((oc) => oc.doNothing())
    .execute();
  await publish(trx, blocks);
}

async function publish(trx: Trx, blocks: readonly Cid[]): Promise<void> {
  for (const piece of chunks([...new Set(blocks)], 1)) {
    const values = piece.map((cid) => ({ cid }));
    await trx
      .insertInto('blocks')
      .values(values)
      .onConflict((oc) => oc.doNothing())
      .execute();
  }
}

async function setActive(trx: Trx, ids: readonly Cid[]): Promise<void> {
  await trx.updateTable('jobs').set({ active: 0 }).where('active', '=', 1).execute();
  await trx
    .updateTable('units')
    .set({ paused: 1 })
    .where('phase', '<>', 'accepted')
    .where('paused', '=', 0)
    .execute();
  for (const id of ids) {
    await trx.updateTable('jobs').set({ active: 1 }).where('id', '=', id).execute();
    await resumeUnits(trx, id);
  }
}

async function resumeUnits(trx: Trx, job: Cid): Promise<void> {
  await trx
    .updateTable('units')
    .set({ paused: 0 })
    .where('paused', '=', 1)
    .where('cid', 'in', (eb) => eb.selectFrom('slots').select('unit').where('job', '=', job))
    .execute();
}

/** Units of the job that no active job has. */
async function pauseUnits(trx: Trx, job: Cid): Promise<void> {
  await trx
    .updateTable('units')
    .set({ paused: 1 })
    .where('phase', '<>', 'accepted')
    .where('cid', 'in', (eb) => eb.selectFrom('slots').select('unit').where('job', '=', job))
    .where('cid', 'not in', (eb) =>
      eb
        .selectFrom('slots as s')
        .innerJoin('jobs as j', 'j.id', 's.job')
        .innerJoin('slots as own', 'own.unit', 's.unit')
        .select('s.unit')
        .where('own.job', '=', job)
        .where('j.active', '=', 1),
    )
    .execute();
}

async function changeJob(trx: Trx, id: Cid, { active, cancelled, weight }: JobChange): Promise<void> {
  const job = trx.updateTable('jobs').where('id', '=', id);
  if (weight !== undefined) await job.set({ weight }).execute();
  if (cancelled || active !== undefined) {
    await job.set({ active: cancelled ? -1 : Number(active) }).execute();
    await (active && !cancelled ? resumeUnits : pauseUnits)(trx, id);
  }
}

/** Planned units that are known go on where they are; a slot that is taken stays as it is. */
async function addUnits(
  trx: Trx,
  job: Cid,
  units: readonly NewUnit[],
  now: number,
  rules: Rules,
): Promise<void> {
  await publish(
    trx,
    units.flatMap((unit) => unit.blocks),
  );
  const slots = units.map(({ slot, cid }) => ({ job, ...slot, unit: cid }));
  for (const piece of chunks(slots, 5)) {
    await trx
      .insertInto('slots')
      .values(piece)
      .onConflict((oc) => oc.doNothing())
      .execute();
  }
  // One statement may not meet a row twice in PostgreSQL, and one unit may serve two slots.
  const unique = [...new Map(units.map((unit) => [unit.cid, unit])).values()];
  const tags = await tagsOf(trx, job, unique);
  const paused = await isAtRest(trx, job);
  const rows = unique.map((unit, i) =>
    storedRow('units', { ...plannedRow(job, unit, tags[i] as number, now, rules), paused }),
  );
  for (const piece of chunks(rows, Object.keys(rows[0] ?? {}).length)) {
    await trx
      .insertInto('units')
      .values(piece)
      .onConflict((oc) => {
        const known = oc.column('cid');
        return paused ? known.doNothing() : known.doUpdateSet({ paused: 0 });
      })
      .execute();
  }
}

/** Another process may have set the job aside while this one was planning. */
async function isAtRest(trx: Trx, job: Cid): Promise<boolean> {
  const row = await trx.selectFrom('jobs').select('active').where('id', '=', job).executeTakeFirst();
  return row !== undefined && row.active !== 1;
}

/** Places in the fair queue; the job's share goes on from the last of them. */
async function tagsOf(trx: Trx, job: Cid, units: readonly NewUnit[]): Promise<number[]> {
  const waiting = trx.selectFrom('units').select('queue').where('wanted', '>', 0).where('paused', '=', 0);
  const first = await waiting.orderBy('queue').limit(1).executeTakeFirst();
  const last = trx.selectFrom('jobs').select((eb) => eb.fn.max('finish').as('finish'));
  const present = Number(first?.queue ?? (await last.executeTakeFirst())?.finish ?? 0);
  const own = trx.selectFrom('jobs').select(['weight', 'finish']).where('id', '=', job);
  const { weight, finish } = (await own.executeTakeFirst()) ?? { weight: 1, finish: await endOfQueue(trx) };
  const purse = trx.selectFrom('accounts').select('balance').where('id', '=', poolOf(job));
  const pool = await purse.executeTakeFirst();
  const share = {
    weight: weightOfJob(Number(weight), pool ? BigInt(pool.balance) : null),
    finish: Number(finish),
  };
  const tags = fairTags(
    units.map((unit) => unit.operations),
    share,
    present,
  );
  await trx.updateTable('jobs').set({ finish: tags.finish }).where('id', '=', job).execute();
  return tags.tags;
}

/** Behind everything, for units of a job that nobody has added. */
async function endOfQueue(trx: Trx): Promise<number> {
  const last = trx.selectFrom('units').select((eb) => eb.fn.max('queue').as('queue'));
  return Number((await last.executeTakeFirst())?.queue ?? 0) + 1;
}

type SlotRow = Awaited<ReturnType<ReturnType<typeof slotsQuery>['execute']>>[number];

function slotsQuery({ db }: SqlPorts) {
  return db
    .selectFrom('slots as s')
    .innerJoin('units as u', 'u.cid', 's.unit')
    .select(['s.job', 's.round', 's.kind', 's.lane', 's.unit'])
    .select([
      'u.program',
      'u.phase',
      'u.splits',
      'u.result',
      'u.planned_at',
      'u.accepted_at',
      'u.sealed',
      'u.rechecks',
    ])
    .select((eb) => [
      replicasOf(eb).where('r.state', 'not in', ['expired', 'released']).as('replicas'),
      replicasOf(eb).where('r.state', '=', 'leased').as('leased'),
    ]);
}

function replicasOf(eb: ExpressionBuilder<Database & { u: Database['units'] }, 'u'>) {
  return eb
    .selectFrom('replicas as r')
    .select(sql<number>`count(*)`.as('n'))
    .whereRef('r.unit', '=', 'u.cid')
    .whereRef('r.attempt', '=', 'u.attempt');
}

async function counts({ db }: SqlPorts, job: Cid, round: number): Promise<Counts> {
  const ofRound = db.selectFrom('slots as s').where('s.job', '=', job).where('s.round', '=', round);
  const units = await ofRound
    .innerJoin('units as u', 'u.cid', 's.unit')
    .select([
      sql<number>`count(*) FILTER (WHERE u.phase = 'accepted')`.as('accepted'),
      sql<number>`count(*) FILTER (WHERE u.splits > 0)`.as('split'),
    ])
    .executeTakeFirst();
  const replicas = await ofRound
    .innerJoin('replicas as r', 'r.unit', 's.unit')
    .where('r.commitment', 'is not', null)
    .select(sql<number>`count(*)`.as('used'))
    .executeTakeFirst();
  return {
    unitsAccepted: Number(units?.accepted ?? 0),
    unitsSplit: Number(units?.split ?? 0),
    replicasUsed: Number(replicas?.used ?? 0),
  };
}

async function closeRound(trx: Trx, record: RoundRecord, now: number): Promise<void> {
  const { job, round, root, checkpoint, summary } = record;
  const row = { job, round, root, checkpoint, summary: JSON.stringify({ ...summary, anchor: null }) };
  await trx
    .insertInto('rounds')
    .values({ ...row, closed_at: now })
    .onConflict((oc) => oc.doNothing())
    .execute();
}

function jobRecord(row: Selectable<Database['jobs']>): JobRecord {
  return {
    id: row.id,
    bytes: plainBytes(row.bytes),
    initial: row.initial,
    active: row.active === 1,
    cancelled: row.active < 0,
    weight: row.weight,
    unigramEntropy: row.unigram_entropy,
    sourceEntropy: row.source_entropy,
    createdAt: row.created_at,
  };
}

function slotRecord(row: SlotRow): SlotRecord {
  return {
    slot: { round: row.round, kind: row.kind, lane: row.lane },
    unit: row.unit,
    program: row.program,
    phase: row.phase,
    splits: row.splits,
    sealed: row.sealed === 1,
    rechecks: row.rechecks,
    replicas: Number(row.replicas),
    leased: Number(row.leased),
    plannedAt: row.planned_at,
    acceptedAt: row.accepted_at,
    result: row.result && (row.phase === 'accepted' || row.sealed === 0) ? plainBytes(row.result) : null,
  };
}

function planOrder(a: SlotRecord, b: SlotRecord): number {
  const kind = (record: SlotRecord) => slotKinds.indexOf(record.slot.kind);
  return a.slot.round - b.slot.round || kind(a) - kind(b) || a.slot.lane - b.slot.lane;
}

/**
 * Units of rounds that were found false after they had been used, by round: few, if any, so they are looked up first. (SQLite takes the index only
 * for a number that stands in the query.)
 */
async function overturnedFrom({ db }: SqlPorts, job: Cid, round: number): Promise<Map<number, number>> {
  const units = await db
    .selectFrom('units')
    .select('cid')
    .where(sql<boolean>`overturned = 1`)
    .execute();
  const counts = new Map<number, number>();
  for (const part of chunks(units, 1)) {
    const rows = await db
      .selectFrom('slots')
      .select((eb) => ['round', eb.fn.countAll<number>().as('units')])
      .where(
        'unit',
        'in',
        part.map(({ cid }) => cid),
      )
      .where('job', '=', job)
      .where('round', '>=', round)
      .groupBy('round')
      .execute();
    for (const row of rows) {
      counts.set(Number(row.round), (counts.get(Number(row.round)) ?? 0) + Number(row.units));
    }
  }
  return counts;
}

function roundRecord(row: Selectable<Database['rounds']>, overturned: Map<number, number>): RoundRecord {
  const { job, root, checkpoint, tx, block_number } = row;
  const round = Number(row.round);
  const anchor = tx === null ? null : { root, tx, blockNumber: block_number ?? 0 };
  const found = overturned.get(round);
  const summary = {
    ...(JSON.parse(row.summary) as RoundSummary),
    ...(found ? { overturned: found } : {}),
    anchor,
  };
  return { job, round, root, checkpoint, summary };
}

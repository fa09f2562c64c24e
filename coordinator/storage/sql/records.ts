/**
 * What the world may read of units and contributors: published results with who took part, and how much of a contributor's record belongs to results that are
 * not published yet. Nothing here reads an unpublished unit for showing.
 */
import type { ExpressionBuilder, Selectable } from 'kysely';
import type { Hex } from 'viem';
import type { SlotKind } from '../../planner/plan.ts';
import { plainBytes } from '../../record/tables.ts';
import type { Place, PublishedReplica, PublishedUnit, RecordReads } from '../port.ts';
import { guarded, type SqlPorts } from './ports.ts';
import type { Database, Db } from './schema.ts';

export function recordReads({ db }: SqlPorts): RecordReads {
  return guarded<RecordReads>({
    published: async (job, page) => {
      const rows = await unitsOf(db)
        .where('s.job', '=', job)
        .where('u.sealed', '=', 0)
        .$if(page.kind !== undefined, (query) => query.where('s.kind', '=', page.kind as SlotKind))
        .$if(page.after !== undefined, (query) => query.where((eb) => later(eb, page.after as Place)))
        .orderBy('s.round', 'desc')
        .orderBy('s.kind')
        .orderBy('s.lane')
        .limit(page.most)
        .execute();
      return withReplicas(db, rows);
    },
    publishedUnit: async (cid) => {
      const rows = await unitsOf(db)
        .where('u.cid', '=', cid)
        .where('u.sealed', '=', 0)
        .orderBy('s.job')
        .orderBy('s.round')
        .limit(1)
        .execute();
      return (await withReplicas(db, rows))[0] ?? null;
    },
    contributorsOf: async (owner, { after = '', most }) => {
      const rows = await db
        .selectFrom('contributors')
        .select(['address', 'owner', 'agreed', 'rejected', 'outlawed_at', 'trusted_at'])
        .where('owner', '=', owner)
        .where('address', '>', after as Hex)
        .orderBy('address')
        .limit(most)
        .execute();
      return rows.map(standingOf);
    },
    standing: async (address) => {
      const row = await db
        .selectFrom('contributors')
        .select(['address', 'owner', 'agreed', 'rejected', 'outlawed_at', 'trusted_at'])
        .where('address', '=', address)
        .executeTakeFirst();
      return row ? standingOf(row) : null;
    },
    unpublished: (contributor) => unpublished(db, contributor),
    firstUnpublished: async () => {
      const row = await db
        .selectFrom('units as u')
        .innerJoin('transfers as t', 't.unit', 'u.cid')
        .select((eb) => eb.fn.min('t.seq').as('seq'))
        .where('u.sealed', '=', 1)
        .where('t.seq', 'is not', null)
        .executeTakeFirst();
      return row?.seq === null || row?.seq === undefined ? null : Number(row.seq);
    },
  });
}

function unitsOf(db: Db) {
  return db
    .selectFrom('slots as s')
    .innerJoin('units as u', 'u.cid', 's.unit')
    .select(['s.job', 's.round', 's.kind', 's.lane', 'u.cid', 'u.program', 'u.operations', 'u.phase'])
    .select(['u.attempt', 'u.splits', 'u.quorum', 'u.digest', 'u.result', 'u.reason', 'u.overturned'])
    .select(['u.planned_at', 'u.accepted_at']);
}
type UnitRowRead = Awaited<ReturnType<ReturnType<typeof unitsOf>['execute']>>[number];

/** After a place in the order: newest round first, then by kind and lane. */
function later(
  eb: ExpressionBuilder<Database & { s: Database['slots'] }, 's'>,
  { round, kind, lane }: Place,
) {
  return eb.or([
    eb('s.round', '<', round),
    eb.and([eb('s.round', '=', round), eb('s.kind', '>', kind)]),
    eb.and([eb('s.round', '=', round), eb('s.kind', '=', kind), eb('s.lane', '>', lane)]),
  ]);
}

async function withReplicas(db: Db, rows: readonly UnitRowRead[]): Promise<PublishedUnit[]> {
  if (rows.length === 0) return [];
  const replicas = await db
    .selectFrom('replicas')
    .select(['unit', 'attempt', 'purpose', 'contributor', 'owner', 'weight', 'state', 'digest', 'credit'])
    .select(['leased_at', 'settled_at'])
    .where(
      'unit',
      'in',
      rows.map((row) => row.cid),
    )
    // A check that is still open is nobody's business.
    .where('settled_at', 'is not', null)
    .orderBy('attempt')
    .orderBy('leased_at')
    .orderBy('assignment')
    .execute();
  const byUnit = Map.groupBy(replicas, (replica) => replica.unit);
  return rows.map((row) => published(row, (byUnit.get(row.cid) ?? []).map(replicaOf)));
}

function published(row: UnitRowRead, replicas: PublishedReplica[]): PublishedUnit {
  const { job, kind, cid, program, phase, digest, reason } = row;
  return {
    ...{ job, kind, unit: cid, program, phase, digest, reason, replicas },
    round: Number(row.round),
    lane: Number(row.lane),
    operations: Number(row.operations),
    attempt: Number(row.attempt),
    splits: Number(row.splits),
    quorum: Number(row.quorum),
    overturned: Number(row.overturned) === 1,
    result: row.result && plainBytes(row.result),
    plannedAt: Number(row.planned_at),
    acceptedAt: row.accepted_at === null ? null : Number(row.accepted_at),
  };
}

type ReplicaRead = Pick<
  Selectable<Database['replicas']>,
  | 'attempt'
  | 'purpose'
  | 'contributor'
  | 'owner'
  | 'weight'
  | 'state'
  | 'digest'
  | 'credit'
  | 'leased_at'
  | 'settled_at'
>;

function replicaOf(row: ReplicaRead): PublishedReplica {
  const { purpose, contributor, owner, state, digest } = row;
  return {
    ...{ purpose, contributor, owner, state, digest },
    attempt: Number(row.attempt),
    weight: Number(row.weight),
    credit: BigInt(row.credit),
    leasedAt: Number(row.leased_at),
    settledAt: row.settled_at === null ? null : Number(row.settled_at),
  };
}

function standingOf(
  row: Pick<
    Selectable<Database['contributors']>,
    'address' | 'owner' | 'agreed' | 'rejected' | 'outlawed_at' | 'trusted_at'
  >,
) {
  return {
    contributor: row.address,
    owner: row.owner,
    agreed: Number(row.agreed),
    rejected: Number(row.rejected),
    outlawed: row.outlawed_at !== null,
    trusted: row.trusted_at !== null,
  };
}

async function unpublished(db: Db, contributor: Hex) {
  const rows = await db
    .selectFrom('units as u')
    .innerJoin('replicas as r', 'r.unit', 'u.cid')
    .select(['r.state', 'r.credit'])
    .where('u.sealed', '=', 1)
    .where('r.contributor', '=', contributor)
    .where('r.settled_at', 'is not', null)
    .execute();
  return {
    agreed: rows.filter((row) => row.state === 'agreed').length,
    rejected: rows.filter((row) => row.state === 'rejected').length,
    credit: rows.reduce((sum, row) => sum + (row.state === 'agreed' ? BigInt(row.credit) : 0n), 0n),
  };
}

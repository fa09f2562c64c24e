/** What lineage reads of the database: closed rounds, their units with the replicas that agreed, shares. A page is three queries. */
import type { Cid } from '#protocol/codec/cid.ts';
import { sql } from 'kysely';
import type { Hex } from 'viem';
import type { LineageSource, LineageSourceRound, LineageUnit } from '../../lineage/lineage.ts';
import type { Db } from './schema.ts';

export function lineageSource(db: Db): LineageSource {
  return {
    madeIn: async (checkpoint) => {
      const rows = db.selectFrom('rounds').select(['job', 'round']).where('checkpoint', '=', checkpoint);
      const row = await rows.orderBy('closed_at').orderBy('job').orderBy('round').limit(1).executeTakeFirst();
      return row ? { job: row.job, round: Number(row.round) } : null;
    },
    startedFrom: async (checkpoint) => {
      const rows = db.selectFrom('jobs').select('id').where('initial', '=', checkpoint);
      const row = await rows.orderBy('created_at').orderBy('id').limit(1).executeTakeFirst();
      return row?.id ?? null;
    },
    job: async (id) => {
      const rows = db.selectFrom('jobs').select(['bytes', 'initial']).where('id', '=', id);
      const row = await rows.executeTakeFirst();
      return row ? { bytes: plain(row.bytes), initial: row.initial } : null;
    },
    rounds: (job, first, last) => closedRounds(db, job, first, last),
    shares: (job, most) => largestShares(db, job, most),
  };
}

async function closedRounds(db: Db, job: Cid, first: number, last: number): Promise<LineageSourceRound[]> {
  const rounds = await db
    .selectFrom('rounds')
    .select(['round', 'checkpoint'])
    .where('job', '=', job)
    .where('round', '>=', first)
    .where('round', '<=', last)
    .execute();
  const units = await db
    .selectFrom('slots')
    .innerJoin('units', 'units.cid', 'slots.unit')
    .select(['slots.round', 'slots.kind', 'slots.lane', 'units.cid', 'units.bytes'])
    .select(['units.digest', 'units.overturned'])
    .where('slots.job', '=', job)
    .where('slots.kind', 'in', ['train', 'outer'])
    .where('slots.round', '>=', first)
    .where('slots.round', '<=', last)
    .execute();
  const agreed = await agreedReplicas(db, [...new Set(units.map(({ cid }) => cid))]);
  const unitOf = (row: (typeof units)[number]): LineageUnit => ({
    ...{ kind: row.kind as LineageUnit['kind'], lane: Number(row.lane), cid: row.cid },
    ...{ bytes: plain(row.bytes), digest: row.digest },
    overturned: Number(row.overturned) === 1,
    contributors: agreed.get(row.cid) ?? [],
  });
  return rounds.map(({ round, checkpoint }) => ({
    ...{ round: Number(round), checkpoint },
    units: units.filter((row) => Number(row.round) === Number(round)).map(unitOf),
  }));
}

async function agreedReplicas(
  db: Db,
  units: Cid[],
): Promise<Map<Cid, { contributor: Hex; credit: bigint }[]>> {
  if (units.length === 0) return new Map();
  const rows = await db
    .selectFrom('replicas')
    .select(['unit', 'contributor', 'credit'])
    .where('unit', 'in', units)
    .where('state', '=', 'agreed')
    .orderBy('leased_at')
    .orderBy('assignment')
    .execute();
  const found = new Map<Cid, { contributor: Hex; credit: bigint }[]>();
  for (const { unit, contributor, credit } of rows) {
    found.set(unit, [...(found.get(unit) ?? []), { contributor, credit: BigInt(credit) }]);
  }
  return found;
}

/** Amounts are text in one database and numbers in the other; no share is below zero, so the longer text is the larger amount. */
async function largestShares(
  db: Db,
  job: Cid,
  most: number,
): Promise<{ contributor: Hex; amount: bigint }[]> {
  const text = sql<string>`CAST(shares.amount AS TEXT)`;
  const rows = await db
    .selectFrom('shares')
    .innerJoin('contributors', 'contributors.address', 'shares.contributor')
    .select(['shares.contributor', 'shares.amount'])
    .where('shares.job', '=', job)
    .where('contributors.outlawed_at', 'is', null)
    .where('shares.amount', '<>', '0')
    .orderBy(sql`length(${text})`, 'desc')
    .orderBy(text, 'desc')
    .orderBy('shares.contributor')
    .limit(most)
    .execute();
  return rows.map(({ contributor, amount }) => ({ contributor, amount: BigInt(amount) }));
}

/** Drivers give a `Buffer`; the codec's bytes are plain. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Units, replicas and contributors as they are read outside of operations, and what may be served. */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Outcome } from '#protocol/messages/frames.ts';
import type { Hex } from 'viem';
import type { ReplicaRow, UnitRow } from '../../record/rows.ts';
import { plainBytes, rowOf } from '../../record/tables.ts';
import { verdictReason } from '../../record/units.ts';
import type { ReplicaRecord, Storage, UnitRecord, Verdict } from '../port.ts';
import type { SqlPorts } from './ports.ts';

export type UnitMethods = Pick<
  Storage,
  | 'agreedUnits'
  | 'agreed'
  | 'unit'
  | 'replica'
  | 'contributor'
  | 'lessees'
  | 'openReveals'
  | 'recentVerdicts'
  | 'isPublic'
  | 'document'
>;

export function unitMethods(ports: SqlPorts): UnitMethods {
  const { db } = ports;
  return {
    async agreedUnits() {
      const rows = await db.selectFrom('units').select('cid').where('phase', '=', 'agreed').execute();
      return rows.map((row) => row.cid);
    },
    agreed: async (cid) => onlyAgreed(await readUnit(ports, cid)),
    unit: (cid) => readUnit(ports, cid),
    async replica(assignment) {
      const row = await db
        .selectFrom('replicas as r')
        .innerJoin('units as u', 'u.cid', 'r.unit')
        .selectAll('r')
        .select('u.program')
        .where('r.assignment', '=', assignment)
        .executeTakeFirst();
      return row ? { ...replicaRecord(rowOf('replicas', row)), program: row.program } : null;
    },
    contributor: (address) => contributorRecord(ports, address),
    async lessees() {
      const query = db
        .selectFrom('replicas')
        .select('contributor')
        .distinct()
        .where('state', '=', 'leased')
        .where('settled_at', 'is', null);
      return (await query.execute()).map((row) => row.contributor);
    },
    async openReveals(contributor) {
      const rows = await db
        .selectFrom('replicas as r')
        .innerJoin('units as u', (join) =>
          join.onRef('u.cid', '=', 'r.unit').onRef('u.attempt', '=', 'r.attempt'),
        )
        .select('r.assignment')
        .where('r.contributor', '=', contributor)
        .where('r.state', '=', 'committed')
        .where('r.settled_at', 'is', null)
        .where('u.phase', 'in', ['revealing', 'accepted', 'disputed'])
        .execute();
      return rows.map((row) => row.assignment);
    },
    recentVerdicts: (contributor, most) => recentVerdicts(ports, contributor, most),
    async isPublic(cid) {
      const row = await db.selectFrom('blocks').select('cid').where('cid', '=', cid).executeTakeFirst();
      return row !== undefined;
    },
    document: (cid) => document(ports, cid),
  };
}

/** The first slot of a unit. */
export interface Place {
  job: Cid;
  round: number;
}

async function readUnit({ db }: SqlPorts, cid: Cid): Promise<UnitRecord | null> {
  const row = await db.selectFrom('units').selectAll().where('cid', '=', cid).executeTakeFirst();
  const places = db.selectFrom('slots').select(['job', 'round']).where('unit', '=', cid);
  const place = row && (await places.orderBy('job').orderBy('round').limit(1).executeTakeFirst());
  if (!row || !place) return null;
  const replicas = await db
    .selectFrom('replicas')
    .selectAll()
    .where('unit', '=', cid)
    .orderBy('attempt')
    .orderBy('leased_at')
    .orderBy('assignment')
    .execute();
  return unitRecord(
    rowOf('units', row),
    place,
    replicas.map((replica) => rowOf('replicas', replica)),
  );
}

export function onlyAgreed(unit: UnitRecord | null): UnitRecord | null {
  return unit?.phase === 'agreed' ? unit : null;
}

export function unitRecord(row: UnitRow, { job, round }: Place, replicas: readonly ReplicaRow[]): UnitRecord {
  const { cid, bytes, program, operations, phase, attempt, splits, digest, sealed, overturned } = row;
  return {
    ...{ cid, bytes, program, operations, phase, attempt, splits, digest, sealed, overturned },
    ...{ reason: row.reason, result: row.result, job, round },
    replicas: replicas.map(replicaRecord),
  };
}

export function replicaRecord(row: ReplicaRow): ReplicaRecord {
  const { assignment, unit, attempt, contributor, state, deadline, commitment, digest, result } = row;
  return { assignment, unit, attempt, contributor, state, deadline, commitment, digest, result };
}

async function contributorRecord({ db }: SqlPorts, address: Hex) {
  const row = await db
    .selectFrom('contributors')
    .select(['agreed', 'rejected'])
    .where('address', '=', address)
    .executeTakeFirst();
  if (!row) return null;
  const accounts = await db
    .selectFrom('accounts')
    .select('balance')
    .where('id', 'in', [`credit:${address}`, `escrow:${address}`])
    .execute();
  const credit = accounts.reduce((sum, account) => sum + BigInt(account.balance), 0n);
  return { contributor: address, agreed: row.agreed, rejected: row.rejected, credit };
}

async function recentVerdicts({ db }: SqlPorts, contributor: Hex, most: number): Promise<Verdict[]> {
  const rows = await db
    .selectFrom('replicas as r')
    .innerJoin('units as u', 'u.cid', 'r.unit')
    .select(['r.assignment', 'r.unit', 'r.state', 'r.digest', 'u.operations', 'u.reason'])
    .where('r.contributor', '=', contributor)
    .where('r.settled_at', 'is not', null)
    .orderBy('r.settled_at', 'desc')
    .orderBy('r.assignment')
    .limit(most)
    .execute();
  return rows.reverse().map(({ assignment, unit, state, digest, operations, reason }) => ({
    ...{ assignment, contributor, unit, outcome: state as Outcome },
    credit: state === 'agreed' ? operations : 0,
    reason: verdictReason(state as Outcome, digest, reason),
  }));
}

/** A job, a workunit, or an accepted result that is no longer sealed. */
async function document({ db }: SqlPorts, cid: Cid): Promise<Uint8Array | null> {
  const unit = await db.selectFrom('units').select('bytes').where('cid', '=', cid).executeTakeFirst();
  if (unit) return plainBytes(unit.bytes);
  const result = await db
    .selectFrom('units')
    .select('result')
    .where('digest', '=', cid)
    .where('phase', '=', 'accepted')
    .where('sealed', '=', 0)
    .where('result', 'is not', null)
    .executeTakeFirst();
  if (result?.result) return plainBytes(result.result);
  const job = await db.selectFrom('jobs').select('bytes').where('id', '=', cid).executeTakeFirst();
  return job ? plainBytes(job.bytes) : null;
}

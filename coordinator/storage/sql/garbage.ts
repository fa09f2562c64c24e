/** Which blocks the database still speaks of: where the collector of garbage begins. */
import { linksOf } from '#protocol/codec/cbor.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import type { BlockRoots, Storage } from '../port.ts';
import { chunks, type SqlPorts } from './ports.ts';

export type GarbageMethods = Pick<Storage, 'blockRoots' | 'forgetBlocks'>;

export function garbageMethods({ db, write }: SqlPorts): GarbageMethods {
  return {
    async blockRoots(lastRounds) {
      const roots = new Set<Cid>();
      const pending = new Set<Cid>();
      const going = db.selectFrom('jobs').select(['bytes', 'initial']).where('active', '>=', 0);
      for (const job of await going.execute()) {
        roots.add(job.initial);
        addLinks(roots, job.bytes);
      }
      for (const checkpoint of await checkpoints({ db })) roots.add(checkpoint);
      for (const unit of await liveUnits({ db }, lastRounds)) {
        addLinks(roots, unit.bytes);
        if (unit.result) addLinks(roots, unit.result);
      }
      // Losses are a few bytes, and shown for as long as the job is.
      const evaluated = db
        .selectFrom('slots as s')
        .innerJoin('units as u', 'u.cid', 's.unit')
        .select('u.result')
        .where('s.kind', 'in', ['first', 'eval'])
        .where('u.result', 'is not', null);
      for (const { result } of await evaluated.execute()) addLinks(roots, result as Uint8Array);
      const revealed = db
        .selectFrom('replicas as r')
        .innerJoin('units as u', 'u.cid', 'r.unit')
        .select(['r.result', 'u.phase'])
        .where('r.result', 'is not', null)
        .where((eb) => eb.or([eb('u.phase', '<>', 'accepted'), eb('u.rechecks', '>', 0)]));
      for (const { result, phase } of await revealed.execute()) {
        addLinks(phase === 'agreed' ? pending : roots, result as Uint8Array);
      }
      return { roots: [...roots], pending: [...pending] } satisfies BlockRoots;
    },
    forgetBlocks: (cids) =>
      write(async (trx) => {
        for (const piece of chunks(cids, 1)) {
          await trx.deleteFrom('blocks').where('cid', 'in', piece).execute();
          await trx.deleteFrom('outputs').where('cid', 'in', piece).execute();
        }
      }),
  };
}

/** Of a cancelled job the last one alone. */
async function checkpoints({ db }: Pick<SqlPorts, 'db'>): Promise<Cid[]> {
  const cancelled = db.selectFrom('jobs').select('id').where('active', '<', 0);
  const last = db
    .selectFrom('rounds')
    .select((eb) => ['job', eb.fn.max('round').as('round')])
    .groupBy('job');
  const rows = await db
    .selectFrom('rounds as r')
    .innerJoin(last.as('l'), 'l.job', 'r.job')
    .select('r.checkpoint')
    .distinct()
    .where((eb) => eb.or([eb('r.job', 'not in', cancelled), eb('r.round', '=', eb.ref('l.round'))]))
    .execute();
  return rows.map((row) => row.checkpoint);
}

/** Units that somebody may still have to compute, check or build upon: open ones, those of open rounds, of the last rounds, and false ones. */
async function liveUnits({ db }: Pick<SqlPorts, 'db'>, lastRounds: number) {
  const closed = db
    .selectFrom('rounds')
    .select((eb) => ['job', eb.fn.max('round').as('round')])
    .groupBy('job');
  const recent = db
    .selectFrom('slots as s')
    .leftJoin(closed.as('c'), 'c.job', 's.job')
    .select('s.unit')
    .where((eb) => eb.or([eb('c.round', 'is', null), eb('s.round', '>', eb('c.round', '-', lastRounds))]));
  return db
    .selectFrom('units')
    .select(['bytes', 'result'])
    .where((eb) =>
      eb.or([
        eb('phase', '<>', 'accepted'),
        eb('rechecks', '>', 0),
        eb('sealed', '=', 1),
        eb('overturned', '=', 1),
        eb('cid', 'in', recent),
      ]),
    )
    .where((eb) => eb.or([eb('cid', 'not in', abandoned({ db })), eb('cid', 'in', unsettled({ db }))]))
    .execute();
}

/** Units of cancelled jobs that no other job has. */
function abandoned({ db }: Pick<SqlPorts, 'db'>) {
  return db
    .selectFrom('slots as s')
    .innerJoin('jobs as j', 'j.id', 's.job')
    .select('s.unit')
    .groupBy('s.unit')
    .having((eb) => eb(eb.fn.max('j.active'), '<', 0));
}

/** Somebody has a replica of them in hand, or something of them has yet to be fetched, checked or shown. */
function unsettled({ db }: Pick<SqlPorts, 'db'>) {
  return db
    .selectFrom('units as u')
    .select('u.cid')
    .where((eb) =>
      eb.or([
        eb('u.phase', 'in', ['revealing', 'agreed', 'disputed']),
        eb('u.rechecks', '>', 0),
        eb.and([eb('u.phase', '=', 'accepted'), eb('u.sealed', '=', 1)]),
        eb(
          'u.cid',
          'in',
          db.selectFrom('replicas').select('unit').where('state', 'in', ['leased', 'committed', 'revealed']),
        ),
      ]),
    );
}

/** Inputs of a unit, outputs of a result, the corpus of a job. A document that is not canonical names nothing. */
function addLinks(into: Set<Cid>, document: Uint8Array): void {
  for (const cid of readLinks(document)) into.add(cid);
}

function readLinks(document: Uint8Array): Cid[] {
  try {
    return linksOf(document);
  } catch {
    return [];
  }
}

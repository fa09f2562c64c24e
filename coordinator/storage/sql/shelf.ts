/** The shelf of small records, in SQL. */
import type { ExpressionBuilder } from 'kysely';
import type { Shelf, ShelfRecord } from '../shelf.ts';
import { guarded, type SqlPorts } from './ports.ts';
import type { Database, StoredRow } from './schema.ts';

const listMax = 1_000;

export function sqlShelf({ db, write }: SqlPorts): Shelf {
  return guarded<Shelf>({
    add: (record, now) =>
      write(async (trx) => {
        const gone = trx.deleteFrom('shelf').where('kind', '=', record.kind).where('key', '=', record.key);
        await gone.where('expires_at', '<=', now).execute();
        const added = await trx
          .insertInto('shelf')
          .values(stored(record))
          .onConflict((oc) => oc.doNothing())
          .executeTakeFirst();
        return Number(added.numInsertedOrUpdatedRows ?? 0) > 0;
      }),
    put: (record) =>
      write(async (trx) => {
        const { kind: _kind, key: _key, ...rest } = stored(record);
        await trx
          .insertInto('shelf')
          .values(stored(record))
          .onConflict((oc) => oc.columns(['kind', 'key']).doUpdateSet(rest))
          .execute();
      }),
    async get(kind, key, now) {
      const query = db.selectFrom('shelf').selectAll().where('kind', '=', kind).where('key', '=', key);
      const row = await query.where(isLive(now)).executeTakeFirst();
      return row ? recordOf(row) : null;
    },
    take: (kind, key, now) =>
      write(async (trx) => {
        const query = trx.deleteFrom('shelf').where('kind', '=', kind).where('key', '=', key).returningAll();
        const row = await query.executeTakeFirst();
        return row && (row.expires_at === null || row.expires_at > now) ? recordOf(row) : null;
      }),
    async list(kind, owner, { after = '', limit, now }) {
      const rows = await db
        .selectFrom('shelf')
        .selectAll()
        .where('kind', '=', kind)
        .where('owner', '=', owner)
        .where('key', '>', after)
        .where(isLive(now))
        .orderBy('key')
        .limit(Math.min(limit, listMax))
        .execute();
      return rows.map(recordOf);
    },
    sweep: (now) =>
      write(async (trx) => {
        const done = await trx.deleteFrom('shelf').where('expires_at', '<=', now).executeTakeFirst();
        return Number(done.numDeletedRows);
      }),
  });
}

function isLive(now: number) {
  return (eb: ExpressionBuilder<Database, 'shelf'>) =>
    eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', now)]);
}

function stored({ kind, key, owner, value, createdAt, expiresAt }: ShelfRecord): StoredRow<ShelfRecord> {
  return { kind, key, owner, value, created_at: createdAt, expires_at: expiresAt };
}

function recordOf(row: StoredRow<ShelfRecord>): ShelfRecord {
  const { kind, key, owner, value } = row;
  return { kind, key, owner, value, createdAt: row.created_at, expiresAt: row.expires_at };
}

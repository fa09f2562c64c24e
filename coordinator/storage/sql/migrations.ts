/**
 * The schema of both databases, as migrations: a list that only ever grows at its end. Kysely's Migrator runs what a database has not had, each
 * run in one transaction under the database's own lock.
 *
 * A network of the first version kept its tables in SQLite under `PRAGMA user_version = 1`; its data moves into the tables of today.
 */
import { type Kysely, sql } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import { AtollError } from '#protocol/errors.ts';
import { journalTable, narrowIndexes, tablesOfRecord } from './ddl.ts';
import { moveVersion1 } from './legacy.ts';
import type { Db, DialectName } from './schema.ts';

/** In order of their names. */
export function migrationsFor(dialect: DialectName): Record<string, Migration> {
  return {
    '0001-record': {
      up: async (db) => {
        const statements = tablesOfRecord(dialect);
        if (dialect === 'sqlite') await moveVersion1(db, () => runAll(db, statements));
        else await runAll(db, statements);
      },
    },
    // Batches that the tables do not have yet, where there is one process to write them (sqlite/pending.ts).
    '0002-journal': {
      up: async (db) => {
        if (dialect === 'sqlite') await runAll(db, [journalTable]);
      },
    },
    '0003-narrow-indexes': {
      up: async (db) => {
        if (dialect === 'postgres') await runAll(db, narrowIndexes);
      },
    },
  };
}

/** Brings the schema up to date. Throws `bad_config` on a database of a newer version, `storage_failed` when the database fails. */
export async function migrateToLatest(db: Db, dialect: DialectName): Promise<void> {
  const known = migrationsFor(dialect);
  const provider = { getMigrations: () => Promise.resolve(known) };
  const migrator = new Migrator({ db, provider });
  await refuseNewer(db, Object.keys(known));
  const { error } = await migrator.migrateToLatest();
  if (error === undefined) return;
  if (error instanceof AtollError) throw error;
  throw new AtollError(
    'storage_failed',
    `The database could not be brought up to date: ${(error as Error).message}. Nothing of it has been changed.`,
    { cause: error },
  );
}

/** What ran in this database and is not known here was written by a newer version. */
async function refuseNewer(db: Db, known: readonly string[]): Promise<void> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true });
  if (!tables.some((table) => table.name === 'kysely_migration')) return;
  const ran = await sql<{ name: string }>`SELECT name FROM kysely_migration ORDER BY name`.execute(db);
  const unknown = ran.rows.find(({ name }) => !known.includes(name));
  if (unknown) throw newerVersion(unknown.name);
}

export function newerVersion(found: string): AtollError {
  return new AtollError(
    'bad_config',
    `The data was written by a newer version of Atoll (schema ${found}). Update Atoll or choose another data directory or database.`,
  );
}

async function runAll(db: Kysely<unknown>, statements: readonly string[]): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

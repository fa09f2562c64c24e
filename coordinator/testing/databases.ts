/** An empty, migrated database of each kind, for tests of queries that must be the same on both. */
import BetterSqlite3 from 'better-sqlite3';
import { onTestFinished, type TestContext } from 'vitest';
import { migrateToLatest } from '../storage/sql/migrations.ts';
import { kyselyOn as postgresOn } from '../storage/postgres/kysely.ts';
import type { Db } from '../storage/sql/schema.ts';
import { kyselyOn } from '../storage/sqlite/kysely.ts';
import { usePostgres } from './services.ts';

/** Call it at the top of a test file. A test on PostgreSQL is skipped, saying why, where there is none. */
export function useDatabases(): Record<'sqlite' | 'postgres', (context: TestContext) => Promise<Db>> {
  const postgres = usePostgres();
  return {
    sqlite: async () => {
      const db = kyselyOn(new BetterSqlite3(':memory:'));
      await migrateToLatest(db, 'sqlite');
      return db;
    },
    postgres: async (context) => {
      const db = postgresOn(await (await postgres(context)).createDatabase());
      onTestFinished(() => db.destroy());
      await migrateToLatest(db, 'postgres');
      return db;
    },
  };
}

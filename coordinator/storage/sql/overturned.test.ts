/** What was found false after it had been used is told with its round, in both databases, and costs nothing while there is nothing. */
import BetterSqlite3 from 'better-sqlite3';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { describe, expect, onTestFinished, test, type TestContext } from 'vitest';
import { defaultRules } from '../../consensus/consensus.ts';
import { historyOf, storeHistories } from '../../testing/lineage-history.ts';
import { usePostgres } from '../../testing/services.ts';
import { kyselyOn } from '../sqlite/kysely.ts';
import { jobMethods } from './jobs.ts';
import { migrateToLatest } from './migrations.ts';
import type { Database, Db, DialectName } from './schema.ts';

const postgres = usePostgres();

async function opened(dialect: DialectName, context: TestContext): Promise<Db> {
  if (dialect === 'sqlite') return kyselyOn(new BetterSqlite3(':memory:'));
  const connectionString = await (await postgres(context)).createDatabase();
  const db = new Kysely<Database>({
    dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString }) }),
  });
  onTestFinished(() => db.destroy());
  return db;
}

describe.each(['sqlite', 'postgres'] as const)('on %s', (dialect) => {
  test('rounds count their overturned units', async (context) => {
    const db = await opened(dialect, context);
    await migrateToLatest(db, dialect);
    const history = await historyOf({}, 3);
    for (const unit of history.rounds[1]?.units ?? []) unit.overturned = unit.kind === 'train';
    await db.transaction().execute((within) => storeHistories(within, [history]));
    const ports = {
      db,
      write: <T>(work: (trx: never) => Promise<T>) => work(db as never),
      onUnits: () => undefined,
    };
    const jobs = jobMethods(ports, defaultRules);
    const counts = (await jobs.rounds(history.id)).map(({ summary }) => summary.overturned);
    expect(counts).toEqual([undefined, 2, undefined]);
    expect((await jobs.round(history.id, 2))?.summary.overturned).toBe(2);
    expect((await jobs.rounds(history.id, 1))[0]?.summary.overturned).toBeUndefined();
  });
});

test('SQLite looks at overturned units only', async () => {
  const raw = new BetterSqlite3(':memory:');
  await migrateToLatest(kyselyOn(raw), 'sqlite');
  const plan = raw.prepare('EXPLAIN QUERY PLAN SELECT cid FROM units WHERE overturned = 1');
  const steps = (plan.all() as { detail: string }[]).map(({ detail }) => detail).join('\n');
  expect(steps).toMatch(/units_overturned/);
});

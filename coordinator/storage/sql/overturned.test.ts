/** What was found false after it had been used is told with its round, in both databases, and costs nothing while there is nothing. */
import BetterSqlite3 from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { defaultRules } from '../../consensus/consensus.ts';
import { useDatabases } from '../../testing/databases.ts';
import { historyOf, storeHistories } from '../../testing/lineage-history.ts';
import { kyselyOn } from '../sqlite/kysely.ts';
import { jobMethods } from './jobs.ts';
import { migrateToLatest } from './migrations.ts';

const open = useDatabases();

describe.each(['sqlite', 'postgres'] as const)('on %s', (dialect) => {
  test('rounds count their overturned units', async (context) => {
    const db = await open[dialect](context);
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

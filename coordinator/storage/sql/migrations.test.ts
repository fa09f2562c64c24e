/** The schema: created whole, refused when newer, and filled from a data directory of the first version. */
import { join } from 'node:path';
import BetterSqlite3 from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { tables } from '../../record/tables.ts';
import { temporaryFolder } from '../../testing/harness.ts';
import { kyselyOn } from '../sqlite/kysely.ts';
import { migrateToLatest } from './migrations.ts';
import { version1 } from './version-1.fixture.ts';

async function migrated(db: BetterSqlite3.Database): Promise<BetterSqlite3.Database> {
  await migrateToLatest(kyselyOn(db), 'sqlite');
  return db;
}

const columnsOf = (db: BetterSqlite3.Database, table: string) =>
  db.prepare(`SELECT name FROM pragma_table_info('${table}')`).pluck().all();

describe('the schema', () => {
  test('has the columns that the descriptors name, no more and no less; running twice changes nothing', async () => {
    const db = await migrated(await migrated(new BetterSqlite3(':memory:')));
    for (const { name, columns } of Object.values(tables)) {
      expect([name, columnsOf(db, name).toSorted()]).toEqual([
        name,
        columns.map(({ column }) => column).toSorted(),
      ]);
    }
  });

  test('of a newer version is refused, and left as it is', async () => {
    const db = await migrated(new BetterSqlite3(':memory:'));
    db.exec("INSERT INTO kysely_migration VALUES ('9999-later', '')");
    await expect(migrated(db)).rejects.toMatchObject({ code: 'bad_config', message: /newer version/ });
  });

  test('keeps the ledger append-only: the sealer alone may write, and once', async () => {
    const db = await migrated(new BetterSqlite3(':memory:'));
    db.exec(
      "INSERT INTO transfers (kind, debit, credit, amount, reason, at) VALUES ('earned', 'a', 'b', '5', '', 1)",
    );
    expect(() => db.exec("UPDATE transfers SET amount = '6'")).toThrow('append-only');
    expect(() => db.exec('DELETE FROM transfers')).toThrow('append-only');
    db.exec("UPDATE transfers SET seq = 1, hash = '0x00'");
    expect(() => db.exec("UPDATE transfers SET hash = '0x01'")).toThrow('append-only');
  });
});

describe('a data directory of the first version', () => {
  test('moves with its units, replicas, rounds and credit', async () => {
    const path = join(await temporaryFolder(), 'db.sqlite');
    const old = new BetterSqlite3(path);
    old.exec(version1);
    old.close();
    const db = await migrated(new BetterSqlite3(path));
    const all = (text: string) => db.prepare(text).raw().all();
    expect(all('SELECT key, value FROM meta')).toEqual([['network', '0x01']]);
    expect(all('SELECT cid, phase, quorum, queue, sealed, result FROM units ORDER BY queue')).toEqual([
      ['unit1', 'accepted', 2, 1, 0, Buffer.from([1, 2])],
      ['unit2', 'gathering', 2, 2, 0, null],
    ]);
    expect(all('SELECT assignment, owner, purpose, state, credit FROM replicas ORDER BY assignment')).toEqual(
      [
        ['0xa1', '0xc1', 'vote', 'agreed', '9000000000000000000'],
        ['0xa2', '0xc2', 'vote', 'agreed', '9000000000000000000'],
        ['0xa3', '0xc1', 'vote', 'leased', '0'],
      ],
    );
    expect(all('SELECT address, agreed, strikes FROM contributors')).toEqual([
      ['0xc1', 1, 0],
      ['0xc2', 1, 2],
    ]);
    expect(all('SELECT contributor, speed, verified FROM devices')).toEqual([
      ['0xc1', 1.5, 0],
      ['0xc2', null, 0],
    ]);
    expect(all('SELECT id, balance FROM accounts ORDER BY id')).toEqual([
      ['credit:0xc1', '9000000000000000000'],
      ['credit:0xc2', '9000000000000000000'],
      ['issued', '-18000000000000000000'],
    ]);
    expect(all('SELECT debit, credit, amount, job, seq FROM transfers ORDER BY id')).toEqual([
      ['issued', 'credit:0xc1', '9000000000000000000', 'job', null],
      ['issued', 'credit:0xc2', '9000000000000000000', 'job', null],
    ]);
    expect(all('SELECT job, round FROM rounds')).toEqual([['job', 1]]);
    expect(all("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '%v1'")).toEqual([
      ['entries_v1'],
    ]);
    await migrated(db);
    db.close();
  });

  test('is as it was when the move fails half-way', async () => {
    const db = new BetterSqlite3(':memory:');
    db.exec(version1);
    // What stands in the way of the last step.
    db.exec('CREATE TABLE shelf (x)');
    await expect(migrated(db)).rejects.toMatchObject({ code: 'storage_failed' });
    expect(db.prepare('SELECT count(*) FROM entries').pluck().get()).toBe(2);
    expect(columnsOf(db, 'units')).not.toContain('quorum');
    db.exec('DROP TABLE shelf');
    await migrated(db);
    expect(columnsOf(db, 'units')).toContain('quorum');
  });
});

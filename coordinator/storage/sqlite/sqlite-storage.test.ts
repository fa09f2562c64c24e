/** SQLite: everything that a storage has to do, and what is durable when the disk is full or a batch is lost. */
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import BetterSqlite3 from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import { newContributor } from '../../record/accounts.ts';
import { temporaryFolder } from '../../testing/harness.ts';
import { cidOf, hex, job, unit } from '../../testing/units.ts';
import { addJob, agree, granted, lease, storageCompliance } from '../../testing/storage-compliance.ts';
import type { NewTransfer } from '../../record/rows.ts';
import { calm, type Operation, type View } from '../../record/view.ts';
import type { Storage } from '../port.ts';
import { seal } from '../sql/ledger.ts';
import { migrateToLatest } from '../sql/migrations.ts';
import { SqliteEngine } from './engine.ts';
import { kyselyOn } from './kysely.ts';
import { openSqliteStorage } from './sqlite-storage.ts';
import { Statements } from './statements.ts';
import { SqliteStore } from './store.ts';

const network = hex(1);

describe('as every storage', () => {
  storageCompliance(async () => {
    const path = join(await temporaryFolder(), 'db.sqlite');
    let storage: Storage = await openSqliteStorage({ path, network, flushMs: 1 });
    onTestFinished(() => storage.close());
    return {
      storage,
      async reopen() {
        await storage.close();
        storage = await openSqliteStorage({ path, network: hex(2), flushMs: 1 });
        return storage;
      },
    };
  });
});

async function openEngine(path = ':memory:', sync?: () => Promise<void>) {
  const db = new BetterSqlite3(path);
  db.pragma('journal_mode = WAL');
  await migrateToLatest(kyselyOn(db), 'sqlite');
  const store = new SqliteStore(new Statements(db), calm);
  const engine = new SqliteEngine(db, store, {
    // The tables follow when a test says so, however slow the machine.
    ...{ flushMs: 1, batchMax: 10, settleMs: 600_000, now: () => 7 },
    ...(sync ? { sync } : {}),
  });
  const count = (table: string) => {
    engine.settle();
    return db.prepare(`SELECT count(*) FROM ${table}`).pluck().get();
  };
  return { db, store, engine, count };
}

const putContributor = (who: number, device = ''): Operation<void> => ({
  hints: {},
  run: (view) => view.put('contributors', { ...newContributor(hex(who, 20), 1), device }),
});

describe('a batch', () => {
  test('loses nothing by an operation of it that throws, and keeps nothing of that one', async () => {
    const { engine, store, db, count } = await openEngine();
    const failing: Operation<void> = {
      hints: {},
      run(view) {
        view.put('contributors', newContributor(hex(3, 20), 1));
        view.put('contributors', { ...newContributor(hex(1, 20), 1), agreed: 99 });
        view.post({
          ...{ kind: 'earned', debit: 'issued', credit: 'credit:x', amount: 5n },
          ...{ job: null, unit: null, assignment: null, reason: '' },
        });
        view.attach(cidOf('unit'), [cidOf('block')]);
        throw new Error('halfway');
      },
    };
    const operations = [putContributor(1), failing, putContributor(2)];
    const results = await Promise.allSettled(operations.map((operation) => engine.run(operation)));
    expect(results.map((each) => each.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(results[1]).toMatchObject({ reason: { message: 'halfway' } });
    expect([count('contributors'), count('accounts'), count('transfers'), count('outputs')]).toEqual([
      2, 0, 0, 0,
    ]);
    expect(db.prepare('SELECT sum(agreed) FROM contributors').pluck().get()).toBe(0);
    expect([store.contributor(hex(3, 20)), store.account('issued')]).toEqual([null, null]);
  });

  test('that finds the disk full fails for every caller, leaves what was there, and works again with space', async () => {
    const { engine, store, db, count } = await openEngine(join(await temporaryFolder(), 'db.sqlite'));
    await engine.run(putContributor(1));
    engine.settle();
    db.pragma(`max_page_count = ${db.pragma('page_count', { simple: true }) as number}`);
    const big = 'x'.repeat(100_000);
    const results = await Promise.allSettled([2, 3, 4].map((who) => engine.run(putContributor(who, big))));
    for (const each of results) {
      expect(each).toMatchObject({
        status: 'rejected',
        reason: { code: 'storage_failed', retryable: true },
      });
    }
    expect([count('contributors'), store.contributor(hex(2, 20))]).toEqual([1, null]);
    db.pragma('max_page_count = 100000');
    await engine.run(putContributor(2, big));
    expect(store.contributor(hex(2, 20))?.device).toBe(big);
    expect(count('contributors')).toBe(2);
    db.close();
  });

  test('waits for whoever has the connection for itself, and for nobody who comes later', async () => {
    const { engine, count } = await openEngine();
    const order: string[] = [];
    const alone = engine.alone(async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      order.push(`alone ${String(count('contributors'))}`);
      throw new Error('of its own');
    });
    // By then the connection is taken, as a flush would find.
    await Promise.resolve();
    const run = engine.run(putContributor(1)).then(() => order.push('batch'));
    engine.flush();
    expect(count('contributors')).toBe(0);
    const after = engine.alone(async () => void order.push(`after ${String(count('contributors'))}`));
    await expect(alone).rejects.toThrow('of its own');
    await Promise.all([run, after]);
    expect(order).toEqual(['alone 0', 'batch', 'after 1']);
  });

  test('writes rows as often as they are put only once, and reads them as they were written', async () => {
    const { engine, store, db } = await openEngine();
    const operations = Array.from({ length: 5 }, (_, n): Operation<void> => ({
      hints: {},
      run(view) {
        const known = view.device(hex(1, 20), 'gpu') ?? {
          ...{ contributor: hex(1, 20), device: 'gpu', verified: 0, streak: 0, alone: 0, faults: 0 },
          speed: null,
        };
        view.put('devices', { ...known, verified: known.verified + 1, speed: n + 0.5 });
        view.post({
          ...{ kind: 'earned', debit: 'issued', credit: 'credit:x', amount: 2n ** 70n },
          ...{ job: null, unit: null, assignment: null, reason: '' },
        });
      },
    }));
    await Promise.all(operations.map((operation) => engine.run(operation)));
    store.reset();
    engine.settle();
    expect(store.device(hex(1, 20), 'gpu')).toMatchObject({ verified: 5, speed: 4.5 });
    expect(store.account('credit:x')?.balance).toBe(5n * 2n ** 70n);
    expect(store.account('issued')?.balance).toBe(-5n * 2n ** 70n);
    expect(db.prepare('SELECT DISTINCT at, amount FROM transfers').raw().all()).toEqual([
      [7, String(2n ** 70n)],
    ]);
  });
});

describe('a batch that is committed', () => {
  const turn = () => new Promise((resolve) => setTimeout(resolve, 20));

  test('is acknowledged once the log is synced, and never after a sync that failed', async () => {
    const syncs: { done: () => void; failed: (error: Error) => void }[] = [];
    const sync = () => new Promise<void>((done, failed) => syncs.push({ done, failed }));
    const { engine } = await openEngine(':memory:', sync);
    const told: string[] = [];
    const tell = (who: number) =>
      engine.run(putContributor(who)).then(
        () => told.push(`${who} done`),
        (error: { code: string }) => told.push(`${who} ${error.code}`),
      );
    void tell(1);
    await turn();
    void tell(2);
    await turn();
    expect([told, syncs.length]).toEqual([[], 1]);
    // The second batch was committed while the first was synced: it waits for a sync of its own.
    syncs[0]?.done();
    await turn();
    expect([told, syncs.length]).toEqual([['1 done'], 2]);
    const read = engine.durable().then(() => told.push('read'));
    syncs[1]?.done();
    await read;
    expect(told).toEqual(['1 done', '2 done', 'read']);
    await engine.durable();
    expect(syncs.length).toBe(2);
    void tell(3);
    await turn();
    syncs[2]?.failed(new Error('EIO'));
    await turn();
    void tell(4);
    await turn();
    expect(told.slice(3)).toEqual(['3 storage_failed', '4 storage_failed']);
    await expect(engine.durable()).rejects.toMatchObject({ code: 'storage_failed' });
  });

  test('is found in the journal after a crash, whatever of it is in the tables already', async () => {
    const folder = await temporaryFolder();
    const { engine, db } = await openEngine(join(folder, 'db.sqlite'));
    const entry = (agreed: number, amount: bigint): Operation<void> => ({
      hints: {},
      run(view) {
        const known = view.contributor(hex(1, 20)) ?? newContributor(hex(1, 20), 1);
        view.put('contributors', { ...known, agreed, outlawedAt: null });
        view.post({
          ...{ kind: 'earned', debit: 'issued', credit: 'credit:x', amount },
          ...{ job: null, unit: null, assignment: null, reason: '' },
        });
        view.attach(cidOf('unit'), [cidOf('block')]);
        view.publish(cidOf('unit'));
      },
    });
    await engine.run(entry(1, 2n ** 70n));
    engine.settle();
    await engine.run(entry(2, 5n));
    const halfway = db.prepare('SELECT * FROM journal').all() as { changes: string }[];
    engine.settle();
    await engine.run(entry(3, 6n));
    // As if the machine had stopped before the journal was emptied: what is in the tables already comes up once more.
    db.prepare('INSERT INTO journal (id, changes) VALUES (0, ?)').run(halfway[0]?.changes);
    for (const end of ['', '-wal']) {
      await copyFile(join(folder, `db.sqlite${end}`), join(folder, `after.sqlite${end}`));
    }
    expect(db.prepare('SELECT agreed FROM contributors').pluck().get()).toBe(2);
    db.close();
    const after = await openEngine(join(folder, 'after.sqlite'));
    expect(after.count('contributors')).toBe(1);
    const all = (text: string) => after.db.prepare(text).raw().all();
    expect(all('SELECT agreed FROM contributors')).toEqual([[3]]);
    expect(all('SELECT id, amount FROM transfers ORDER BY id')).toEqual([
      [1, String(2n ** 70n)],
      [2, '5'],
      [3, '6'],
    ]);
    expect(all("SELECT balance FROM accounts WHERE id = 'credit:x'")).toEqual([[String(2n ** 70n + 11n)]]);
    expect([after.count('journal'), after.count('blocks')]).toEqual([0, 1]);
  });
});

describe('the tables', () => {
  test('follow for a statement as far as it reads, and wholly before it writes: the journal must not undo that after a crash', async () => {
    const folder = await temporaryFolder();
    const { engine, db } = await openEngine(join(folder, 'db.sqlite'));
    const [agreed, entries] = ['SELECT agreed FROM contributors', 'SELECT count(*) FROM journal'].map(
      (text) => () => db.prepare(text).pluck().get(),
    ) as [() => unknown, () => unknown];
    await engine.run(putContributor(1));
    engine.settleFor('select * from "slots"');
    expect([agreed(), entries()]).toEqual([undefined, 1]);
    engine.settleFor('select * from "slots" inner join "contributors" on true');
    expect([agreed(), entries()]).toEqual([0, 1]);
    const write = 'update "contributors" set "agreed" = 5';
    engine.settleFor(write);
    db.exec(write);
    for (const end of ['', '-wal']) {
      await copyFile(join(folder, `db.sqlite${end}`), join(folder, `after.sqlite${end}`));
    }
    const after = await openEngine(join(folder, 'after.sqlite'));
    expect(after.count('contributors')).toBe(1);
    expect(after.db.prepare('SELECT agreed FROM contributors').pluck().get()).toBe(5);
  });

  test('have the same chain and sums whether transfers are sealed on their way or afterwards', async () => {
    const post = (kind: NewTransfer['kind'], debit: string, credit: string, amount: bigint) => ({
      hints: {},
      run: (view: View) =>
        view.post({
          ...{ kind, debit, credit, amount, job: kind === 'released' ? null : 'job' },
          ...{ unit: 'unit', assignment: hex(9), reason: 'why' },
        }),
    });
    const [ann, bob] = [hex(1, 20), hex(2, 20)];
    const operations = [
      post('earned', 'issued', `escrow:${ann}`, 100n),
      post('earned', 'issued', `credit:${bob}`, 2n ** 70n),
      post('released', `escrow:${ann}`, `credit:${ann}`, 100n),
      post('clawback', `credit:${bob}`, 'forfeit', 2n ** 69n),
      post('fine', `credit:${ann}`, 'forfeit', 7n),
    ];
    const [way, after] = [await openEngine(), await openEngine()];
    for (const { engine } of [way, after]) {
      for (const operation of operations) await engine.run(operation);
    }
    const sealed = () => way.engine.transaction(() => way.store.seal(2));
    after.engine.settle();
    expect(await after.engine.transaction(() => after.store.seal(2))).toBeNull();
    for (const count of [2, 2, 1, 0]) {
      expect(await sealed()).toBe(count);
      expect(await seal(kyselyOn(after.db), 2)).toBe(count);
    }
    way.engine.settle();
    const tablesOf = ({ db }: typeof way) =>
      ['transfers', 'rewards', 'shares'].map((table) => db.prepare(`SELECT * FROM ${table}`).all());
    expect(tablesOf(way)).toEqual(tablesOf(after));
    expect(tablesOf(way).map((rows) => rows.length)).toEqual([5, 2, 2]);
  });
});

describe('rows kept in memory', () => {
  test('say at every moment what the database says, however little is kept', async () => {
    const path = join(await temporaryFolder(), 'db.sqlite');
    const storage = await openSqliteStorage({ path, network, flushMs: 1, keptMax: 2 });
    await addJob(storage);
    for (let n = 0; n < 12; n++) {
      await storage.addUnits(job, [unit(n)], n);
      if (n % 3 > 0) await agree(storage, n);
      else for (const who of [40, 41]) await granted(storage, who + 2 * n, n);
    }
    for (const cid of await storage.agreedUnits()) await storage.accept(cid, 1, [], 20);
    await storage.setActiveJobs([]);
    expect((await lease(storage, 90)).type).toBe('none');
    await storage.setActiveJobs([job]);
    const before = await Promise.all(Array.from({ length: 12 }, (_, n) => storage.unit(unit(n).cid)));
    expect(before.map((record) => record?.phase)).toContain('accepted');
    await storage.close();
    const again = await openSqliteStorage({ path, network });
    expect(await Promise.all(Array.from({ length: 12 }, (_, n) => again.unit(unit(n).cid)))).toEqual(before);
    await again.close();
  });
});

describe('the file', () => {
  test('of a newer version is refused', async () => {
    const path = join(await temporaryFolder(), 'db.sqlite');
    await (await openSqliteStorage({ path, network })).close();
    const db = new BetterSqlite3(path);
    db.pragma('user_version = 999');
    db.close();
    await expect(openSqliteStorage({ path, network })).rejects.toThrow(/newer version/);
  });

  test('that cannot be opened is refused with the remedy', async () => {
    const path = join(await temporaryFolder(), 'nowhere', 'db.sqlite');
    await expect(openSqliteStorage({ path, network })).rejects.toMatchObject({
      code: 'bad_config',
      message: expect.stringContaining('cannot be opened') as string,
    });
  });

  test('keeps its ledger append-only against anybody', async () => {
    const path = join(await temporaryFolder(), 'db.sqlite');
    const storage = await openSqliteStorage({ path, network, flushMs: 1 });
    await addJob(storage);
    await storage.addUnits(job, [unit(0)], 0);
    await agree(storage);
    await storage.accept(unit(0).cid, 1, [], 1);
    await storage.seal(10);
    await storage.close();
    const db = new BetterSqlite3(path);
    expect(() => db.exec('DELETE FROM transfers')).toThrow('append-only');
    expect(() => db.exec("UPDATE transfers SET amount = '1'")).toThrow('append-only');
    expect(() => db.exec("UPDATE transfers SET hash = '0x'")).toThrow('append-only');
    db.close();
  });
});

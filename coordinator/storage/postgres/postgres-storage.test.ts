/** PostgreSQL: everything that a storage has to do, and what several processes on one database do to each other. */
import { describe, expect, onTestFinished, test, type TestContext } from 'vitest';
import { sql } from 'kysely';
import { usePostgres } from '../../testing/services.ts';
import { hex, job, unit } from '../../testing/units.ts';
import { addJob, agree, storageCompliance } from '../../testing/storage-compliance.ts';
import type { Storage } from '../port.ts';
import { kyselyOn } from './kysely.ts';
import { Leadership } from './locks.ts';
import { openPostgresStorage } from './postgres-storage.ts';

const postgres = usePostgres();

async function opener(context: TestContext) {
  const url = await (await postgres(context)).createDatabase();
  const open = async (n: number): Promise<Storage> => {
    const storage = await openPostgresStorage({ url, network: hex(n), flushMs: 1 });
    onTestFinished(() => storage.close());
    return storage;
  };
  return { url, open };
}

describe('as every storage', () => {
  storageCompliance(async (context) => {
    const { open } = await opener(context);
    let storage = await open(1);
    return {
      storage,
      async reopen() {
        await storage.close();
        storage = await open(2);
        return storage;
      },
    };
  });
});

describe('several processes', () => {
  test('opened at once, they share one network, its secret and its record', async (context) => {
    const { open } = await opener(context);
    const storages = await Promise.all([1, 2, 3].map(open));
    const [first, second] = storages as [Storage, Storage];
    expect(new Set(storages.map((storage) => storage.network)).size).toBe(1);
    expect(new Set(storages.map((storage) => storage.secret)).size).toBe(1);
    await addJob(first);
    await Promise.all(storages.map((storage) => storage.addUnits(job, [unit(0)], 0)));
    await agree(second);
    expect(await first.agreedUnits()).toEqual([unit(0).cid]);
    const accepted = await Promise.all(storages.map((storage) => storage.accept(unit(0).cid, 1, [], 9)));
    expect(accepted.map(({ ok }) => ok).sort()).toEqual([false, false, true]);
    await Promise.all(storages.map((storage) => storage.seal(100)));
    expect(await first.seal(100)).toBe(0);
    expect(await first.contributor(hex(1, 20))).toMatchObject({ agreed: 1 });
  });

  test('that close a round at once pay its bonus once', async (context) => {
    const { open } = await opener(context);
    const storages = await Promise.all([1, 2, 3].map(open));
    const [first] = storages as [Storage];
    await addJob(first);
    await first.addUnits(job, [unit(0)], 0);
    await agree(first);
    await first.accept(unit(0).cid, 1, [], 9);
    for (let round = 1; round <= 10; round++) {
      const gain = { job, round, units: [unit(0).cid], before: 2, after: 1 };
      const paid = await Promise.all(storages.map((storage) => storage.bonus(gain)));
      expect(paid.map((earned) => earned.length).toSorted()).toEqual([0, 0, 2]);
    }
  });

  test('the climate is that of all together, and forgets who left', async (context) => {
    const { open } = await opener(context);
    const [first, second] = (await Promise.all([1, 2].map(open))) as [Storage, Storage];
    const present = (n: number, prefix: string) => ({ contributor: hex(n, 20), device: '', prefix });
    await first.survey([present(1, 'a'), present(2, 'b')], 0);
    expect(await second.survey([present(3, 'b'), present(4, '')], 0)).toMatchObject({
      online: 4,
      prefixesOnline: 2,
    });
    await second.close();
    expect(await first.survey([present(1, 'a')], 0)).toMatchObject({ online: 1, prefixesOnline: 1 });
  });

  test('one of them leads; when it goes, another does', async (context) => {
    const { url } = await opener(context);
    const [first, second] = [new Leadership(url, 'anchoring'), new Leadership(url, 'anchoring')];
    onTestFinished(async () => void (await Promise.all([first.close(), second.close()])));
    expect(await first.isLeader()).toBe(true);
    expect(await second.isLeader()).toBe(false);
    expect(await first.isLeader()).toBe(true);
    await first.close();
    expect(await first.isLeader()).toBe(false);
    while (!(await second.isLeader())) await new Promise((resolve) => setTimeout(resolve, 10));
  });

  test('a database that is not there is named as the fault, its password is not', async () => {
    const url = 'postgres://atoll:hush-hush@127.0.0.1:9/none';
    const opening = openPostgresStorage({ url, network: hex(1) });
    await expect(opening).rejects.toMatchObject({ code: 'bad_config', message: /DATABASE_URL/ });
    await expect(opening).rejects.not.toThrow(/hush/);
  });
});

test('a connection that breaks between two queries of a transaction fails that transaction, not the process', async (context) => {
  const { url } = await opener(context);
  const db = kyselyOn(url);
  onTestFinished(() => db.destroy());
  const broken = db.transaction().execute(async (trx) => {
    const { rows } = await sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`.execute(trx);
    await sql`SELECT pg_terminate_backend(${rows[0]?.pid})`.execute(db);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await sql`SELECT 1`.execute(trx);
  });
  await expect(broken).rejects.toThrow();
  expect((await sql<{ one: number }>`SELECT 1 AS one`.execute(db)).rows).toEqual([{ one: 1 }]);
});

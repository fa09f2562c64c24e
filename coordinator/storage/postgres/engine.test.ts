/** The engine on a real PostgreSQL: a unit's life, isolation of operations and batches, and what becomes of callers when the database goes. */
import { describe, expect, onTestFinished, test, type TestContext } from 'vitest';
import type { PostgresServer } from '#scripts/services/postgres.ts';
import { sql } from 'kysely';
import type { Hex } from 'viem';
import { newContributor } from '../../record/accounts.ts';
import { createRecord } from '../../record/record.ts';
import { defaultRecordRules } from '../../record/rules.ts';
import type { NewTransfer, ReplicaRow, UnitRow } from '../../record/rows.ts';
import { calm, type Operation, type View } from '../../record/view.ts';
import { usePostgres } from '../../testing/services.ts';
import { hex, job, planned, programs } from '../../testing/units.ts';
import { migrateToLatest } from '../sql/migrations.ts';
import { type EngineOptions, PostgresEngine } from './engine.ts';
import { kyselyOn } from './kysely.ts';

const postgres = usePostgres();

const plan = (units: readonly UnitRow[]): Operation<void> => ({
  hints: { units: units.map((unit) => unit.cid) },
  run: (view) => {
    for (const unit of units) view.put('units', unit);
  },
});

function replicaOf(unit: string, assignment: Hex): ReplicaRow {
  const who = hex(9, 20);
  return {
    ...{ assignment, unit, attempt: 1, purpose: 'vote', contributor: who, owner: who, prefix: '' },
    ...{ device: '', vendor: '', weight: 1, state: 'leased', leasedAt: 0, deadline: 10, commitment: null },
    ...{ commitSignature: null, salt: null, digest: null, result: null, revealSignature: null },
    ...{ credit: 0n, settledAt: null },
  };
}

const transfer = (amount: bigint, credit = 'credit:x'): NewTransfer => ({
  ...{ kind: 'earned', debit: 'issued', credit, amount },
  ...{ job, unit: null, assignment: null, reason: 'a test' },
});

async function rig(context: TestContext, options: Partial<EngineOptions> = {}) {
  const server = await postgres(context);
  const url = await server.createDatabase();
  const db = kyselyOn(url);
  onTestFinished(() => db.destroy());
  await migrateToLatest(db, 'postgres');
  const open = async (own: Partial<EngineOptions> = {}) => {
    const engine = await PostgresEngine.open({ url, climate: () => calm, ...options, ...own });
    onTestFinished(() => engine.close());
    return engine;
  };
  return { server, db, open, engine: await open() };
}

async function lease(engine: PostgresEngine, who: number, assignment: Hex, now = 0) {
  const record = createRecord(engine, defaultRecordRules, () => 7);
  const contributor = hex(who, 20);
  const request = { contributor, programs, assignment, random: who * 0x1234567, now };
  return record.lease({ ...request, online: 2, held: null });
}

describe('operations', () => {
  test('a unit from lease to credit; every row is as it was put', async (context) => {
    const { engine, db } = await rig(context);
    const record = createRecord(engine, defaultRecordRules, () => 7);
    const unit = planned(0);
    await engine.run(plan([unit]));
    const held: { assignment: Hex; contributor: Hex; signature: Hex; now: number }[] = [];
    for (const who of [1, 2]) {
      const contributor = hex(who, 20);
      await record.greet(contributor, 0);
      expect((await lease(engine, who, hex(100 + who))).type).toBe('lease');
      expect((await lease(engine, who, hex(200 + who))).type).toBe('none');
      held.push({ assignment: hex(100 + who), contributor, signature: hex(0), now: 1 });
    }
    for (const each of held)
      expect(await record.commit({ ...each, commitment: hex(5) })).toMatchObject({ ok: true });
    const result = Uint8Array.of(1, 0, 255);
    const reveals = held.map((each) => record.reveal({ ...each, salt: hex(6), digest: job, result }));
    for (const revealed of await Promise.all(reveals)) expect(revealed).toMatchObject({ ok: true });
    const accepted = await record.accept(unit.cid, 1, [job], 9);
    expect(accepted.ok && accepted.verdicts.map((verdict) => verdict.outcome)).toEqual(['agreed', 'agreed']);
    const row = await engine.run({ hints: { units: [unit.cid] }, run: (view) => view.unit(unit.cid) });
    expect(row).toEqual({ ...unit, ...row, phase: 'accepted', result, acceptedAt: 9 });
    const count = async (table: 'outputs' | 'blocks') =>
      Number(
        (await sql<{ n: number }>`SELECT count(*) AS n FROM ${sql.table(table)}`.execute(db)).rows[0]?.n,
      );
    expect(await count('blocks')).toBe(0);
    await record.unseal([unit.cid]);
    expect(await count('blocks')).toBe(1);
    const sums = await sql<{ sum: string }>`SELECT sum(balance) FROM accounts`.execute(db);
    expect(sums.rows).toEqual([{ sum: '0' }]);
  });

  test('one that throws leaves nothing, and takes nothing else of its batch with it', async (context) => {
    const { engine } = await rig(context);
    const unit = planned(0);
    await engine.run(plan([unit]));
    const fail: Operation<void> = {
      hints: { units: [unit.cid] },
      run(view) {
        view.put('units', { ...unit, wanted: 0, reason: 'half done' });
        view.put('contributors', newContributor(hex(1, 20), 0));
        view.post(transfer(5n));
        view.attach(unit.cid, [job]);
        view.publish(unit.cid);
        throw new Error('halfway');
      },
    };
    const pay: Operation<void> = { hints: {}, run: (view) => view.post(transfer(7n)) };
    const outcomes = await Promise.allSettled([engine.run(pay), engine.run(fail), engine.run(pay)]);
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    const after = await engine.run({
      hints: {},
      run: (view) => [view.unit(unit.cid), view.contributor(hex(1, 20)), view.account('credit:x')],
    });
    expect(after).toEqual([unit, null, { id: 'credit:x', balance: 14n }]);
  });

  test('data that the database refuses fails the operation that brought it, and no other', async (context) => {
    const { engine } = await rig(context);
    await engine.run(plan([0, 1, 2].map(planned)));
    const reasons = ['a "quoted" \\ word', 'a\u0000b', 'é€😀'];
    const note = (n: number): Operation<void> => ({
      hints: { units: [planned(n).cid] },
      run(view) {
        view.put('units', { ...(view.unit(planned(n).cid) as UnitRow), reason: reasons[n] as string });
      },
    });
    const outcomes = await Promise.allSettled([0, 1, 2].map((n) => engine.run(note(n))));
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    const read = (view: View) => [0, 1, 2].map((n) => view.unit(planned(n).cid)?.reason);
    expect(await engine.run({ hints: {}, run: read })).toEqual([reasons[0], planned(1).reason, reasons[2]]);
  });

  test('rows that no hint named are loaded when they are read', async (context) => {
    const { engine } = await rig(context);
    const units = [planned(0), planned(1), planned(2)];
    await engine.run(plan(units));
    const walk: Operation<number> = {
      hints: {},
      run: (view) =>
        units.filter((unit) => view.unit(unit.cid) && view.replicas(unit.cid).length === 0).length,
    };
    expect(await Promise.all([engine.run(walk), engine.run(walk)])).toEqual([3, 3]);
  });
});

describe('searches', () => {
  test('work: up to so many units that want a replica and are not paused', async (context) => {
    const { engine } = await rig(context);
    const units = Array.from({ length: 200 }, (_, n) => planned(n));
    units[3] = { ...(units[3] as UnitRow), paused: true };
    units[4] = { ...(units[4] as UnitRow), wanted: 0 };
    await engine.run(plan(units));
    const look = (window: number, most: number, random: number): Operation<readonly string[]> => ({
      hints: { search: { kind: 'work', contributor: hex(1, 20), owner: hex(1, 20), random, window, most } },
      run: (_view, offered) => offered,
    });
    const first = await engine.run(look(5, 16, 0));
    expect([...first].sort()).toEqual([0, 1, 2, 5, 6].map((n) => planned(n).cid).sort());
    const seen = new Set<string>();
    for (let i = 0; i < 60; i++) {
      const offered = await engine.run(look(100, 16, (i / 60) * 2 ** 32));
      expect(offered.length).toBeLessThanOrEqual(16);
      for (const cid of offered) seen.add(cid);
    }
    const window = units.filter((unit) => unit.wanted > 0 && !unit.paused).slice(0, 100);
    expect(window.every((unit) => seen.has(unit.cid))).toBe(true);
    expect(seen.size).toBeLessThan(120);
  });

  test('due: the most overdue first, and what another transaction has in hand is left out', async (context) => {
    const { engine, db } = await rig(context);
    await engine.run(plan([0, 1, 2, 3].map((n) => ({ ...planned(n), dueAt: 10 - n }))));
    const look: Operation<readonly string[]> = {
      hints: { search: { kind: 'due', before: 10, most: 2 } },
      run: (_view, offered) => offered,
    };
    expect(await engine.run(look)).toEqual([planned(3).cid, planned(2).cid]);
    await db.transaction().execute(async (transaction) => {
      await sql`SELECT 1 FROM units WHERE cid = ${planned(3).cid} FOR UPDATE`.execute(transaction);
      expect(await engine.run(look)).toEqual([planned(2).cid, planned(1).cid]);
    });
  });
});

describe('several engines on one database', () => {
  test('increments through all of them add up, whatever rows they meet on', async (context) => {
    const { engine, open } = await rig(context, { flushMs: 1, batchMax: 8 });
    const engines = [engine, await open(), await open()];
    const units = [0, 1, 2, 3, 4].map(planned);
    await engine.run(plan(units));
    const bump = (n: number, hinted: boolean): Operation<void> => {
      const cids = [0, 1, 2].map((i) => units[(n * 3 + i * 2) % 5]?.cid as string);
      const who = hex(n % 4, 20);
      return {
        hints: hinted ? { units: cids, contributors: [who] } : {},
        run(view: View) {
          for (const cid of cids) {
            const row = view.unit(cid) as UnitRow;
            view.put('units', { ...row, splits: row.splits + 1 });
          }
          const row = view.contributor(who) ?? newContributor(who, 0);
          view.put('contributors', { ...row, agreed: row.agreed + 1 });
          view.post(transfer(1n, `credit:${who}`));
        },
      };
    };
    const runs = Array.from({ length: 300 }, (_, n) => engines[n % 3]?.run(bump(n, n % 5 !== 0)));
    await Promise.all(runs);
    const read = await engine.run({
      hints: {},
      run: (view) => ({
        splits: units.map((unit) => view.unit(unit.cid)?.splits ?? 0).reduce((sum, each) => sum + each),
        agreed: [0, 1, 2, 3].map((n) => view.contributor(hex(n, 20))?.agreed),
        issued: view.account('issued')?.balance,
      }),
    });
    expect(read).toEqual({ splits: 900, agreed: [75, 75, 75, 75], issued: -300n });
  });
});

describe('what an engine knows', () => {
  /** A unit and a contributor that both engines have worked on, so that both have them in hand. */
  async function shared(context: TestContext) {
    const { engine, open } = await rig(context);
    const other = await open();
    const who = hex(1, 20);
    await engine.run(plan([planned(0)]));
    const greet: Operation<void> = {
      hints: { contributors: [who] },
      run: (view) => view.put('contributors', newContributor(who, 0)),
    };
    await engine.run(greet);
    const bump: Operation<number> = {
      hints: { units: [planned(0).cid], contributors: [who] },
      run(view) {
        const unit = view.unit(planned(0).cid) as UnitRow;
        const row = view.contributor(who) ?? newContributor(who, 0);
        view.put('units', { ...unit, splits: unit.splits + 1 });
        view.put('contributors', { ...row, agreed: row.agreed + 1 });
        return row.agreed;
      },
    };
    return { engine, other, bump, who };
  }

  test('is compared with the database when it writes: what another wrote since is not lost', async (context) => {
    const { engine, other, bump, who } = await shared(context);
    for (let i = 0; i < 6; i++) expect(await (i % 2 ? other : engine).run(bump)).toBe(i);
    // Without a hint nothing is looked at before: only the statement that writes can tell.
    const blind = { ...bump, hints: {} };
    for (let i = 6; i < 12; i++) expect(await (i % 2 ? other : engine).run(blind)).toBe(i);
    const splits = (view: View) => [view.unit(planned(0).cid)?.splits, view.contributor(who)?.agreed];
    expect(await engine.run({ hints: {}, run: splits })).toEqual([12, 12]);
  });

  test('a replica that another wrote is seen, though its unit is known', async (context) => {
    const { engine, other } = await shared(context);
    const record = createRecord(other, defaultRecordRules, () => 7);
    const read: Operation<string | undefined> = {
      hints: {},
      run: (view) => view.replicas(planned(0).cid)[0]?.state,
    };
    expect(await engine.run(read)).toBeUndefined();
    await lease(other, 1, hex(101));
    expect(await engine.run(read)).toBe('leased');
    const [assignment, contributor] = [hex(101), hex(1, 20)];
    await record.commit({ assignment, contributor, commitment: hex(5), signature: hex(0), now: 1 });
    expect(await engine.run(read)).toBe('committed');
  });

  test('each process is shown its slice of the work, and another slice of what somebody has begun', async (context) => {
    const { engine, open } = await rig(context);
    const units = Array.from({ length: 96 }, (_, n) => planned(n));
    await engine.run(plan(units));
    const look: Operation<readonly string[]> = {
      hints: {
        search: { kind: 'work', contributor: hex(1, 20), owner: hex(1, 20), random: 0, window: 96, most: 96 },
      },
      run: (_view, offered) => offered,
    };
    const slices = [0, 1].map((index) => open({ slice: () => ({ index, count: 2 }) }));
    const [one, other] = (await Promise.all(slices)) as [PostgresEngine, PostgresEngine];
    const before = await one.run(look);
    for (const [n, { cid }] of units.slice(0, 48).entries()) {
      const begin: Operation<void> = {
        hints: { units: [cid] },
        run: (view) => view.put('replicas', replicaOf(cid, hex(n))),
      };
      await (before.includes(cid) ? one : other).run(begin);
    }
    await new Promise((resolve) => setTimeout(resolve, 250)); // what a process has seen of the queue is fresh for so long
    const [first, second] = await Promise.all([one.run(look), other.run(look)]);
    expect(first.filter((cid) => second.includes(cid))).toEqual([]);
    expect(new Set([...first, ...second]).size).toBe(96);
    const begun = new Set<string>(units.slice(0, 48).map((unit) => unit.cid));
    // Who is shown a unit that one process has begun does not depend on which.
    for (const shown of [first, second]) {
      expect(shown.some((cid) => begun.has(cid) && before.includes(cid))).toBe(true);
      expect(shown.some((cid) => begun.has(cid) && !before.includes(cid))).toBe(true);
      expect(shown.filter((cid) => !begun.has(cid))).toEqual(
        units
          .map(({ cid }) => cid)
          .filter((cid) => !begun.has(cid) && before.includes(cid) === (shown === first)),
      );
    }
    let all: readonly string[] = [];
    while (![...begun].every((cid) => all.includes(cid))) {
      await new Promise((resolve) => setTimeout(resolve, 250));
      all = await one.run(look);
    }
  });

  test('who finds nothing in the slice of its process is shown all', async (context) => {
    const { engine, open } = await rig(context);
    const units = Array.from({ length: 16 }, (_, n) => planned(n));
    await engine.run(plan(units));
    const one = await open({ slice: () => ({ index: 0, count: 2 }) });
    const search = {
      kind: 'work',
      contributor: hex(1, 20),
      owner: hex(1, 20),
      window: 16,
      most: 16,
    } as const;
    let turns = 0;
    const look: Operation<readonly string[]> = {
      hints: { search: { ...search, random: 0 } },
      run(view, offered) {
        turns++;
        for (const cid of offered) view.unit(cid);
        return offered;
      },
    };
    expect((await one.run(look)).length).toBe(16);
    expect(turns).toBe(2);
  });
});

describe('a database that goes', () => {
  async function outage(server: PostgresServer, engine: PostgresEngine) {
    const unit = { ...planned(0) };
    await engine.run(plan([unit]));
    let acknowledged = 0;
    const failures: unknown[] = [];
    const bump: Operation<void> = {
      hints: { units: [unit.cid] },
      run(view) {
        const row = view.unit(unit.cid) as UnitRow;
        view.put('units', { ...row, splits: row.splits + 1 });
      },
    };
    let stop = false;
    const workers = Array.from({ length: 8 }, async () => {
      while (!stop) {
        await engine.run(bump).then(
          () => acknowledged++,
          (error: unknown) => failures.push(error),
        );
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    });
    while (acknowledged < 20) await new Promise((resolve) => setTimeout(resolve, 5));

    await server.halt('crash');

    await server.resume();

    const before = acknowledged;
    while (acknowledged < before + 20) await new Promise((resolve) => setTimeout(resolve, 5));
    stop = true;
    await Promise.all(workers);
    const splits = await engine.run({ hints: {}, run: (view) => view.unit(unit.cid)?.splits as number });
    return { acknowledged, failures, splits };
  }

  test('callers are told to try again, it goes on by itself, and nothing acknowledged is lost', async (context) => {
    const states: boolean[] = [];
    const { server, engine } = await rig(context, { onState: (connected) => states.push(connected) });
    const { acknowledged, failures, splits } = await outage(server, engine);
    expect(failures.length).toBeGreaterThan(0);
    for (const failure of failures)
      expect(failure).toMatchObject({ code: 'storage_failed', retryable: true });
    // A commit whose answer was lost may have happened; one that was answered has.
    expect(splits).toBeGreaterThanOrEqual(acknowledged);
    expect(splits).toBeLessThanOrEqual(acknowledged + failures.length);
    expect(states).toEqual([true, false, true]);
  });
});

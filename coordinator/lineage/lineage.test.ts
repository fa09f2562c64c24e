/** Lineage, over memory and both databases: every checkpoint leads back to the data, page by page, and what was overturned shows. */
import { describe, expect, test, type TestContext } from 'vitest';
import type { Cid } from '#protocol/codec/cid.ts';
import { type Lineage, lineageSchema } from '#protocol/http/ledger.ts';
import { decodeWorkunit } from '#protocol/messages/workunit.ts';
import * as v from 'valibot';
import { lineageSource } from '../storage/sql/lineage.ts';
import type { Db } from '../storage/sql/schema.ts';
import { useDatabases } from '../testing/databases.ts';
import { MemoryBlocks } from '../testing/fake-programs.ts';
import { type History, historyOf, memorySource, storeHistories } from '../testing/lineage-history.ts';
import { lineageOf, type LineageSource } from './lineage.ts';

const open = useDatabases();

async function stored(db: Db, histories: readonly History[]): Promise<LineageSource> {
  await db.transaction().execute((within) => storeHistories(within, histories));
  return lineageSource(db);
}

const sources: Record<string, (of: readonly History[], context: TestContext) => Promise<LineageSource>> = {
  memory: async (histories) => memorySource(histories),
  sqlite: async (histories, context) => stored(await open.sqlite(context), histories),
  postgres: async (histories, context) => stored(await open.postgres(context), histories),
};

const data = { source: 'a book', licence: 'CC0-1.0', quality: 800 };

/** Every page from a checkpoint on. */
async function walk(from: Cid, source: LineageSource, depth: number): Promise<Lineage[]> {
  const pages: Lineage[] = [];
  for (let next: Cid | null = from; next; next = (pages.at(-1) as Lineage).next) {
    const page: Lineage = await lineageOf(next, source, { depth });
    pages.push(v.parse(lineageSchema, JSON.parse(JSON.stringify(page))));
    if (pages.length > 50) throw new Error('The walk does not end.');
  }
  return pages;
}

const checkpointOf = (history: History, round: number) => history.rounds[round - 1]?.checkpoint as Cid;

describe.each(Object.keys(sources))('from %s', (name) => {
  const opened = sources[name] as (typeof sources)[string];

  test('pages of any depth walk the same rounds back to the beginning, by the documents themselves', async (context) => {
    const history = await historyOf({ data }, 7);
    const source = await opened([history], context);
    const [whole] = await walk(checkpointOf(history, 7), source, 100);
    expect(whole?.rounds.map(({ round }) => round)).toEqual([7, 6, 5, 4, 3, 2, 1]);
    for (const depth of [1, 3]) {
      const pages = await walk(checkpointOf(history, 7), source, depth);
      expect(pages.length).toBe(Math.ceil(7 / depth));
      expect(pages.flatMap(({ rounds }) => rounds)).toEqual(whole?.rounds);
    }
    let expected = checkpointOf(history, 7);
    for (const { round, checkpoint, parent, outer, lanes } of whole?.rounds ?? []) {
      expect(checkpoint).toBe(expected);
      const units = history.rounds[round - 1]?.units ?? [];
      const inputs = (cid: Cid) =>
        decodeWorkunit(units.find((unit) => unit.cid === cid)?.bytes as Uint8Array).inputs;
      expect(inputs(outer.unit)).toEqual({
        checkpoint: parent,
        ...Object.fromEntries(lanes.map(({ lane, update }) => [`update${lane}`, update])),
      });
      for (const { unit, tokens } of lanes) expect(inputs(unit)).toEqual({ checkpoint: parent, tokens });
      expected = parent;
    }
    expect(expected).toBe(history.initial);
  });

  test('says what the data is, how often it was consumed, and who computed what', async (context) => {
    const history = await historyOf({ data }, 12);
    const page = await lineageOf(checkpointOf(history, 12), await opened([history], context), { depth: 12 });
    // 600 bytes in windows of 4: 145 to train on, 8 a round, so 18 rounds an epoch.
    expect(page.data).toMatchObject({ origin: data, sizeBytes: 600, windows: 145, windowsConsumed: 96 });
    expect(page.data.timesConsumed).toBeCloseTo(96 / 145);
    const [newest] = page.rounds;
    expect(newest?.lanes.map(({ lane, count, pass }) => [lane, count, pass])).toEqual([
      [0, 16, 1],
      [1, 16, 1],
    ]);
    expect(newest?.outer.contributors).toEqual([
      { contributor: `0x${'1'.repeat(40)}`, amount: '10' },
      { contributor: `0x${'2'.repeat(40)}`, amount: '10' },
    ]);
    expect(page.shares.map(({ amount }) => amount)).toEqual(['30', '29', '28']);
    expect(page.overturned).toEqual([]);
  });

  test('shards of a second pass over the data say so', async (context) => {
    const history = await historyOf({}, 19);
    const source = await opened([history], context);
    const page = await lineageOf(checkpointOf(history, 19), source, { depth: 2 });
    expect(page.rounds.map(({ lanes }) => lanes[0]?.pass)).toEqual([2, 1]);
    expect(page.data).toMatchObject({ origin: null, windowsConsumed: 152 });
    expect(page.data.timesConsumed).toBeGreaterThan(1);
  });

  test('a unit that was overturned after its round had closed shows, with what the round had used', async (context) => {
    const history = await historyOf({}, 3);
    const [, second] = history.rounds;
    const lane = second?.units.find((unit) => unit.kind === 'train' && unit.lane === 1);
    const outer = second?.units.find((unit) => unit.kind === 'outer');
    const used = decodeWorkunit(outer?.bytes as Uint8Array).inputs['update1'];
    Object.assign(lane ?? {}, { overturned: true, digest: history.initial });
    const page = await lineageOf(checkpointOf(history, 3), await opened([history], context), { depth: 9 });
    expect(page.overturned).toEqual([2]);
    expect(page.rounds[1]?.lanes.map((of) => [of.lane, of.overturned])).toEqual([
      [0, false],
      [1, true],
    ]);
    expect(page.rounds[1]?.lanes[1]).toMatchObject({ update: used, digest: history.initial });
    expect(page.rounds[0]?.lanes.some((of) => of.overturned)).toBe(false);
  });

  test('goes on into the job whose checkpoint another began with; an initial checkpoint is a page without rounds', async (context) => {
    const blocks = new MemoryBlocks();
    const first = await historyOf({}, 2, blocks);
    const second = await historyOf({ name: 'finer', seed: 8 }, 2, blocks, checkpointOf(first, 2));
    const source = await opened([first, second], context);
    const pages = await walk(checkpointOf(second, 2), source, 10);
    expect(pages.map(({ name: of, rounds }) => [of, rounds.length])).toEqual([
      ['finer', 2],
      ['test', 2],
    ]);
    const origin = await lineageOf(first.initial, source, { depth: 10 });
    expect(origin).toMatchObject({ rounds: [], next: null, data: { windowsConsumed: 0, timesConsumed: 0 } });
  });

  test('what no closed round ended with is not found', async (context) => {
    const history = await historyOf({}, 2);
    const open = checkpointOf(history, 2);
    const source = await opened([{ ...history, rounds: history.rounds.slice(0, 1) }], context);
    await expect(lineageOf(open, source, { depth: 1 })).rejects.toMatchObject({ code: 'not_found' });
    expect((await lineageOf(checkpointOf(history, 1), source, { depth: 1 })).rounds.length).toBe(1);
  });
});

test('a page holds no more units than its limit, however deep it is asked for', async () => {
  const history = await historyOf(
    { training: { ...(await historyOf({}, 1)).job.training, lanes: 15, steps: 1, batch: 1 } },
    30,
  );
  const page = await lineageOf(checkpointOf(history, 30), memorySource([history]), { depth: 1_000 });
  expect(page.rounds.length).toBe(25);
});

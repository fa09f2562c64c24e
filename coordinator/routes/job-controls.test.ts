/** What the owner of a job may do with it after the start, what nobody else may, and what becomes of its work. */
import { join } from 'node:path';
import BetterSqlite3 from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { type Client, createClient } from '#protocol/http/client.ts';
import type { NewJob } from '#protocol/http/accounts.ts';
import type { Coordinator } from '../main.ts';
import { openBlobs } from '../storage/blobs.ts';
import { collectGarbage, defaultGarbageRules } from '../storage/garbage.ts';
import { openSqliteStorage } from '../storage/sqlite/sqlite-storage.ts';
import { temporaryFolder, testContributor, testCoordinator } from '../testing/harness.ts';
import { testText } from '../testing/fake-programs.ts';

const model = { L: 1, C: 8, NH: 1, T: 4, V: 256 };
const training = { lanes: 2, steps: 2, batch: 2, heldOut: 4 };
const day = 24 * 3_600_000;

async function clientOf(
  coordinator: Coordinator,
  scopes: ('jobs' | 'operate')[] = ['jobs'],
): Promise<Client> {
  const { key } = await coordinator.keys.make({ name: 'c', owner: null, scopes });
  return createClient({ base: coordinator.url, key });
}

/** The owner of a key without a wallet is the operator, so strangers are made with one. */
async function stranger(coordinator: Coordinator): Promise<Client> {
  const owner = `0x${'5'.repeat(40)}` as const;
  const { key } = await coordinator.keys.make({ name: 's', owner, scopes: ['jobs'] });
  return createClient({ base: coordinator.url, key });
}

async function started(client: Client, more: Partial<NewJob> = {}): Promise<string> {
  const corpus = await client.call('storeFile', { body: testText() as Uint8Array<ArrayBuffer> });
  const { id } = await client.call('startJob', {
    body: { name: 'a job', model, training, corpus, rounds: 50, ...more },
  });
  return id;
}

function workers(coordinator: Coordinator) {
  return [0, 1].map(() => testContributor(coordinator).start());
}

describe('a budget', () => {
  test('is all that the work of a job earns; only the operator adds to it, and each payment once', async () => {
    const coordinator = await testCoordinator();
    const client = await clientOf(coordinator);
    const id = await started(client, { budget: '5000', rounds: 1 });
    workers(coordinator);
    await coordinator.settled(id, 1);
    expect(await client.call('job', { params: { id } })).toMatchObject({ pool: '0', weight: 1 });
    const body = { amount: '70', reference: 'more' };
    await expect(client.call('fundJob', { params: { id }, body })).rejects.toMatchObject({
      code: 'forbidden',
    });
    const operator = await clientOf(coordinator, ['operate']);
    const fund = () => operator.call('fundJob', { params: { id }, body });
    expect([await fund(), await fund()]).toEqual([
      { id, paid: true, pool: '70' },
      { id, paid: false, pool: '70' },
    ]);
    const seen = async () => (await client.call('ledger', { query: { limit: '200' } })).transfers;
    await expect.poll(async () => (await seen()).filter((t) => t.kind === 'funded').length).toBe(4);
    const earned = (await seen()).filter((t) => t.debit === `pool:${id}`);
    expect(earned.reduce((sum, { amount }) => sum + BigInt(amount), 0n)).toBe(5_000n);
  });

  test('must be a whole number', async () => {
    const coordinator = await testCoordinator();
    const client = await clientOf(coordinator);
    for (const budget of ['0', '-5', '1e9', '1.5', '9'.repeat(31)]) {
      await expect(started(client, { budget }), budget).rejects.toMatchObject({ code: 'bad_request' });
    }
  });
});

describe('whoever started a job', () => {
  test('lets it rest and go on, and gives it less weight, but not more than others', async () => {
    const coordinator = await testCoordinator();
    const client = await clientOf(coordinator);
    const id = await started(client, { weight: 0.5 });
    const change = (body: { weight?: number; paused?: boolean }) =>
      client.call('changeJob', { params: { id }, body });
    expect(await change({ paused: true })).toMatchObject({ state: 'stalled', paused: true, weight: 0.5 });
    const [one] = workers(coordinator);
    await one?.frame('welcome');
    expect(await change({ weight: 0.25, paused: true })).toMatchObject({ paused: true, weight: 0.25 });
    await expect(change({ weight: 2 })).rejects.toMatchObject({ code: 'forbidden' });
    await expect(change({})).rejects.toMatchObject({ code: 'bad_request' });
    expect((await client.call('job', { params: { id } })).unitsAccepted).toBe(0);
    expect(await change({ paused: false })).toMatchObject({ state: 'running', paused: false });
    await coordinator.settled(id, 1);
    const operator = await clientOf(coordinator, ['operate']);
    const heavy = await operator.call('changeJob', { params: { id }, body: { weight: 3 } });
    expect(heavy.weight).toBe(3);
  });

  test('is nobody else; and what is not there cannot be changed', async () => {
    const coordinator = await testCoordinator();
    const id = await started(await clientOf(coordinator));
    const other = await stranger(coordinator);
    const body = { paused: true };
    await expect(other.call('changeJob', { params: { id }, body })).rejects.toMatchObject({
      code: 'forbidden',
    });
    await expect(other.call('cancelJob', { params: { id } })).rejects.toMatchObject({ code: 'forbidden' });
    const none = 'bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm';
    const missing = { code: 'not_found' };
    await expect(other.call('changeJob', { params: { id: none }, body })).rejects.toMatchObject(missing);
    await expect(other.call('cancelJob', { params: { id: none } })).rejects.toMatchObject(missing);
    const nobody = createClient({ base: coordinator.url });
    await expect(nobody.call('cancelJob', { params: { id } })).rejects.toMatchObject({
      code: 'unauthorized',
    });
  });

  test('cancels it: work in hand is void, what is decided is shown, blocks may go, and it can be begun again', async () => {
    const dataDir = await temporaryFolder();
    const coordinator = await testCoordinator({ dataDir });
    const client = await clientOf(coordinator);
    const id = await started(client);
    const helpers = workers(coordinator);
    await coordinator.settled(id, 2);
    await client.call('cancelJob', { params: { id } });
    await client.call('cancelJob', { params: { id } });
    expect(await client.call('job', { params: { id } })).toMatchObject({ state: 'stalled', cancelled: true });
    await expect(client.call('changeJob', { params: { id }, body: { paused: false } })).rejects.toMatchObject(
      { code: 'conflict' },
    );
    const db = new BetterSqlite3(join(dataDir, 'atoll.sqlite'), { readonly: true });
    const undecided = "SELECT count(*) FROM units WHERE phase IN ('revealing', 'agreed')";
    await expect.poll(() => db.prepare(undecided).pluck().get(), { timeout: 20_000 }).toBe(0);
    db.close();
    const { checkpoint } = (await coordinator.status(id)).rounds.at(-1) as { checkpoint: string };
    for (const helper of helpers) helper.stop();
    await coordinator.close();

    const blobs = await openBlobs(join(dataDir, 'blobs'));
    const storage = await openSqliteStorage({ path: join(dataDir, 'atoll.sqlite'), network: '0x' });
    // Nothing of it stays hidden, so the whole ledger can be seen.
    expect(await storage.records.firstUnpublished()).toBeNull();
    const collected = await collectGarbage({ storage, blobs }, Date.now() + 2 * day, defaultGarbageRules);
    expect(collected).toMatchObject({ done: true });
    const { initial } = (await storage.jobs()).find((job) => job.id === id) as { initial: string };
    expect([await blobs.has(checkpoint), await blobs.has(initial)]).toEqual([true, false]);
    await storage.close();

    const second = await testCoordinator({ dataDir });
    const back = await clientOf(second);
    workers(second);
    expect(await started(back)).toBe(id);
    const rounds = (await second.status(id)).rounds.length;
    const status = await second.settled(id, rounds + 2);
    expect(status).toMatchObject({ state: 'running', cancelled: false });
  });
});

/** Wallets, keys, links, files and jobs, over HTTP as a client asks; and each way of getting in without a right to. */
import { join } from 'node:path';
import BetterSqlite3 from 'better-sqlite3';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { describe, expect, test } from 'vitest';
import { createClient } from '#protocol/http/client.ts';
import { decodeJob } from '#protocol/messages/job.ts';
import { signerFromKey } from '#protocol/signer.ts';
import type { Hex } from 'viem';
import type { Coordinator, CoordinatorOptions } from '../main.ts';
import { testJob, testText } from '../testing/fake-programs.ts';
import { temporaryFolder, testContributor, testCoordinator } from '../testing/harness.ts';

const text = () => testText() as Uint8Array<ArrayBuffer>;

function walletOf(coordinator: Coordinator) {
  const account = privateKeyToAccount(generatePrivateKey());
  const client = createClient({ base: coordinator.url });
  return {
    address: account.address.toLowerCase() as Hex,
    client,
    sign: (message: string) => account.signMessage({ message }),
    async key(name = 'laptop') {
      const action = { type: 'key' as const, name };
      const { nonce, message } = await client.call('signIn', { body: { address: account.address, action } });
      return client.call('makeKey', { body: { nonce, signature: await account.signMessage({ message }) } });
    },
  };
}

async function clientOf(coordinator: Coordinator) {
  const { key } = await walletOf(coordinator).key();
  return createClient({ base: coordinator.url, key });
}

/** A clock that a test moves. */
function movableClock() {
  const clock = { offset: 0, now: () => Date.now() + clock.offset };
  return clock;
}

const aJob = (corpus: { size: number; blocks: string[] }, name = 'a job') => {
  const { model, training } = testJob();
  const { lanes, steps, batch, heldOut } = training;
  return { name, model, training: { lanes, steps, batch, heldOut }, corpus, rounds: 1 };
};

describe('sign-in', () => {
  test('makes a key, which is shown once, listed, and ended for ever', async () => {
    const coordinator = await testCoordinator();
    const wallet = walletOf(coordinator);
    const made = await wallet.key('my laptop');
    expect(made).toMatchObject({ owner: wallet.address, name: 'my laptop', scopes: ['jobs'] });
    const client = createClient({ base: coordinator.url, key: made.key });
    const listed = await client.call('keys', {});
    expect(listed.keys.map((key) => key.id)).toEqual([made.id]);
    expect(JSON.stringify(listed)).not.toContain(made.key.slice(-43));
    await client.call('endKey', { params: { id: made.id } });
    await expect(client.call('keys', {})).rejects.toMatchObject({ code: 'unauthorized' });
    await expect(client.call('network', {})).rejects.toMatchObject({ code: 'unauthorized' });
  });

  test('names the host, the wallet and what it is for in the text that is signed', async () => {
    const coordinator = await testCoordinator();
    const wallet = walletOf(coordinator);
    const action = { type: 'key' as const, name: 'x' };
    const { message } = await wallet.client.call('signIn', { body: { address: wallet.address, action } });
    const host = new URL(coordinator.url).host;
    expect(message).toContain(`${host} wants you to sign in with your Ethereum account:`);
    expect(message).toContain(`Make an API key named "x" on the Atoll network ${coordinator.network}.`);
  });

  test('a nonce is good once, for five minutes, for its wallet and its purpose', async () => {
    const clock = movableClock();
    const coordinator = await testCoordinator({ clock });
    const wallet = walletOf(coordinator);
    const stranger = walletOf(coordinator);
    const begin = () =>
      wallet.client.call('signIn', {
        body: { address: wallet.address, action: { type: 'key', name: 'x' } },
      });
    const finish = (nonce: string, signature: Hex) =>
      wallet.client.call('makeKey', { body: { nonce, signature } });

    const used = await begin();
    const signature = await wallet.sign(used.message);
    await finish(used.nonce, signature);
    await expect(finish(used.nonce, signature)).rejects.toMatchObject({ code: 'conflict' });

    const stolen = await begin();
    await expect(finish(stolen.nonce, await stranger.sign(stolen.message))).rejects.toMatchObject({
      code: 'bad_signature',
    });
    // A failed try has used it up: signatures cannot be tried one after the other.
    await expect(finish(stolen.nonce, await wallet.sign(stolen.message))).rejects.toMatchObject({
      code: 'conflict',
    });

    const late = await begin();
    clock.offset = 5 * 60_000 + 1;
    await expect(finish(late.nonce, await wallet.sign(late.message))).rejects.toMatchObject({
      code: 'conflict',
    });

    const other = await begin();
    await expect(
      wallet.client.call('link', {
        body: {
          nonce: other.nonce,
          signature: await wallet.sign(other.message),
          contributorSignature: `0x${'11'.repeat(64)}1b`,
        },
      }),
    ).rejects.toMatchObject({ code: 'conflict' });
  });

  test('asks for the public address where anybody could name another host', async () => {
    const open: Partial<CoordinatorOptions> = { allowedHosts: ['*'] };
    const wallet = walletOf(await testCoordinator(open));
    const body = { address: wallet.address, action: { type: 'key', name: 'x' } } as const;
    await expect(wallet.client.call('signIn', { body })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('ATOLL_PUBLIC_URL') as string,
    });
    const named = walletOf(await testCoordinator({ ...open, publicUrl: 'https://atoll.example/x' }));
    const { message } = await named.client.call('signIn', { body: { ...body, address: named.address } });
    expect(message).toContain('atoll.example wants you');
    expect(message).toContain('URI: https://atoll.example');
  });

  test('on a public server only admitted wallets get keys', async () => {
    const publicUrl = 'https://atoll.example';
    const closed = walletOf(await testCoordinator({ allowedHosts: ['*'], publicUrl }));
    await expect(closed.key()).rejects.toMatchObject({ code: 'forbidden' });
    const folder = await temporaryFolder();
    const admitted: string[] = [];
    const coordinator = await testCoordinator({
      ...{ allowedHosts: ['*'], publicUrl, dataDir: folder },
      clients: ['*'],
    });
    const wallet = walletOf(coordinator);
    admitted.push(wallet.address);
    expect((await wallet.key()).owner).toBe(admitted[0]);
  });
});

describe('keys', () => {
  test('of the operator may see the metrics of a public server, others may not', async () => {
    const coordinator = await testCoordinator({ allowedHosts: ['*'], clients: ['*'] });
    const status = async (key?: string) =>
      (
        await createClient({ base: coordinator.url, ...(key === undefined ? {} : { key }) }).send(
          'prometheus',
          {},
        )
      ).status;
    expect(await status()).toBe(401);
    const client = await coordinator.keys.make({ name: 'c', owner: null, scopes: ['jobs'] });
    expect(await status(client.key)).toBe(403);
    const operator = await coordinator.keys.make({ name: 'o', owner: null, scopes: ['operate'] });
    expect(await status(operator.key)).toBe(200);
  });

  test('run out, and one wallet’s are nobody else’s to see or to end', async () => {
    const clock = movableClock();
    const coordinator = await testCoordinator({ clock });
    const mine = await walletOf(coordinator).key();
    const yours = createClient({ base: coordinator.url, key: (await walletOf(coordinator).key()).key });
    await expect(yours.call('endKey', { params: { id: mine.id } })).rejects.toMatchObject({
      code: 'not_found',
    });
    expect((await yours.call('keys', {})).keys.map((key) => key.id)).not.toContain(mine.id);
    const short = await coordinator.keys.make({
      ...{ name: 's', owner: null, scopes: [] },
      expiresAt: clock.now() + 1_000,
    });
    expect(await coordinator.keys.find(short.key)).not.toBeNull();
    clock.offset = 2_000;
    expect(await coordinator.keys.find(short.key)).toBeNull();
  });

  test('with one character changed are none', async () => {
    const coordinator = await testCoordinator();
    const { key } = await walletOf(coordinator).key();
    for (let at = 0; at < key.length; at++) {
      const other = key[at] === 'a' ? 'b' : 'a';
      const changed = key.slice(0, at) + other + key.slice(at + 1);
      expect(await coordinator.keys.find(changed), changed).toBeNull();
    }
    expect(await coordinator.keys.find(key)).not.toBeNull();
  });
});

test('what has run out is removed when something new is kept', async () => {
  const clock = movableClock();
  const dataDir = await temporaryFolder();
  const coordinator = await testCoordinator({ clock, dataDir });
  const wallet = walletOf(coordinator);
  const begin = () =>
    wallet.client.call('signIn', { body: { address: wallet.address, action: { type: 'key', name: 'x' } } });
  for (let i = 0; i < 5; i++) await begin();
  const db = new BetterSqlite3(join(dataDir, 'atoll.sqlite'), { readonly: true });
  const kept = () => db.prepare("SELECT count(*) FROM shelf WHERE kind = 'nonce'").pluck().get();
  expect(kept()).toBe(5);
  clock.offset = 6 * 60_000;
  await begin();
  await expect.poll(kept).toBe(1);
  db.close();
});

describe('a link', () => {
  async function linked(behaviour: { signedBy?: Hex } = {}) {
    const coordinator = await testCoordinator();
    const wallet = walletOf(coordinator);
    const key = generatePrivateKey();
    const signer = signerFromKey(key);
    const contributor = signer.address;
    await testContributor(coordinator, {}, key).start().frame('welcome');
    const action = { type: 'link' as const, contributor };
    const { nonce, message } = await wallet.client.call('signIn', {
      body: { address: wallet.address, action },
    });
    const other = behaviour.signedBy ? signerFromKey(behaviour.signedBy) : signer;
    const contributorSignature = await other.sign(coordinator.network, 'Link', {
      ...{ contributor, wallet: wallet.address, nonce: `0x${nonce}` },
    });
    const body = { nonce, signature: await wallet.sign(message), contributorSignature };
    return { coordinator, wallet, contributor, answer: wallet.client.call('link', { body }) };
  }

  test('is signed by both', async () => {
    const { answer, wallet, contributor } = await linked();
    expect(await answer).toEqual({ wallet: wallet.address, contributor });
  });

  test('is refused when the contributor did not sign it', async () => {
    const { answer } = await linked({ signedBy: generatePrivateKey() });
    await expect(answer).rejects.toMatchObject({ code: 'bad_signature' });
  });
});

describe('a client', () => {
  test('stores a text, starts a job on it, and sees it trained', async () => {
    const coordinator = await testCoordinator();
    const client = await clientOf(coordinator);
    const corpus = await client.call('storeFile', { body: text() });
    expect(corpus.size).toBe(text().byteLength);
    const response = await client.send('startJob', { body: aJob(corpus) });
    const { id } = (await response.json()) as { id: string };
    expect(response.status).toBe(201);
    expect(response.headers.get('location')).toBe(`/v1/jobs/${id}`);
    for (let i = 0; i < 2; i++) testContributor(coordinator).start();
    await coordinator.settled(id, 1);
    expect(await client.call('job', { params: { id } })).toMatchObject({ state: 'done', name: 'a job' });
    expect((await client.call('jobRounds', { params: { id } })).rounds).toHaveLength(1);
  });

  test('finds its job going on after a restart, for as many rounds as it asked for', async () => {
    const dataDir = await temporaryFolder();
    const first = await testCoordinator({ dataDir });
    const client = await clientOf(first);
    const corpus = await client.call('storeFile', { body: text() });
    const { id } = await client.call('startJob', { body: aJob(corpus) });
    await first.close();
    const second = await testCoordinator({ dataDir });
    // As `npm start` does with the job of its options: others rest, but for those of clients.
    const own = await second.ensureJob(testJob({}, 'own'), testText(), { alone: true, stopAfterRounds: 1 });
    for (let i = 0; i < 2; i++) testContributor(second).start();
    await Promise.all([second.settled(id, 1), second.settled(own, 1)]);
    expect(await second.status(id)).toMatchObject({ state: 'done', rounds: [{ round: 1 }], units: [] });
  });

  test('cannot start what it has not stored, what is no text, and what is too large', async () => {
    const coordinator = await testCoordinator();
    const client = await clientOf(coordinator);
    const corpus = await client.call('storeFile', { body: text() });
    const start = (body: ReturnType<typeof aJob>) => client.call('startJob', { body });
    // Blocks that exist, but not as a stored file: this could be a result that is not published yet.
    const [secret] = (await client.call('storeFile', { body: new Uint8Array([65, 66]) })).blocks;
    await expect(start(aJob({ size: 3, blocks: [secret as string] }))).rejects.toMatchObject({
      code: 'bad_input',
    });
    const huge = { L: 96, C: 8192, NH: 64, T: 4096, V: 256 };
    await expect(start({ ...aJob(corpus), model: huge })).rejects.toMatchObject({ code: 'bad_input' });
    for (const bytes of [new Uint8Array(0), new Uint8Array([0xff, 0xfe]), new Uint8Array([0xc3])]) {
      await expect(client.call('storeFile', { body: bytes })).rejects.toMatchObject({ code: 'bad_input' });
    }
    const wrong = { ...aJob(corpus), rounds: 0 };
    await expect(start(wrong)).rejects.toMatchObject({ code: 'bad_request' });
    const tiny = { ...aJob(corpus), training: { ...aJob(corpus).training, heldOut: 65_536 } };
    await expect(start(tiny)).rejects.toMatchObject({ code: 'bad_input' });
  });

  test('cannot take over a job of the operator’s, nor shorten one that is going', async () => {
    const coordinator = await testCoordinator();
    const client = await clientOf(coordinator);
    const corpus = await client.call('storeFile', { body: text() });
    const wanted = aJob(corpus);
    const { id } = await client.call('startJob', { body: { ...wanted, rounds: 3 } });
    expect(await client.call('startJob', { body: { ...wanted, rounds: 1 } })).toEqual({ id });
    for (let i = 0; i < 2; i++) testContributor(coordinator).start();
    await coordinator.settled(id, 3);
    const other = await testCoordinator();
    const document = await client.send('block', { params: { cid: id } });
    await other.ensureJob(decodeJob(new Uint8Array(await document.arrayBuffer())), text());
    const stranger = await clientOf(other);
    await stranger.call('storeFile', { body: text() });
    await expect(stranger.call('startJob', { body: wanted })).rejects.toMatchObject({ code: 'conflict' });
  });

  test('has room for four jobs', async () => {
    const coordinator = await testCoordinator();
    const client = await clientOf(coordinator);
    const corpus = await client.call('storeFile', { body: text() });
    for (let i = 0; i < 4; i++) await client.call('startJob', { body: aJob(corpus, `job ${i}`) });
    await expect(client.call('startJob', { body: aJob(corpus, 'job 4') })).rejects.toMatchObject({
      code: 'conflict',
    });
    const { jobs, next } = await client.call('jobs', { query: { limit: '3' } });
    expect(jobs.map((job) => job.name)).toEqual(['job 3', 'job 2', 'job 1']);
    const rest = await client.call('jobs', { query: { limit: '3', cursor: next as string } });
    expect(rest.jobs.map((job) => job.name)).toEqual(['job 0']);
    expect(rest.next).toBeNull();
  });

  test('without the scope cannot', async () => {
    const coordinator = await testCoordinator();
    const { key } = await coordinator.keys.make({ name: 'o', owner: null, scopes: ['operate'] });
    const client = createClient({ base: coordinator.url, key });
    await expect(client.call('storeFile', { body: text() })).rejects.toMatchObject({ code: 'forbidden' });
  });
});

describe('Idempotency-Key', () => {
  test('gives the first answer again, and does nothing twice', async () => {
    const coordinator = await testCoordinator();
    const client = await clientOf(coordinator);
    const send = (idempotencyKey: string, bytes = text()) =>
      client.send('storeFile', { body: bytes, idempotencyKey });
    const first = await send('a');
    const second = await send('a');
    expect(first.headers.get('idempotency-replayed')).toBeNull();
    expect(second.headers.get('idempotency-replayed')).toBe('true');
    expect(second.status).toBe(first.status);
    expect(await second.json()).toEqual(await first.json());
    const other = await send('a', new TextEncoder().encode('another text') as Uint8Array<ArrayBuffer>);
    expect(other.status).toBe(422);
    expect((await send('b')).headers.get('idempotency-replayed')).toBeNull();
    expect((await send('an umlaut: ü')).status).toBe(400);
  });

  test('is each owner’s own, keeps nothing that failed, and lets one of many through', async () => {
    const coordinator = await testCoordinator();
    const [mine, yours] = [await clientOf(coordinator), await clientOf(coordinator)];
    const body = text();
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => mine.send('storeFile', { body, idempotencyKey: 'k' })),
    );
    const fresh = answers.filter(
      (answer) => answer.status === 201 && !answer.headers.has('idempotency-replayed'),
    );
    expect(fresh).toHaveLength(1);
    expect(answers.every((answer) => [201, 409].includes(answer.status))).toBe(true);
    expect(
      (await yours.send('storeFile', { body, idempotencyKey: 'k' })).headers.has('idempotency-replayed'),
    ).toBe(false);
    const bad = new Uint8Array([0xff]);
    expect((await mine.send('storeFile', { body: bad, idempotencyKey: 'f' })).status).toBe(422);
    expect((await mine.send('storeFile', { body: new Uint8Array([65]), idempotencyKey: 'f' })).status).toBe(
      201,
    );
  });
});

/** The gateway as IPFS clients use it: forms, headers, ranges, what is refused, what is not there, and who waits for a neighbour. */
import { CarReader } from '@ipld/car';
import { describe, expect, test } from 'vitest';
import { Hono } from 'hono';
import { cborCode, cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import { codeOf } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import { decodeResult } from '#protocol/messages/workunit.ts';
import type { Coordinator } from '../main.ts';
import { OriginLeases } from '../p2p/origin-leases.ts';
import type { Metrics } from '../service/metrics.ts';
import { testJob, testText } from '../testing/fake-programs.ts';
import { testContributor, testCoordinator } from '../testing/harness.ts';
import type { AppContext } from './context.ts';
import { createGateway } from './gateway.ts';

const raw = 'application/vnd.ipld.raw';
const car = 'application/vnd.ipld.car';

async function served() {
  const coordinator = await testCoordinator();
  const job = await coordinator.ensureJob(testJob(), testText());
  const get = (query = '', init: RequestInit = {}, cid = job) =>
    fetch(`${coordinator.url}/ipfs/${cid}${query}`, init);
  const whole = new Uint8Array(await (await get('?format=raw')).arrayBuffer());
  return { coordinator, job, get, whole };
}

async function metric(coordinator: Coordinator, name: string): Promise<number> {
  const text = await (await fetch(`${coordinator.url}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? 0);
}

describe('a block', () => {
  test('comes as itself, with the headers that the specification asks for', async () => {
    const { get, job, whole } = await served();
    expect(cidOfSync(whole, cborCode)).toBe(job);
    const response = await get('', { headers: { accept: raw } });
    const { headers } = response;
    expect(Object.fromEntries(headers)).toMatchObject({
      'content-type': raw,
      'content-length': String(whole.byteLength),
      'content-disposition': `attachment; filename="${job}.bin"`,
      'accept-ranges': 'bytes',
      'x-ipfs-path': `/ipfs/${job}`,
      'x-ipfs-roots': job,
      etag: `"${job}.raw"`,
      vary: expect.stringContaining('Accept'),
    });
    expect(headers.get('cache-control')).toMatch(/public.*max-age=\d+.*immutable/);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    const named = await get('?format=raw&filename=job.bin');
    expect(named.headers.get('content-disposition')).toBe('attachment; filename="job.bin"');
    const head = await get('?format=raw', { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, String(whole.byteLength)]);
    expect((await head.arrayBuffer()).byteLength).toBe(0);
  });

  test('is not sent to who has it, in the same form only', async () => {
    const { get, job } = await served();
    const status = async (query: string, tag: string) =>
      (await get(query, { headers: { 'if-none-match': tag } })).status;
    expect(await status('?format=raw', `"${job}.raw"`)).toBe(304);
    expect(await status('?format=raw', `"other", W/"${job}.raw"`)).toBe(304);
    expect(await status('?format=raw', `"${job}"`)).toBe(200);
    expect(await status('', `"${job}"`)).toBe(304);
    expect(await status('?format=car', `"${job}.raw"`)).toBe(200);
    const tag = (await get('?format=car&dag-scope=block', { method: 'HEAD' })).headers.get('etag') as string;
    expect(await status('?format=car&dag-scope=block', tag)).toBe(304);
    expect(await status('?format=car', tag)).toBe(200);
  });

  test('can be had in part', async () => {
    const { get, whole } = await served();
    const part = async (range: string) => {
      const response = await get('?format=raw', { headers: { range } });
      const bytes = new Uint8Array(await response.arrayBuffer());
      return { status: response.status, range: response.headers.get('content-range'), bytes };
    };
    const size = whole.byteLength;
    const expected = (from: number, to: number) => ({
      status: 206,
      range: `bytes ${from}-${to}/${size}`,
      bytes: whole.subarray(from, to + 1),
    });
    expect(await part('bytes=3-7')).toEqual(expected(3, 7));
    expect(await part('bytes=3-')).toEqual(expected(3, size - 1));
    expect(await part('bytes=-4')).toEqual(expected(size - 4, size - 1));
    expect(await part(`bytes=0-${size + 99}`)).toEqual(expected(0, size - 1));
    expect(await part(`bytes=${size}-`)).toMatchObject({ status: 416, range: `bytes */${size}` });
    for (const odd of ['bytes=7-3', 'bytes=0-1,3-4', 'lines=0-1', 'bytes=-'])
      expect(await part(odd)).toMatchObject({ status: 200, bytes: whole });
  });

  test('the empty one by its identity CID tells that this is a gateway', async () => {
    const { get } = await served();
    const response = await get('?format=raw', {}, 'bafkqaaa');
    expect([response.status, (await response.arrayBuffer()).byteLength]).toEqual([200, 0]);
  });
});

describe('an archive', () => {
  test('holds the block and what it links to, or the block alone', async () => {
    const { get, job } = await served();
    const read = async (response: Response) => {
      const reader = await CarReader.fromBytes(new Uint8Array(await response.arrayBuffer()));
      const cids: string[] = [];
      for await (const { cid, bytes } of reader.blocks()) {
        expect(cidOfSync(bytes, cid.code)).toBe(String(cid));
        cids.push(String(cid));
      }
      return cids;
    };
    const all = await get('?format=car');
    expect(all.headers.get('content-type')).toBe(`${car}; version=1; order=dfs; dups=n`);
    expect(all.headers.get('content-disposition')).toContain(`${job}.car`);
    expect(all.headers.get('accept-ranges')).toBe('none');
    const cids = await read(all);
    expect(cids[0]).toBe(job);
    expect(cids.length).toBeGreaterThan(1);
    for (const query of ['&dag-scope=block', '&dag-scope=entity', '&entity-bytes=0:*'])
      expect(await read(await get(`?format=car${query}`))).toEqual([job]);
    const named = await get('', { headers: { accept: `${car}; version=1; order=dfs; dups=y` } });
    expect(named.headers.get('content-type')).toMatch(/dups=y/);
    expect(await read(named)).toEqual(expect.arrayContaining(cids));
    const leaf = cids.at(-1) as string;
    expect(await read(await get('?format=car', {}, leaf))).toEqual([leaf]);
    const etags = await Promise.all(
      ['', '&dag-scope=block', '&car-dups=y', '&entity-bytes=0:9'].map(async (query) =>
        (await get(`?format=car${query}`, { method: 'HEAD' })).headers.get('etag'),
      ),
    );
    expect(new Set(etags).size).toBe(etags.length);
  });
});

test.each([
  ['?format=json', 400],
  ['?format=car&dag-scope=some', 400],
  ['?format=car&car-version=2', 400],
  ['?format=car&entity-bytes=x', 400],
  ['?filename=..%2Fx', 400],
])('%s is refused', async (query, status) => {
  const { get } = await served();
  const response = await get(query);
  expect([response.status, response.headers.get('content-type')]).toEqual([
    status,
    'application/problem+json',
  ]);
});

test('outputs are not there in any form before they are published', async () => {
  const coordinator = await testCoordinator();
  const job = await coordinator.ensureJob(testJob(), testText());
  const early = testContributor(coordinator).start();
  testContributor(coordinator, { onOpen: async () => false }).start();
  const { assignment } = await early.frame('revealed');
  const result = early.held.get(assignment)?.result as Uint8Array;
  const outputs = Object.values(decodeResult(result).outputs);
  for (const cid of outputs) await coordinator.blocks.put(await early.blocks.get(cid));
  await coordinator.blocks.put(result, cborCode);
  const swarm = { 'atoll-swarm': 's;peer=a' };
  for (const cid of [...outputs, cidOfSync(result, cborCode)]) {
    for (const query of ['', '?format=raw', '?format=car', '?format=car&dag-scope=block']) {
      for (const init of [{}, { method: 'HEAD' }, { headers: { range: 'bytes=0-1' } }, { headers: swarm }])
        expect((await fetch(`${coordinator.url}/ipfs/${cid}${query}`, init)).status).toBe(404);
    }
  }
  // What was asked for by somebody of a swarm and is not there makes nobody wait either.
  const other = { headers: { 'atoll-swarm': 's;peer=b' } };
  expect((await fetch(`${coordinator.url}/ipfs/${outputs[0]}`, other)).status).toBe(404);
  expect((await fetch(`${coordinator.url}/ipfs/${job}?format=car`)).status).toBe(200);
});

describe('a swarm', () => {
  const by = (peer: string, swarm = 's') => ({ headers: { 'atoll-swarm': `${swarm};peer=${peer}` } });

  test('is given a block once, and its others are told to wait', async () => {
    let skew = 0;
    const clock = { now: () => Date.now() + skew };
    const coordinator = await testCoordinator({ clock });
    const job = await coordinator.ensureJob(testJob(), testText());
    const ask = (init: RequestInit) => fetch(`${coordinator.url}/ipfs/${job}?format=raw`, init);
    expect((await ask(by('a'))).status).toBe(200);
    const told = await ask(by('b'));
    expect(told.status).toBe(409);
    expect(told.headers.get('retry-after')).toBe('1');
    expect(await told.json()).toMatchObject({
      code: 'leased',
      retryable: true,
      details: { retryMs: limits.originLeaseRetryMs },
    });
    for (const init of [by('a'), by('b', 't'), {}]) expect((await ask(init)).status).toBe(200);
    skew = limits.originLeaseMs;
    expect((await ask(by('b'))).status).toBe(200);
    expect((await ask({ headers: { 'atoll-swarm': 'no peer' } })).status).toBe(400);
    expect(await metric(coordinator, 'atoll_origin_leases_total{outcome="wait"}')).toBe(1);
  });
});

describe('a slow peer of a swarm', () => {
  /** A gateway with one block of 1 MiB, that takes its time to read it. */
  function slow() {
    const clock = { now: 0 };
    const bytes = new Uint8Array(limits.blockBytesMax).map((_, i) => i * 7);
    const cid = cidOfSync(bytes, rawCode);
    const reads = { going: 0, go: Promise.withResolvers<void>() };
    const block = async () => {
      reads.going++;
      await reads.go.promise;
      return bytes;
    };
    const metrics = { served() {}, originLease() {} } as unknown as Metrics;
    const gateway = createGateway({ block, metrics, leases: new OriginLeases(() => clock.now) });
    const app = new Hono().get('*', (context) => gateway(context as unknown as AppContext, cid, {}));
    app.onError((error) => new Response(codeOf(error), { status: 409 }));
    const ask = (peer: string) => app.request('/', { headers: { 'atoll-swarm': `s;peer=${peer}` } });
    return { clock, reads, ask, bytes };
  }

  test('has the block to itself while it takes it, and no longer', async () => {
    const { clock, reads, ask, bytes } = slow();
    reads.go.resolve();
    const reader = ((await ask('a')).body as ReadableStream<Uint8Array>).getReader();
    const got: Uint8Array[] = [];
    for (let i = 0; i < 4; i++) {
      got.push((await reader.read()).value as Uint8Array);
      clock.now += limits.originLeaseMs - 1;
      expect((await ask('b')).status).toBe(409);
    }
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) got.push(piece.value);
    expect(Buffer.concat(got).equals(bytes)).toBe(true);
    clock.now += limits.originLeaseMs;
    expect((await ask('b')).status).toBe(200);
  });

  test('leaves it to the others when it goes away', async () => {
    const { reads, ask } = slow();
    reads.go.resolve();
    const { body } = await ask('a');
    expect((await ask('b')).status).toBe(409);
    await body?.cancel();
    expect((await ask('b')).status).toBe(200);
  });

  test('is the only one that a block is read for when two ask at once', async () => {
    const { reads, ask } = slow();
    const both = [ask('a'), ask('b')];
    await Promise.race(both);
    expect(reads.going).toBe(1);
    reads.go.resolve();
    expect((await Promise.all(both)).map(({ status }) => status)).toEqual([200, 409]);
  });
});

test('what leaves is counted, by form', async () => {
  const { coordinator, get, whole } = await served();
  const raws = 'atoll_gateway_bytes_total{format="raw"}';
  const before = await metric(coordinator, raws);
  await get('?format=raw', { headers: { range: 'bytes=0-9' } });
  await get('?format=raw', { method: 'HEAD' });
  await get('?format=raw', { headers: { 'if-none-match': '*' } });
  expect((await metric(coordinator, raws)) - before).toBe(10);
  const archive = (await (await get('?format=car')).arrayBuffer()).byteLength;
  expect(archive).toBeGreaterThan(whole.byteLength);
  expect(await metric(coordinator, 'atoll_gateway_bytes_total{format="car"}')).toBe(archive);
});

test('other sites may read it where they may read at all', async () => {
  const coordinator = await testCoordinator({ allowedOrigins: ['*'] });
  const job = await coordinator.ensureJob(testJob(), testText());
  const asked = {
    origin: 'https://x.example',
    'access-control-request-method': 'GET',
    'access-control-request-headers': 'range, atoll-swarm',
  };
  const preflight = await fetch(`${coordinator.url}/ipfs/${job}`, { method: 'OPTIONS', headers: asked });
  expect(preflight.headers.get('access-control-allow-headers')?.toLowerCase()).toMatch(/atoll-swarm.*range/);
  const response = await fetch(`${coordinator.url}/ipfs/${job}`, { headers: { origin: asked.origin } });
  expect(response.headers.get('access-control-allow-origin')).toBe('*');
  expect(response.headers.get('access-control-expose-headers')).toMatch(/X-Ipfs-Roots/);
});

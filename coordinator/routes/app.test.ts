/** The HTTP side of a running coordinator: shapes, proofs, streams, and a problem document for every refusal. */
import { request } from 'node:http';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import { problemSchema } from '#protocol/errors.ts';
import {
  contributorSchema,
  jobEventSchema,
  jobListSchema,
  jobStatusSchema,
  networkSchema,
  unitSchema,
} from '#protocol/http/api.ts';
import { resultLeaf, verifyProof } from '#protocol/merkle.ts';
import { decodeResult, decodeWorkunit } from '#protocol/messages/workunit.ts';
import type { Anchor } from '../anchor/port.ts';
import { createCoordinator, type Coordinator } from '../main.ts';
import { getJson, temporaryFolder, testContributor, testCoordinator } from '../testing/harness.ts';
import { fakeInitialCheckpoint, testJob, testText } from '../testing/fake-programs.ts';

const get = (coordinator: Coordinator, path: string, init?: RequestInit) =>
  fetch(`${coordinator.url}${path}`, init);

async function trained(rounds = 1, options: Parameters<typeof testCoordinator>[0] = {}) {
  const coordinator = await testCoordinator(options);
  const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: rounds });
  const contributors = [0, 1].map(() => testContributor(coordinator).start());
  await coordinator.settled(job, rounds);
  return { coordinator, job, contributors };
}

test('every answer has the shape that the protocol names', async () => {
  const { coordinator, job, contributors } = await trained();
  expect(v.parse(networkSchema, await getJson(coordinator, '/v1/network'))).toMatchObject({
    network: coordinator.network,
    chain: null,
    contributorsOnline: 2,
  });
  expect(v.parse(jobListSchema, await getJson(coordinator, '/v1/jobs')).jobs.map((each) => each.id)).toEqual([
    job,
  ]);
  const status = v.parse(jobStatusSchema, await getJson(coordinator, `/v1/jobs/${job}`));
  expect(status).toMatchObject({ state: 'done', lanes: 2, unitsAccepted: 5, replicasUsed: 10 });
  const address = contributors[0]?.address;
  expect(v.parse(contributorSchema, await getJson(coordinator, `/v1/contributors/${address}`))).toMatchObject(
    {
      agreed: 5,
      online: true,
    },
  );
  expect(await getJson(coordinator, '/healthz')).toEqual({ status: 'ok' });
  expect(await getJson(coordinator, '/readyz')).toEqual({ status: 'ready' });
  const metrics = await (await get(coordinator, '/metrics')).text();
  expect(metrics).toMatch(/atoll_replica_verdicts_total\{outcome="agreed"\} 10/);
  expect(metrics).toMatch(/atoll_contributors_online 2/);
});

test('a unit comes with its bytes, its result and a proof against the root of its round', async () => {
  const { coordinator, contributors } = await trained();
  for (const cid of contributors[0]?.acknowledged.agreed.values() ?? []) {
    const unit = v.parse(unitSchema, await getJson(coordinator, `/v1/units/${cid}`));
    const unitBytes = new Uint8Array(Buffer.from(unit.unitBytes, 'base64'));
    expect(cidOfSync(unitBytes, cborCode)).toBe(cid);
    decodeWorkunit(unitBytes);
    const resultBytes = new Uint8Array(Buffer.from(unit.resultBytes as string, 'base64'));
    expect(cidOfSync(resultBytes, cborCode)).toBe(unit.digest);
    const { root, siblings } = unit.proof as NonNullable<typeof unit.proof>;
    expect(verifyProof(root, resultLeaf(cid, unit.digest as string), siblings)).toBe(true);
    expect(unit.replicas.map((replica) => replica.state)).toEqual(['agreed', 'agreed']);
    for (const output of Object.values(decodeResult(resultBytes).outputs)) {
      expect((await get(coordinator, `/ipfs/${output}`)).status).toBe(200);
    }
  }
});

describe('blocks', () => {
  test('are served for ever, with their codec, and not sent twice', async () => {
    const { coordinator, job } = await trained();
    const response = await get(coordinator, `/ipfs/${job}`);
    expect(response.headers.get('content-type')).toBe('application/vnd.ipld.dag-cbor');
    expect(response.headers.get('cache-control')).toMatch(/immutable/);
    expect(cidOfSync(new Uint8Array(await response.arrayBuffer()), cborCode)).toBe(job);
    const again = await get(coordinator, `/ipfs/${job}`, { headers: { 'if-none-match': `"${job}"` } });
    expect(again.status).toBe(304);
    const unit = (await coordinator.status(job)).rounds[0]?.checkpoint as string;
    expect((await get(coordinator, `/ipfs/${unit}`, { method: 'HEAD' })).status).toBe(200);
  });

  test('outputs and digests are nobody’s business before the verdict', async () => {
    const coordinator = await testCoordinator();
    await coordinator.ensureJob(testJob(), testText());
    // The first reveals and gives its blocks; the second never reveals, so nothing is decided.
    const early = testContributor(coordinator).start();
    testContributor(coordinator, { onOpen: async () => false }).start();
    const { assignment } = await early.frame('revealed');
    const held = early.held.get(assignment);
    const result = decodeResult(held?.result as Uint8Array);
    const [output] = Object.values(result.outputs);
    await coordinator.blocks.put(await early.blocks.get(output as string));
    expect((await get(coordinator, `/ipfs/${output}`)).status).toBe(404);
    expect((await get(coordinator, `/ipfs/${cidOfSync(held?.result as Uint8Array, cborCode)}`)).status).toBe(
      404,
    );
    expect(await getJson(coordinator, `/v1/units/${result.unit}`)).toMatchObject({
      digest: null,
      replicas: [],
      resultBytes: null,
    });
    expect((await get(coordinator, `/ipfs/${result.unit}`)).status).toBe(200);
  });
});

const json = { method: 'POST', headers: { 'content-type': 'application/json' } };

describe('refusals', () => {
  test.each([
    ['/nothing', {}, 404, 'not_found'],
    ['/v1/jobs/bogus', {}, 400, 'bad_request'],
    ['/v1/jobs/bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm', {}, 404, 'not_found'],
    ['/v1/jobs/bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm/events', {}, 404, 'not_found'],
    ['/v1/units/bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm', {}, 404, 'not_found'],
    ['/ipfs/bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm', {}, 404, 'not_found'],
    ['/ipfs/..%2f..%2fatoll.sqlite', {}, 400, 'bad_request'],
    ['/v1/contributors/0x12', {}, 400, 'bad_request'],
    ['/v1/contributors/0x0000000000000000000000000000000000000001', {}, 404, 'not_found'],
    ['/v1/contribute', {}, 400, 'bad_request'],
    ['/v1/jobs', { method: 'POST', body: '{}' }, 401, 'unauthorized'],
    ['/v1/jobs?limit=0', {}, 400, 'bad_request'],
    ['/v1/jobs?cursor=x', {}, 400, 'bad_request'],
    ['/v1/network', { headers: { authorization: 'Bearer atoll_no' } }, 401, 'unauthorized'],
    ['/v1/siwe', { method: 'POST', body: 'x' }, 415, 'unsupported_media_type'],
    ['/v1/siwe', { ...json, body: 'x' }, 400, 'bad_request'],
    ['/v1/siwe', { ...json, body: '{"address": "0x12"}' }, 400, 'bad_request'],
    ['/v1/siwe', { ...json, body: 'x'.repeat(100_000) }, 413, 'too_large'],
    ['/healthz', { method: 'DELETE' }, 405, 'method_not_allowed'],
    [
      '/v1/units/bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm',
      json,
      405,
      'method_not_allowed',
    ],
  ])('%s %o is %i %s, as a problem document', async (path, init, status, code) => {
    const coordinator = await testCoordinator();
    const response = await get(coordinator, path, init);
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(v.parse(problemSchema, await response.json())).toMatchObject({ status, code });
    if (status === 405) expect(response.headers.get('allow')).toBe('GET, HEAD');
  });

  test('another host name is refused, for pages and sockets', async () => {
    const coordinator = await testCoordinator();
    const status = (headers: Record<string, string>, path = '/v1/network') =>
      new Promise((resolve, reject) => {
        const asked = request(`${coordinator.url}${path}`, { headers }, (response) => {
          response.resume();
          resolve(response.statusCode);
        });
        asked.on('upgrade', (response, socket) => {
          socket.destroy();
          resolve(response.statusCode);
        });
        asked.on('error', reject);
        asked.end();
      });
    const upgrade = {
      ...{ connection: 'upgrade', upgrade: 'websocket' },
      ...{ 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' },
    };
    const evil = { host: 'evil.example' };
    expect(await status(evil)).toBe(400);
    expect(await status({ host: `localhost:${coordinator.port}` })).toBe(200);
    expect(await status({ ...upgrade, ...evil }, '/v1/contribute')).toBe(400);
    expect(await status(upgrade, '/v1/contribute')).toBe(101);
    expect(await status(upgrade, '/v1/elsewhere')).toBe(404);
  });

  test('a busy port and a directory in use are named with the remedy', async () => {
    const dataDir = await temporaryFolder();
    const { port } = await testCoordinator({ dataDir });
    const options = { port, initialCheckpoint: fakeInitialCheckpoint };
    await expect(createCoordinator({ ...options, dataDir })).rejects.toMatchObject({ code: 'bad_config' });
    await expect(createCoordinator({ ...options, dataDir: await temporaryFolder() })).rejects.toMatchObject({
      code: 'port_busy',
      message: expect.stringContaining('--port') as string,
    });
  });
});

test('the built page is served, and nothing outside it', async () => {
  const staticDir = await temporaryFolder();
  await mkdir(join(staticDir, 'assets'));
  await writeFile(join(staticDir, 'index.html'), '<!doctype html><title>Atoll</title>');
  await writeFile(join(staticDir, 'assets', 'main-abc.js'), 'export {};');
  const coordinator = await testCoordinator({ staticDir });
  const page = await get(coordinator, '/');
  expect(await page.text()).toContain('<title>Atoll</title>');
  expect(page.headers.get('content-security-policy')).toContain("default-src 'self'");
  // Both together isolate the page, which WebAssembly threads need.
  expect(page.headers.get('cross-origin-opener-policy')).toBe('same-origin');
  expect(page.headers.get('cross-origin-embedder-policy')).toBe('require-corp');
  expect((await get(coordinator, '/assets/main-abc.js')).headers.get('cache-control')).toContain('immutable');
  // A page of its own is a folder, named without its slash.
  await mkdir(join(staticDir, 'conformance'));
  await writeFile(join(staticDir, 'conformance', 'index.html'), '<!doctype html><title>Conformance</title>');
  expect(await (await get(coordinator, '/conformance')).text()).toContain('<title>Conformance</title>');
  expect((await get(coordinator, '/somewhere')).status).toBe(404);
  expect((await get(coordinator, '/..%2f..%2fetc/passwd')).status).toBe(404);
});

/** Reads events until `enough`. */
async function readEvents(
  coordinator: Coordinator,
  job: string,
  enough: (events: { id: number; event: v.InferOutput<typeof jobEventSchema> }[]) => boolean,
  lastEventId?: number,
) {
  const stop = new AbortController();
  const headers = lastEventId === undefined ? {} : { 'last-event-id': String(lastEventId) };
  const response = await get(coordinator, `/v1/jobs/${job}/events`, { signal: stop.signal, headers });
  const events: { id: number; event: v.InferOutput<typeof jobEventSchema> }[] = [];
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body as ReadableStream<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const fields = new Map(
        text
          .slice(0, end)
          .split('\n')
          .map((line): [string, string] => [
            line.split(': ')[0] as string,
            line.slice(line.indexOf(': ') + 2),
          ]),
      );
      text = text.slice(end + 2);
      if (!fields.has('data')) continue;
      const event = v.parse(jobEventSchema, JSON.parse(fields.get('data') as string));
      expect(fields.get('event')).toBe(event.type);
      events.push({ id: Number(fields.get('id')), event });
    }
    if (enough(events)) break;
  }
  stop.abort();
  return events;
}

describe('event streams', () => {
  test('tell the present state, then what happens, and go on after the last event seen', async () => {
    const coordinator = await testCoordinator({ timing: { eventMs: 10, heartbeatMs: 20 } });
    const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 2 });
    const roundsIn = (events: Awaited<ReturnType<typeof readEvents>>) =>
      events.flatMap(({ event }) => (event.type === 'round' ? [event.round.round] : []));
    const reading = readEvents(coordinator, job, (events) => roundsIn(events).length === 2);
    for (let i = 0; i < 2; i++) testContributor(coordinator).start();
    const events = await reading;
    expect(events.slice(0, 3).map(({ event }) => event.type)).toEqual(['unit', 'unit', 'unit']);
    expect(roundsIn(events)).toEqual([1, 2]);
    expect(events.some(({ event }) => event.type === 'contributors' && event.online === 2)).toBe(true);
    const ids = events.map(({ id }) => id);
    expect(ids).toEqual(ids.toSorted((a, b) => a - b));
    const first = events.find(({ event }) => event.type === 'round')?.id as number;
    const missed = await readEvents(coordinator, job, (more) => roundsIn(more).length === 1, first);
    expect(roundsIn(missed)).toEqual([2]);
    // An id of another life of the server: everything that matters comes again.
    const all = await readEvents(coordinator, job, (more) => roundsIn(more).length === 2, 5);
    expect(roundsIn(all)).toEqual([1, 2]);
  });
});

describe('anchors', () => {
  /** A chain that is away at first, and then remembers. */
  function flakyChain() {
    const chain = new Map<string, { round: number; root: string; tx: `0x${string}`; blockNumber: number }>();
    const calls = { failed: 0 };
    const anchor: Anchor = {
      info: () => ({ chainId: 31_337, rpcUrl: 'http://127.0.0.1:1', contract: `0x${'00'.repeat(20)}` }),
      async anchorRound({ job, round, root }) {
        if (calls.failed++ < 2) throw new Error('the chain is away');
        const key = `${job}/${round}`;
        const made = chain.get(key) ?? {
          round,
          root,
          tx: `0x${String(round).padStart(64, '0')}` as const,
          blockNumber: round,
        };
        chain.set(key, made);
        return made;
      },
      async reconcile(rounds, signal) {
        const receipts = [];
        for (const each of rounds)
          receipts.push({ ...(await anchor.anchorRound(each, signal)), ...each, anchoredNow: true });
        return receipts;
      },
      rounds: async () => [],
      close: async () => {},
    };
    return { anchor, chain };
  }

  test('follow when the chain is back, in order, and show in rounds and units', async () => {
    const { anchor, chain } = flakyChain();
    const anchored: number[] = [];
    const { coordinator, job, contributors } = await trained(2, {
      anchor,
      onAnchor: (_, round) => anchored.push(round),
    });
    expect(anchored).toEqual([1, 2]);
    const status = v.parse(jobStatusSchema, await getJson(coordinator, `/v1/jobs/${job}`));
    expect(status.rounds.map((round) => round.anchor?.blockNumber)).toEqual([1, 2]);
    expect([...chain.values()].map((made) => made.root)).toEqual(
      status.rounds.map((round) => round.anchor?.root),
    );
    const [cid] = contributors[0]?.acknowledged.agreed.values() ?? [];
    const unit = v.parse(unitSchema, await getJson(coordinator, `/v1/units/${cid}`));
    expect(unit.anchor?.root).toBe(unit.proof?.root);
    expect(v.parse(networkSchema, await getJson(coordinator, '/v1/network')).chain?.chainId).toBe(31_337);
  });
});

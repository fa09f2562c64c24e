/**
 * Whatever is asked, the HTTP side answers as its table says: what is good in the stated shape, all else with a problem that is the asker's, and never with a
 * failure of ours. With `protocol/messages/fuzz.test.ts` 100,000 cases and more.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as fc from 'fast-check';
import * as v from 'valibot';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { errorCodes, problemSchema } from '#protocol/errors.ts';
import type { Endpoint } from '#protocol/http/endpoint.ts';
import { endpoints } from '#protocol/http/table.ts';
import { addressArb, cidArb } from '#protocol/testing/arbitraries.ts';
import { rm, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Coordinator, createCoordinator } from '../main.ts';
import { fakeInitialCheckpoint, testJob, testText } from '../testing/fake-programs.ts';
import { defaultRateLimits, type RateLimits } from './rate-limit.ts';

const runs = 40_000;
const all = Object.values(endpoints) as readonly Endpoint[];
const statuses = new Set<number>(Object.values(errorCodes).map((code) => code.status));

let coordinator: Coordinator;
let dataDir: string;
/** Things that exist, so that not everything asked for is missing. */
let known: { cids: string[]; key: string };

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'atoll-fuzz-'));
  const endless = { quota: 1e12, windowMs: 60_000 };
  const rateLimits = Object.fromEntries(
    Object.entries(defaultRateLimits).map(([subject, buckets]) => [
      subject,
      Object.fromEntries(Object.keys(buckets).map((bucket) => [bucket, endless])),
    ]),
  ) as RateLimits;
  coordinator = await createCoordinator({
    ...{ dataDir, port: 0, initialCheckpoint: fakeInitialCheckpoint, rateLimits, allowedOrigins: ['*'] },
  });
  const job = await coordinator.ensureJob(testJob(), testText());
  const { units } = await coordinator.status(job);
  const { key } = await coordinator.keys.make({ name: 'fuzz', owner: null, scopes: ['jobs', 'operate'] });
  known = { cids: [job, ...units.map((unit) => unit.unit)], key };
});
afterAll(async () => {
  await coordinator.close();
  await rm(dataDir, { recursive: true, force: true });
});

const oddText = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom(
    '',
    '..',
    '%',
    '%00',
    '\u0000',
    '__proto__',
    'constructor',
    '-1',
    '1e9',
    'NaN',
    '0',
    '50',
    'W10',
    'WyJ4Il0',
  ),
);
const segment = fc.oneof(
  { weight: 3, arbitrary: fc.nat().map((n) => known.cids[n % known.cids.length] as string) },
  cidArb,
  addressArb,
  oddText.map(encodeURIComponent),
  fc.constantFrom('..%2f..%2fetc%2fpasswd', '%ff%fe', '%', '%zz', '*', ':id'),
);
const pathArb = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.tuple(fc.constantFrom(...all), segment).map(([e, s]) => e.path.replace(/:\w+/, () => s)),
  },
  fc.array(segment, { maxLength: 4 }).map((parts) => `/${parts.join('/')}`),
  fc.constantFrom('/v1/contribute', '/docs', '/docs/..%2f..%2fpackage.json', '/docs/__proto__', '//', '/v1/'),
);
const queryArb = fc.array(fc.tuple(fc.constantFrom('limit', 'cursor', 'job', 'depth', 'x'), oddText), {
  maxLength: 3,
});
/** Mostly what most bodies are. */
const types = Array<string>(6).fill('application/json');
const headerText = fc.stringMatching(/^[\x20-\x7e]{0,60}$/);
const headersArb = fc.record(
  {
    authorization: fc.oneof(
      { weight: 4, arbitrary: fc.constant(null).map(() => `Bearer ${known.key}`) },
      headerText.map((text) => `Bearer ${text}`),
      headerText,
    ),
    'content-type': fc.constantFrom(...types, 'text/plain', 'application/octet-stream', 'x', ''),
    'idempotency-key': headerText,
    'last-event-id': fc.oneof(fc.nat().map(String), headerText),
    'if-none-match': fc.oneof(
      headerText,
      fc.nat().map((n) => `"${known.cids[n % known.cids.length]}"`),
    ),
    'x-request-id': headerText,
    'x-forwarded-for': headerText,
    origin: fc.oneof(fc.webUrl(), headerText),
    'access-control-request-method': headerText,
  },
  { requiredKeys: [] },
);
const bodyArb: fc.Arbitrary<string | Uint8Array<ArrayBuffer> | null> = fc.oneof(
  fc.constant(null),
  fc.json({ maxDepth: 2 }),
  fc.uint8Array({ maxLength: 60 }).map((bytes) => new Uint8Array(bytes)),
  fc
    .record({
      address: addressArb,
      action: fc.record({ type: fc.constantFrom('key', 'link'), name: fc.string() }),
    })
    .map((value) => JSON.stringify(value)),
  fc.record({ nonce: fc.string(), signature: fc.string() }).map((value) => JSON.stringify(value)),
  fc
    .record(
      {
        ...{ weight: fc.double(), paused: fc.boolean() },
        amount: fc.oneof(fc.string(), fc.bigInt().map(String)),
        reference: fc.string({ maxLength: 70 }),
      },
      { requiredKeys: [] },
    )
    .map((value) => JSON.stringify(value)),
);
const methodArb = fc.oneof(
  { weight: 5, arbitrary: fc.constant('GET') },
  { weight: 3, arbitrary: fc.constant('POST') },
  fc.constantFrom('HEAD', 'DELETE', 'PUT', 'PATCH', 'OPTIONS'),
);

/** The endpoint that a path and a method name, as far as the table goes. */
function endpointOf(method: string, pathname: string): Endpoint | undefined {
  return all.find((each) => {
    const pattern = new RegExp(`^${each.path.replaceAll('.', '\\.').replace(/:\w+/g, '[^/]+')}$`);
    return (each.method === method || (method === 'HEAD' && each.method === 'GET')) && pattern.test(pathname);
  });
}

async function check(request: Request): Promise<void> {
  const { pathname } = new URL(request.url);
  const response = await coordinator.fetch(request);
  const { status, headers } = response;
  const type = headers.get('content-type')?.split(';')[0];
  expect(status).toBeLessThan(500);
  expect(headers.get('x-request-id')).toMatch(/^[\w.:-]{1,64}$/);
  expect(headers.get('x-content-type-options') ?? (status === 204 ? 'nosniff' : null)).toBe('nosniff');
  if (type === 'text/event-stream' || request.method === 'HEAD') return response.body?.cancel();
  if (status >= 400) {
    expect(type).toBe('application/problem+json');
    expect(statuses).toContain(status);
    expect(v.parse(problemSchema, await response.json()).status).toBe(status);
    return undefined;
  }
  const answer = endpointOf(request.method, pathname)?.answer;
  if (answer?.type === 'json') v.parse(answer.schema, await response.json());
  else await response.arrayBuffer();
  return undefined;
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Shares of the runs, each a test with a time limit of its own: on a busy machine all of them together take long. */
const parts = 4;
let asked = 0;
let heldAfterHalf = 0;

test.each(Array.from({ length: parts }, (_, part) => part + 1))(
  `${runs} requests of all kinds, part %i of ${parts}: no failure of ours, every answer in its form`,
  async () => {
    const arb = fc.record({
      method: methodArb,
      path: pathArb,
      query: queryArb,
      headers: headersArb,
      body: bodyArb,
    });
    await fc.assert(
      fc.asyncProperty(arb, async ({ method, path, query, headers, body }) => {
        const url = `${coordinator.url}${path}?${new URLSearchParams(query)}`;
        const hasBody = !['GET', 'HEAD', 'OPTIONS'].includes(method) && body !== null;
        const sent = { ...headers, host: new URL(coordinator.url).host };
        await check(new Request(url, { method, headers: sent, ...(hasBody ? { body } : {}) }));
        if (++asked !== runs / 2) return;
        collect();
        heldAfterHalf = process.memoryUsage().heapUsed;
      }),
      { numRuns: runs / parts },
    );
  },
);

test('they leave nothing behind', () => {
  collect();
  expect(asked).toBe(runs);
  expect(process.memoryUsage().heapUsed - heldAfterHalf).toBeLessThan(32 << 20);
});

/** What every answer carries: its id, how much may still be asked, who may read it; and the limits themselves. */
import { connect } from 'node:net';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { problemSchema } from '#protocol/errors.ts';
import * as v from 'valibot';
import type { Coordinator, CoordinatorOptions } from '../main.ts';
import { testCoordinator } from '../testing/harness.ts';
import {
  addressToCount,
  clientAddress,
  defaultRateLimits,
  RateLimiter,
  type RateLimits,
} from './rate-limit.ts';

const get = (coordinator: Coordinator, path: string, headers: Record<string, string> = {}, method = 'GET') =>
  fetch(`${coordinator.url}${path}`, { headers, method });

/** Two reads a minute, for whoever is named. */
function tight(subject: keyof RateLimits): RateLimits {
  const two = { quota: 2, windowMs: 60_000 };
  return { ...defaultRateLimits, [subject]: { ...defaultRateLimits[subject], read: two } };
}

describe('a request id', () => {
  test('is made, or taken over, and named in every problem', async () => {
    const coordinator = await testCoordinator();
    const own = await get(coordinator, '/v1/nothing', { 'x-request-id': 'from-a-proxy:7' });
    expect(own.headers.get('x-request-id')).toBe('from-a-proxy:7');
    expect(v.parse(problemSchema, await own.json()).instance).toBe('urn:atoll:request:from-a-proxy:7');
    const made = await get(coordinator, '/v1/network');
    expect(made.headers.get('x-request-id')).toMatch(/^[0-9a-f]{24}$/);
    const odd = await get(coordinator, '/v1/network', { 'x-request-id': 'no spaces <b>' });
    expect(odd.headers.get('x-request-id')).toMatch(/^[0-9a-f]{24}$/);
  });

  test('and route, but no made-up path, are counted in the metrics', async () => {
    const coordinator = await testCoordinator();
    await get(coordinator, '/v1/network');
    await get(coordinator, '/made/up/by/a/client');
    const metrics = await (await get(coordinator, '/metrics')).text();
    expect(metrics).toMatch(/atoll_http_requests_total\{method="GET",route="\/v1\/network",status="200"\} 1/);
    expect(metrics).toMatch(/route="other",status="404"\} 1/);
    expect(metrics).not.toContain('made/up');
  });
});

describe('rate limits', () => {
  test('say what is left, refuse what is too much, and end with their window', async () => {
    const clock = { offset: 0, now: () => Date.now() + clock.offset };
    const coordinator = await testCoordinator({ rateLimits: tight('address'), clock });
    const first = await get(coordinator, '/v1/network');
    expect(first.headers.get('ratelimit-policy')).toBe('"address-read";q=2;w=60');
    expect(first.headers.get('ratelimit')).toMatch(/^"address-read";r=1;t=\d+$/);
    await get(coordinator, '/v1/nothing');
    const refused = await get(coordinator, '/v1/network');
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(v.parse(problemSchema, await refused.json())).toMatchObject({ code: 'rate_limited' });
    clock.offset = 61_000;
    expect((await get(coordinator, '/v1/network')).status).toBe(200);
  });

  test('count a key instead of its address, so that many behind one address have their own', async () => {
    const coordinator = await testCoordinator({ rateLimits: tight('key') });
    const make = () => coordinator.keys.make({ name: 'x', owner: null, scopes: [] });
    const [a, b] = [await make(), await make()];
    const status = async (key: string) =>
      (await get(coordinator, '/v1/network', { authorization: `Bearer ${key}` })).status;
    expect([await status(a.key), await status(a.key), await status(a.key)]).toEqual([200, 200, 429]);
    expect(await status(b.key)).toBe(200);
  });

  test('count the site whose page asks, whatever the address', async () => {
    const options = { rateLimits: tight('site'), allowedOrigins: ['*'] };
    const coordinator = await testCoordinator(options);
    const status = async (origin?: string) =>
      (await get(coordinator, '/v1/network', origin === undefined ? {} : { origin })).status;
    const widget = 'https://partner.example';
    expect([await status(widget), await status(widget), await status(widget)]).toEqual([200, 200, 429]);
    expect(await status('https://other.example')).toBe(200);
    expect([await status(), await status(), await status()]).toEqual([200, 200, 200]);
  });

  test('guessing keys is counted as signing in is', async () => {
    const coordinator = await testCoordinator();
    const statuses: number[] = [];
    for (let i = 0; i < 35; i++) {
      const key = `atoll_${'0'.repeat(16)}_${'a'.repeat(43)}`;
      statuses.push((await get(coordinator, '/v1/network', { authorization: `Bearer ${key}` })).status);
    }
    expect(statuses.filter((status) => status === 401)).toHaveLength(30);
    expect(statuses.at(-1)).toBe(429);
  });

  test('hold a bounded number of counters, whoever asks', () => {
    const limiter = new RateLimiter({ now: () => 1 }, defaultRateLimits, 1_000);
    for (let i = 0; i < 10_000; i++) limiter.count('address', String(i), 'read');
    expect(limiter.size).toBe(1_000);
  });

  test('see one IPv6 network as one address, and IPv4 in IPv6 as IPv4', () => {
    expect(addressToCount('::ffff:192.0.2.7')).toBe('192.0.2.7');
    expect(addressToCount('192.0.2.7')).toBe('192.0.2.7');
    expect(addressToCount('2001:db8:1:2:3:4:5:6')).toBe('2001:db8:1:2/64');
    expect(addressToCount('2001:db8:1:2::1')).toBe('2001:db8:1:2/64');
    expect(addressToCount('::1')).toBe('0:0:0:0/64');
    expect(addressToCount('fe80::1%eth0')).toBe('fe80:0:0:0/64');
    for (const odd of [undefined, '', 'x', '1.2.3', '1:2']) expect(addressToCount(odd)).toBe('unknown');
    fc.assert(
      fc.property(
        fc.ipV6(),
        (address) => /^[0-9a-f:]+\/64$/.test(addressToCount(address)) || /^\d/.test(addressToCount(address)),
      ),
    );
  });

  test('believe X-Forwarded-For only as far as there are trusted proxies', () => {
    expect(clientAddress('10.0.0.1', '1.1.1.1, 2.2.2.2', 0)).toBe('10.0.0.1');
    expect(clientAddress('10.0.0.1', '1.1.1.1, 2.2.2.2', 1)).toBe('2.2.2.2');
    expect(clientAddress('10.0.0.1', '1.1.1.1, 2.2.2.2', 2)).toBe('1.1.1.1');
    expect(clientAddress('10.0.0.1', undefined, 1)).toBe('10.0.0.1');
  });
});

describe('pages of other sites', () => {
  const widget = 'https://partner.example';
  const preflight = { 'access-control-request-method': 'POST' };
  const allowed = async (options: Partial<CoordinatorOptions>, path: string, method = 'GET') => {
    const coordinator = await testCoordinator(options);
    const headers = method === 'OPTIONS' ? preflight : {};
    const { headers: answered } = await get(coordinator, path, { origin: widget, ...headers }, method);
    return {
      origin: answered.get('access-control-allow-origin'),
      methods: answered.get('access-control-allow-methods'),
      policy: answered.get('cross-origin-resource-policy'),
      vary: answered.get('vary'),
    };
  };

  test('may not read a private coordinator', async () => {
    expect(await allowed({}, '/v1/network')).toMatchObject({ origin: null, policy: 'same-origin' });
    expect(await allowed({}, '/v1/jobs', 'OPTIONS')).toMatchObject({ origin: null, methods: null });
  });

  test('may read a public one, but neither write there nor see its pages and operations', async () => {
    const open = { allowedHosts: ['*'] };
    expect(await allowed(open, '/v1/network')).toMatchObject({ origin: '*', policy: 'cross-origin' });
    expect(await allowed(open, '/v1/nothing')).toMatchObject({ origin: '*' });
    expect(await allowed(open, '/docs')).toMatchObject({ origin: null, policy: 'same-origin' });
    expect(await allowed(open, '/metrics')).toMatchObject({ origin: null });
    expect(await allowed(open, '/v1/jobs', 'OPTIONS')).toMatchObject({ methods: 'GET, HEAD' });
  });

  test('that are named may write', async () => {
    expect(await allowed({ allowedOrigins: [widget] }, '/v1/jobs', 'OPTIONS')).toMatchObject({
      origin: widget,
      methods: 'GET, HEAD, POST, PATCH, DELETE',
      vary: 'Origin',
    });
    expect(await allowed({ allowedOrigins: ['https://else.example'] }, '/v1/network')).toMatchObject({
      origin: null,
    });
  });
});

describe('what is no proper request', () => {
  const say = (coordinator: Coordinator, bytes: string) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect(coordinator.port, '127.0.0.1', () => socket.write(bytes));
      let heard = '';
      socket.on('data', (chunk) => (heard += chunk.toString()));
      socket.on('close', () => resolve(heard));
      socket.on('error', reject);
    });
  test.each([
    ['nonsense', 'this is not HTTP\r\n\r\n', 400],
    ['headers without end', `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`, 413],
    ['no path', 'GET  HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n', 400],
    ['a host that is none', 'GET / HTTP/1.1\r\nHost: [\r\nConnection: close\r\n\r\n', 400],
    ['another method', 'BREW /v1/network HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n', 400],
    ['a path that leads out', 'GET //[ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n', 404],
  ])('%s gets a problem document', async (_, bytes, status) => {
    const answer = await say(await testCoordinator(), bytes);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(answer.toLowerCase()).toContain('application/problem+json');
  });
});

test('a page cannot be framed by other sites, nor load or send anything elsewhere', async () => {
  const { headers } = await get(await testCoordinator(), '/v1/nothing');
  expect(headers.get('content-security-policy')).toContain("frame-ancestors 'self'");
  expect(headers.get('content-security-policy')).toContain("form-action 'self'");
  expect(headers.get('x-content-type-options')).toBe('nosniff');
  expect(headers.get('referrer-policy')).toBe('no-referrer');
  expect(headers.get('permissions-policy')).toContain('camera=()');
});

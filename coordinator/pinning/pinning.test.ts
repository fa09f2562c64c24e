/** Pinning at a small stand-in for Kubo that reads what it is sent: a whole archive, under the right name, until it is taken. */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CarReader } from '@ipld/car';
import { describe, expect, onTestFinished, test } from 'vitest';
import { encodeCanonical, linkOf } from '#protocol/codec/cbor.ts';
import { type Cid, cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import { silentLogger } from '../service/ports.ts';
import { testJob, testText } from '../testing/fake-programs.ts';
import { testContributor, testCoordinator } from '../testing/harness.ts';
import { pinAtKubo } from './kubo.ts';
import { Pinner } from './pinner.ts';

interface Asked {
  url: string;
  authorization: string | undefined;
  roots: string[];
  cids: string[];
}

/** Fails as often as told before it takes anything. */
async function kubo({
  failures = 0,
  answer = (root: string) => `{"Root":{"Cid":{"/":"${root}"},"PinErrorMsg":""}}\n`,
} = {}) {
  const asked: Asked[] = [];
  let left = failures;
  const server = createServer((request, response) => {
    void readBody(request).then(async (body) => {
      if (left-- > 0) return response.writeHead(500).end('{"Message":"busy"}');
      const type = request.headers['content-type'] ?? '';
      const boundary = /boundary=(.+)$/.exec(type)?.[1] ?? '';
      const from = body.indexOf('\r\n\r\n') + 4;
      const to = body.lastIndexOf(`\r\n--${boundary}--`);
      const reader = await CarReader.fromBytes(new Uint8Array(body.subarray(from, to)));
      const roots = (await reader.getRoots()).map(String);
      const cids: string[] = [];
      for await (const { cid, bytes } of reader.blocks()) {
        expect(cidOfSync(bytes, cid.code)).toBe(String(cid));
        cids.push(String(cid));
      }
      asked.push({ url: request.url ?? '', authorization: request.headers.authorization, roots, cids });
      response.writeHead(200).end(answer(roots[0] as string));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

async function dag() {
  const blocks = new MemoryBlocks();
  const leaves = await Promise.all([1, 2, 3].map((n) => blocks.put(new Uint8Array(1000).fill(n))));
  const root = await blocks.put(encodeCanonical({ leaves: leaves.map(linkOf) }), cborCode);
  return { root, cids: [root, ...leaves], get: (cid: Cid) => blocks.get(cid) };
}

const never = new AbortController().signal;

describe('pinAtKubo', () => {
  test('sends the whole DAG as one archive and asks for its root to be pinned', async () => {
    const node = await kubo();
    const { root, cids, get } = await dag();
    await pinAtKubo({ url: `${node.url}/`, authorization: 'Basic x' }, root, get, never);
    expect(node.asked).toHaveLength(1);
    expect(node.asked[0]).toMatchObject({ authorization: 'Basic x', roots: [root], cids });
    expect(node.asked[0]?.url).toMatch(/^\/api\/v0\/dag\/import\?pin-roots=true/);
  });

  test.each([
    ['an error', { failures: 1 }],
    ['another root', { answer: () => '{"Root":{"Cid":{"/":"bafkother"},"PinErrorMsg":""}}' }],
    [
      'a pin that failed',
      { answer: (root: string) => `{"Root":{"Cid":{"/":"${root}"},"PinErrorMsg":"no"}}` },
    ],
    ['nothing', { answer: () => '' }],
    ['an endless answer', { answer: () => 'x'.repeat(1 << 20) }],
  ])('takes %s for no', async (_, options) => {
    const node = await kubo(options);
    const { root, get } = await dag();
    const pinning = pinAtKubo({ url: node.url }, root, get, never);
    await expect(pinning).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('Pinner', () => {
  const ports = (pin: (cid: Cid) => Promise<void>) => {
    const outcomes: string[] = [];
    const outcome = (each: string) => void outcomes.push(each);
    return { outcomes, pinner: new Pinner({ pin, outcome, log: silentLogger, pauseMs: () => 1 }) };
  };
  const until = async (is: () => boolean) => {
    while (!is()) await new Promise((resolve) => setTimeout(resolve, 2));
  };

  test('tries again, gives up in the end, and goes on with the next', async () => {
    const tries = new Map<Cid, number>();
    const { pinner, outcomes } = ports(async (cid) => {
      tries.set(cid, (tries.get(cid) ?? 0) + 1);
      if (cid === 'gone') throw new AtollError('not_found', 'collected');
      if (cid === 'never' || (tries.get(cid) as number) < 3) throw new AtollError('unavailable', 'no');
    });
    for (const cid of ['a', 'never', 'gone', 'b']) pinner.add(cid);
    await until(() => outcomes.length === 4);
    expect(outcomes).toEqual(['pinned', 'failed', 'failed', 'pinned']);
    expect([...tries.values()]).toEqual([3, 12, 1, 3]);
  });

  test('forgets the oldest when too many wait, and ends at once when closed', async () => {
    const gate = Promise.withResolvers<void>();
    const { pinner, outcomes } = ports(() => gate.promise);
    for (let i = 0; i < 50; i++) pinner.add(`x${i}`);
    expect(pinner.waiting).toBeLessThanOrEqual(32);
    expect(outcomes.filter((each) => each === 'dropped')).toHaveLength(17);
    const closing = pinner.close();
    gate.reject(new AtollError('cancelled', 'closed'));
    await closing;
    expect(outcomes).not.toContain('failed');
  });
});

test('a coordinator pins the checkpoint of a round that closes, and waits for nobody', async () => {
  const node = await kubo({ failures: 1 });
  const coordinator = await testCoordinator({ pinning: { url: node.url } });
  const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
  for (let i = 0; i < 2; i++) testContributor(coordinator).start();
  await coordinator.settled(job, 1);
  const { checkpoint } = await coordinator.status(job);
  await expect.poll(() => node.asked[0]?.roots, { timeout: 20_000 }).toEqual([checkpoint]);
  expect(node.asked[0]?.cids[0]).toBe(checkpoint);
});

/** Links between pages of a real Chromium, and between a page and Node, over real WebRTC, signalled by the coordinator's relay. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { limits } from '#protocol/limits.ts';
import { endWebRtc } from '#workers/node/p2p-transport.ts';
import type { Libp2pTransport } from '#workers/p2p/libp2p/transport.ts';
import { openPages, type Pages } from '#workers/p2p/testing/pages.ts';
import { startNodePeer } from '#workers/p2p/testing/relay-server.ts';

let pages: Pages;
let node: Libp2pTransport;

beforeAll(async () => {
  pages = await openPages();
  node = await startNodePeer(pages.url);
});
afterAll(async () => {
  await node.stop();
  await pages.close();
  await endWebRtc();
});

it('a page reaches a page, and blocks go there and back', async () => {
  const [a, b] = [await pages.peer(), await pages.peer()];
  const addresses = await b.page.evaluate(() => globalThis.p2pPage.addresses());
  expect(addresses).toHaveLength(1);
  const dialled = await a.page.evaluate(([id, at]) => globalThis.p2pPage.dial(id, at), [
    b.id,
    addresses,
  ] as const);
  expect(dialled.state).toBe('direct');
  for (const size of [1, 65_536, 1 << 20]) {
    expect(
      await a.page.evaluate(([id, bytes]) => globalThis.p2pPage.echo(id, bytes), [b.id, size] as const),
    ).toBe(size);
  }
  // Closing on one side ends it on the other, and it can be made again, from there.
  await a.page.evaluate((id) => globalThis.p2pPage.closeLink(id), b.id);
  await b.page.waitForFunction(() => globalThis.p2pPage.counts().links === 0);
  await b.page.evaluate((id) => globalThis.p2pPage.dial(id), a.id);
  expect(await b.page.evaluate((id) => globalThis.p2pPage.echo(id, 1000), a.id)).toBe(1000);
  // A tab that is closed is gone for the other within the time that ICE takes to notice at the most.
  await b.page.close();
  await a.page.waitForFunction(() => globalThis.p2pPage.counts().links === 0);
  await a.page.close();
});

it('a connection that has ended leaves the memory of the page', async () => {
  const [a, b] = [await pages.peer(), await pages.peer()];
  const session = await a.page.context().newCDPSession(a.page);
  const used = async () => {
    await session.send('HeapProfiler.collectGarbage');
    const { connectionsLeft } = await a.page.evaluate(() => globalThis.p2pPage.counts());
    return limits.peerConnectionsMax - connectionsLeft;
  };
  for (let i = 0; i < 4; i++) {
    await a.page.evaluate((id) => globalThis.p2pPage.dial(id), b.id);
    expect(await used()).toBeGreaterThan(0);
    await a.page.evaluate((id) => globalThis.p2pPage.closeLink(id), b.id);
    await b.page.waitForFunction(() => globalThis.p2pPage.counts().links === 0);
  }
  // The last may still be held by what is running down.
  await expect.poll(used, { timeout: 20_000 }).toBeLessThan(2);
  await a.page.close();
  await b.page.close();
});

it('a page reaches Node, and Node a page', async () => {
  const { page, id } = await pages.peer();
  node.onLink((link) =>
    link.listen({
      frame(bytes) {
        bytes[0] = 5;
        link.send(bytes);
      },
      drain() {},
      close() {},
    }),
  );
  await page.evaluate((peer) => globalThis.p2pPage.dial(peer), node.peer);
  expect(await page.evaluate((peer) => globalThis.p2pPage.echo(peer, 1 << 20), node.peer)).toBe(1 << 20);
  await page.evaluate((peer) => globalThis.p2pPage.closeLink(peer), node.peer);
  await expect.poll(() => node.links.length).toBe(0);
  const link = await node.dial({ peer: id, addresses: [] });
  expect(link.direction).toBe('outbound');
  await page.waitForFunction(() => globalThis.p2pPage.counts().links === 1);
  await page.close();
});

/**
 * Tabs of a real Chromium give a fourth one a file, and go away in the middle of it: one is closed, one breaks down without a word. The rest comes from the one
 * that stays, and nothing that had been asked of the others is forgotten.
 *
 * How long nothing may stand still is held down where the clock is made (workers/p2p/exchange/leaving.test.ts); here the longest pause is told.
 */
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openPages, type Pages } from '#workers/p2p/testing/pages.ts';
import { testNetwork } from '#workers/p2p/testing/relay-server.ts';

/** A file of 12 MiB: who stays needs some seconds for all of it, and who leaves has so thin an uplink that it is in the middle of a block all the time. */
const blocks = 48;
const [thinBytesPerSecond, upBytesPerSecond] = [160 << 10, 1 << 20];
/** What who leaves has given of a block of 256 KiB. */
const begunBytes = 32 << 10;

let pages: Pages;
beforeAll(async () => {
  pages = await openPages();
});
afterAll(() => pages?.close());

async function openPeer(uplink: number): Promise<{ page: Page; id: string }> {
  const page = await pages.tab();
  const id = await page.evaluate(([url, network, cap]) => globalThis.exchangePage.open(url, network, cap), [
    pages.url,
    testNetwork,
    uplink,
  ] as const);
  return { page, id };
}

it('gets the rest from who stays when tabs are closed and break down in the middle', async () => {
  const [taker, staying] = [await openPeer(upBytesPerSecond), await openPeer(upBytesPerSecond)];
  const [closing, breaking] = [await openPeer(thinBytesPerSecond), await openPeer(thinBytesPerSecond)];
  for (const { page, id } of [closing, breaking, staying]) {
    await page.evaluate((count) => globalThis.exchangePage.hold(count), blocks);
    await taker.page.evaluate((peer) => globalThis.exchangePage.dial(peer), id);
  }
  const look = () => taker.page.evaluate(() => globalThis.exchangePage.transfer());
  await taker.page.evaluate((count) => globalThis.exchangePage.fetch(count), blocks);
  await taker.page.waitForFunction(
    ([least, ...ids]) => ids.every((id) => (globalThis.exchangePage.transfer().byPeer[id] ?? 0) > least),
    [begunBytes, closing.id, breaking.id] as [number, ...string[]],
    { polling: 50 },
  );
  const session = await breaking.page.context().newCDPSession(breaking.page);
  const broken = new Promise((resolve) => breaking.page.once('crash', resolve));
  void session.send('Page.crash').catch(() => {}); // nobody is left to answer
  await Promise.all([closing.page.close(), broken]);
  expect((await look()).here, 'in the middle').toBeLessThan(blocks);
  await expect.poll(async () => (await look()).here, { timeout: 120_000, interval: 200 }).toBe(blocks);
  const { byPeer, bytes, longestPauseMs, originAsks } = await look();
  console.log(
    `${bytes} bytes for ${blocks} blocks; the longest pause was ${Math.round(longestPauseMs)} ms, of ${originAsks} questions to the origin`,
  );
  expect(byPeer[staying.id]).toBeGreaterThan((blocks / 2) * (256 << 10));
});

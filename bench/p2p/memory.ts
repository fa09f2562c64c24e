/**
 * Whether a page grows while peers come and go: one page stays, another joins with a new key, is dialled, sends a block, and leaves, politely or by being
 * loaded anew. Compared is what the page that stays holds after a collection: JavaScript, what the browser keeps for it, and buffers.
 */
import type { CDPSession } from 'playwright-core';
import type { BenchRow } from '#scripts/bench.ts';
import { openPages, type Pages } from '#workers/p2p/testing/pages.ts';
import { testNetwork } from '#workers/p2p/testing/relay-server.ts';
import { bounded, information } from '../rig/duel.ts';
import type { Say } from './suite.ts';

type Staying = Awaited<ReturnType<Pages['peer']>>;

/** Before the first look: engines compile, caches fill. */
const warmUps = 10;

export async function memoryRows(say: Say, quick: boolean): Promise<BenchRow[]> {
  const joins = quick ? 5 : 50;
  const pages = await openPages();
  try {
    const staying = await pages.peer();
    const session = await staying.page.context().newCDPSession(staying.page);
    for (let i = 0; i < warmUps; i++) await joinAndLeave(pages, staying, i);
    const before = await heldBytes(session);
    for (let i = 0; i < joins; i++) await joinAndLeave(pages, staying, i);
    const after = await heldBytes(session);
    const left = await staying.page.evaluate(() => globalThis.p2pPage.counts());
    say(`  ${before} bytes before, ${after} after; ${left.connectionsLeft} connections left to the page`);
    return [
      bounded(`growth of memory after ${joins} joins and leaves`, 100 * (after / before - 1), '%', {
        atMost: 10,
        aim: 0,
      }),
      information('memory of the page that stays', after / 2 ** 20, 'MiB'),
      information('links that are left', left.links, ''),
    ];
  } finally {
    await pages.close();
  }
}

async function joinAndLeave(pages: Pages, staying: Staying, index: number): Promise<void> {
  const page = await pages.tab();
  const id = await page.evaluate(([url, network]) => globalThis.p2pPage.open(url, network), [
    pages.url,
    testNetwork,
  ] as const);
  await staying.page.evaluate((peer) => globalThis.p2pPage.dial(peer), id);
  await staying.page.evaluate((peer) => globalThis.p2pPage.echo(peer, 1 << 20), id);
  if (index % 2 === 0) await page.evaluate(() => globalThis.p2pPage.stop());
  await page.context().close();
  await staying.page.waitForFunction(() => globalThis.p2pPage.counts().links === 0);
}

interface HeapUsage {
  usedSize: number;
  embedderHeapUsedSize?: number;
  backingStorageSize?: number;
}

async function heldBytes(session: CDPSession): Promise<number> {
  // What a collection frees may free more in the next.
  for (let i = 0; i < 3; i++) await session.send('HeapProfiler.collectGarbage');
  const usage = (await session.send('Runtime.getHeapUsage')) as HeapUsage;
  return usage.usedSize + (usage.embedderHeapUsedSize ?? 0) + (usage.backingStorageSize ?? 0);
}

/**
 * How many dials end connected: one page dials another, over and over, and closes the link each time. A dial is what the exchange calls: it has the
 * transport's own tries in it, and how many it took is told beside. Pages are renewed, since a browser allows one 500 connections.
 */
import type { BenchRow } from '#scripts/bench.ts';
import { openPages, type Pages } from '#workers/p2p/testing/pages.ts';
import { bounded, information, median } from '../rig/duel.ts';
import type { Say } from './suite.ts';

const dialsAPair = 50;

export async function dialRows(say: Say, quick: boolean): Promise<BenchRow[]> {
  const wanted = quick ? 20 : 200;
  const pages = await openPages();
  try {
    const all = { connected: 0, tries: 0, ms: [] as number[] };
    for (let done = 0; done < wanted; done += dialsAPair) {
      await dialPair(pages, Math.min(dialsAPair, wanted - done), all, say);
    }
    const { connected, tries, ms } = all;
    say(`  ${connected} of ${wanted} connected with ${tries} tries`);
    return [
      bounded(`dials that end connected, ${wanted} dials`, (100 * connected) / wanted, '%', {
        atLeast: 99,
        aim: 99.9,
      }),
      information('tries a dial', tries / wanted, ''),
      information('a dial, median by the clock', median(ms), 'ms'),
    ];
  } finally {
    await pages.close();
  }
}

async function dialPair(
  pages: Pages,
  count: number,
  all: { connected: number; tries: number; ms: number[] },
  say: Say,
): Promise<void> {
  const [from, to] = [await pages.peer(), await pages.peer()];
  for (let i = 0; i < count; i++) {
    try {
      const { ms } = await from.page.evaluate((peer) => globalThis.p2pPage.dial(peer), to.id);
      const echoed = await from.page.evaluate((peer) => globalThis.p2pPage.echo(peer, 1000), to.id);
      if (echoed !== 1000) throw new Error('The echo is wrong.');
      all.connected++;
      all.ms.push(ms);
      await from.page.evaluate((peer) => globalThis.p2pPage.closeLink(peer), to.id);
      await to.page.waitForFunction(() => globalThis.p2pPage.counts().links === 0);
    } catch (error) {
      say(`  a dial failed: ${(error as Error).message.split('\n')[0]}`);
    }
  }
  all.tries += await from.page.evaluate(() => globalThis.p2pPage.counts().tries);
  await from.page.close();
  await to.page.close();
}

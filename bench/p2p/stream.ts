/**
 * The shard stream against a bare RTCDataChannel between the same two pages: 1 MiB frames against 64 KiB messages, by turns. Both sides are told when the last
 * byte is there. Compared are rates by the clock within a pair of runs, and CPU-seconds of all of the browser, less those at rest.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchRow } from '#scripts/bench.ts';
import { openPages, type Pages } from '#workers/p2p/testing/pages.ts';
import { treeSeconds } from '../rig/cpu-time.ts';
import { bounded, information, median } from '../rig/duel.ts';
import type { Say } from './suite.ts';

const messageBytes = 1 << 16;
const frameBytes = 1 << 20;

interface Run {
  /** Bytes a second. */
  rate: number;
  cpuSeconds: number;
}

export async function streamRows(say: Say, quick: boolean): Promise<BenchRow[]> {
  const [rounds, bytes] = quick ? [5, 16 << 20] : [15, 64 << 20];
  const pages = await openPages();
  try {
    const contest = await prepare(pages, bytes);
    await contest.raw();
    await contest.stream();
    const idle = await idleRate(pages);
    const pairs: { raw: Run; stream: Run }[] = [];
    for (let i = 0; i < rounds; i++) {
      // Who is first changes, so that what drifts hits both alike.
      const first = i % 2 === 0 ? 'raw' : 'stream';
      const one = await timed(pages.pid, idle, bytes, contest[first]);
      const two = await timed(pages.pid, idle, bytes, contest[first === 'raw' ? 'stream' : 'raw']);
      pairs.push(first === 'raw' ? { raw: one, stream: two } : { raw: two, stream: one });
      const last = pairs.at(-1);
      say(`  ${told(last?.raw)} raw, ${told(last?.stream)} stream`);
    }
    return rowsOf(pairs, bytes);
  } finally {
    await pages.close();
  }
}

const told = (run?: Run) =>
  `${((run?.rate ?? 0) / 2 ** 20).toFixed(1)} MiB/s with ${run?.cpuSeconds.toFixed(2)} CPU-seconds`;

function rowsOf(pairs: readonly { raw: Run; stream: Run }[], bytes: number): BenchRow[] {
  const rates = median(pairs.map(({ raw, stream }) => stream.rate / raw.rate));
  const cpu = median(pairs.map(({ raw, stream }) => stream.cpuSeconds / raw.cpuSeconds));
  const gib = (kind: 'raw' | 'stream') =>
    (median(pairs.map((pair) => pair[kind].cpuSeconds)) / bytes) * 2 ** 30;
  return [
    bounded('shard stream / raw RTCDataChannel, median of pairs', rates, 'x', { atLeast: 0.85, aim: 0.95 }),
    bounded('CPU of the shard stream / of the raw one', cpu, 'x', { atMost: 1.25, aim: 1.1 }),
    information('CPU a GiB over the shard stream, both pages', gib('stream'), 's'),
    information('CPU a GiB over the raw one, both pages', gib('raw'), 's'),
  ];
}

async function prepare(pages: Pages, bytes: number) {
  const [a, b] = [await pages.peer(), await pages.peer()];
  await a.page.evaluate((peer) => globalThis.p2pPage.dial(peer), b.id);
  const offer = await a.page.evaluate(() => globalThis.p2pPage.rawOffer());
  const answer = await b.page.evaluate((given) => globalThis.p2pPage.rawAnswer(given), offer);
  await a.page.evaluate((given) => globalThis.p2pPage.rawAccept(given), answer);
  return {
    raw: () =>
      a.page.evaluate(([size, message]) => globalThis.p2pPage.sendRaw(size, message), [
        bytes,
        messageBytes,
      ] as const),
    stream: () =>
      a.page.evaluate(([peer, size, frame]) => globalThis.p2pPage.sendOverLink(peer, size, frame), [
        b.id,
        bytes,
        frameBytes,
      ] as const),
  };
}

/** CPU-seconds a second while nothing is asked of the pages: the least of some windows. */
async function idleRate({ pid }: Pages): Promise<number> {
  const windows: number[] = [];
  for (let i = 0; i < 3; i++) {
    const [before, from] = [treeSeconds(pid), performance.now()];
    await sleep(1000);
    windows.push((treeSeconds(pid) - before) / ((performance.now() - from) / 1000));
  }
  return Math.min(...windows);
}

async function timed(
  pid: number,
  idle: number,
  bytes: number,
  act: () => Promise<{ ms: number }>,
): Promise<Run> {
  const before = treeSeconds(pid);
  const from = performance.now();
  const { ms } = await act();
  const seconds = (performance.now() - from) / 1000;
  return {
    rate: bytes / (ms / 1000),
    cpuSeconds: Math.max(0.01, treeSeconds(pid) - before - idle * seconds),
  };
}

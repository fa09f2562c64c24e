/**
 * What leaves the origin when five pages that join within five seconds want one file of 32 MiB, and when one page has it already: bytes as the coordinator's own
 * metrics count them, over the size of the file. Each page dials those who came before it, as the coordinator would name
 * them, and then asks for the file.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Browser, chromium, type Page } from 'playwright-core';
import { type Coordinator, createCoordinator } from '#coordinator/main.ts';
import { fakeInitialCheckpoint, testJob } from '#coordinator/testing/fake-programs.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import { writeFile } from '#protocol/messages/file.ts';
import type { BenchRow } from '#scripts/bench.ts';
import { bundle, writeBundle } from '#scripts/bundle.ts';
import { findChromium } from '#scripts/find-chromium.ts';
import type { Manifest } from '#workers/p2p/exchange/events.ts';
import { manifestOfFiles } from '#workers/p2p/exchange/manifest.ts';
import { bounded, information } from '../rig/duel.ts';
import type { Say } from './suite.ts';

const pagesCount = 5;
/** Between the joins of two pages: all are there within five seconds. */
const joinMs = 900;
const fetchMsMax = 180_000;
const dialMsMax = 5_000;

export async function originRows(say: Say, quick: boolean): Promise<BenchRow[]> {
  const bytes = (quick ? 8 : 32) << 20;
  const folder = await mkdtemp(path.join(tmpdir(), 'atoll-bench-origin-'));
  await writeBundle(path.join(folder, 'dist'), 'page', await bundle('page', 'bench/p2p/origin-page.ts'));
  const browser = await chromium.launch({
    executablePath: await findChromium(),
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--disable-background-timer-throttling',
      '--disable-renderer-backgrounding',
    ],
  });
  try {
    const cold = await swarm(browser, folder, bytes, false);
    say(`  ${told(cold)} with nobody seeding`);
    const seeded = await swarm(browser, folder, bytes, true);
    say(`  ${told(seeded)} with one page seeding`);
    const size = `${bytes >> 20} MiB`;
    return [
      bounded(
        `origin bytes / size, ${pagesCount} pages that join within 5 s and want one file of ${size}`,
        cold.ratio,
        'x',
        { atMost: 1.1, aim: 1 },
      ),
      bounded('the same with one page seeding already', seeded.ratio, 'x', { atMost: 0.05, aim: 0 }),
      information('until the last of them has it, nobody seeding', cold.ms / 1000, 's'),
    ];
  } finally {
    await browser.close();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Outcome {
  ratio: number;
  ms: number;
}

const told = ({ ratio, ms }: Outcome) =>
  `${ratio.toFixed(3)}x the file from the origin in ${(ms / 1000).toFixed(1)} s`;

async function swarm(browser: Browser, folder: string, bytes: number, isSeeded: boolean): Promise<Outcome> {
  const dataDir = await mkdtemp(path.join(folder, 'data-'));
  const staticDir = path.join(folder, 'dist');
  const coordinator = await createCoordinator({
    ...{ dataDir, staticDir, port: 0, p2p: {}, initialCheckpoint: fakeInitialCheckpoint },
  });
  const contexts: { close(): Promise<void> }[] = [];
  const join = async (): Promise<Page> => {
    const context = await browser.newContext();
    contexts.push(context);
    const page = await context.newPage();
    await page.goto(coordinator.url);
    await page.waitForFunction(() => 'swarmPage' in globalThis);
    return page;
  };
  try {
    const file = await publish(coordinator, bytes);
    const ids: string[] = [];
    if (isSeeded) await fetchBy(await join(), coordinator, ids, file);
    const before = await egress(coordinator);
    const from = performance.now();
    const pages = await Promise.all(Array.from({ length: pagesCount }, () => join()));
    const fetches = pages.map(async (page, i) => {
      await sleep(i * joinMs);
      return fetchBy(page, coordinator, ids, file);
    });
    await Promise.all(fetches);
    return { ratio: ((await egress(coordinator)) - before) / bytes, ms: performance.now() - from };
  } finally {
    for (const context of contexts) await context.close();
    await coordinator.close();
  }
}

/** Joins and has the whole file in the end. Throws when it has not. */
async function fetchBy(page: Page, coordinator: Coordinator, ids: string[], file: Manifest): Promise<void> {
  const id = await page.evaluate(([url, network]) => globalThis.swarmPage.open(url, network), [
    coordinator.url,
    coordinator.network,
  ] as const);
  const others = [...ids];
  ids.push(id);
  // Neighbours are named before work is: a page asks for blocks when it has reached them, or waited for as long as that may take.
  const dials = page.evaluate((peers) => globalThis.swarmPage.dial(peers), others);
  await Promise.race([dials, sleep(dialMsMax, null, { ref: false })]);
  const fetched = page.evaluate((given) => globalThis.swarmPage.fetch(given), file);
  const late = sleep(fetchMsMax, null, { ref: false });
  const ended = await Promise.race([fetched, late]);
  if (!ended?.done) throw new Error('A page did not get the whole file.');
}

/** A text of random letters, so that no two blocks are alike; the corpus of a job is public. */
async function publish(coordinator: Coordinator, bytes: number): Promise<Manifest> {
  const text = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(text.subarray(at, at + 65_536));
  for (let i = 0; i < bytes; i++) text[i] = 97 + ((text[i] as number) % 26);
  const job = await coordinator.ensureJob(testJob(), text);
  return manifestOfFiles(job, [await writeFile(new MemoryBlocks(), text)]);
}

async function egress(coordinator: Coordinator): Promise<number> {
  const text = await (await fetch(`${coordinator.url}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith('atoll_gateway_bytes_total{'));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/**
 * The longest task on a page's main thread while 32 MiB arrive and a unit is computed: the real page in Chromium, contributing on WebAssembly, gets the blocks of a file
 * from another page over WebRTC while its worker computes a long unit of the honest kind. Taken from a trace between two marks.
 *
 * Judged is the CPU time of the thread in a task, since the time by the clock has in it what the machine does besides; that is told beside it. The one thing that
 * is not as people have it: the worker's member of the swarm is reachable from here, so that the file can be wanted at a chosen moment.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page, type Worker } from 'playwright-core';
import { build, type Plugin } from 'vite';
import { type Coordinator, createCoordinator } from '#coordinator/main.ts';
import { initialCheckpoint, probeDigest } from '#kernels/index.ts';
import { constant, toBits } from '#kernels/ops/math/cpu.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import { type File, writeFile } from '#protocol/messages/file.ts';
import type { Job } from '#protocol/messages/job.ts';
import type { BenchRow } from '#scripts/bench.ts';
import { findChromium } from '#scripts/find-chromium.ts';
import type { SwarmMember } from '#workers/p2p/swarm-member.ts';
import { bounded, information } from '../rig/duel.ts';
import { longestTasks, type TraceEvent } from './long-tasks.ts';
import type { Say } from './suite.ts';

declare global {
  // eslint-disable-next-line no-var
  var benchMember: SwarmMember | undefined;
}

const bits = (x: number) => toBits(constant(x));
/** A unit takes many seconds, a step some hundredths. */
const job: Omit<Job, 'corpus'> = {
  v: 1,
  kind: 'train',
  name: 'main thread',
  model: { L: 2, C: 64, NH: 4, T: 64, V: 256 },
  policy: 'i10sr',
  training: {
    ...{ lanes: 2, steps: 600, batch: 4, lr: bits(1e-3), warmup: 10 },
    ...{ beta1: bits(0.9), beta2: bits(0.99), eps: bits(1e-8), weightDecay: bits(0.1) },
    ...{ outerLr: bits(0.7), outerMomentum: bits(0.9), heldOut: 8 },
  },
  seed: 5,
};
const linkMsMax = 120_000;
const arriveMsMax = 180_000;
const categories = ['devtools.timeline', 'disabled-by-default-devtools.timeline', 'blink.user_timing'];
const [from, to] = ['atoll-bench-from', 'atoll-bench-to'];

export async function mainThreadRows(say: Say, quick: boolean): Promise<BenchRow[]> {
  const bytes = (quick ? 8 : 32) << 20;
  const folder = await mkdtemp(path.join(tmpdir(), 'atoll-bench-page-'));
  try {
    const staticDir = path.join(folder, 'dist');
    await buildPage(staticDir);
    return await measure(folder, staticDir, bytes, say);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(folder: string, staticDir: string, bytes: number, say: Say): Promise<BenchRow[]> {
  const coordinator = await createCoordinator({
    ...{
      dataDir: path.join(folder, 'data'),
      staticDir,
      port: 0,
      p2p: {},
      initialCheckpoint,
      probe: probeDigest,
    },
  });
  const browser = await launch();
  try {
    const text = randomText(bytes);
    const id = await coordinator.ensureJob(job, text);
    const corpus = await writeFile(new MemoryBlocks(), text);
    const [seed, page] = [await openTab(browser, coordinator), await openTab(browser, coordinator)];
    for (const each of [seed, page]) await linked(each, say);
    await arrive(await memberOf(seed), id, corpus, say);
    const tasks = await traced(browser, page, () => arriveFromPeer(page, id, corpus, say));
    return rowsOf(tasks, bytes, say);
  } finally {
    await browser.close();
    await coordinator.close();
  }
}

function rowsOf(tasks: ReturnType<typeof longestTasks>, bytes: number, say: Say): BenchRow[] {
  const [longest] = tasks.main;
  for (const { cpuMs, wallMs, what } of tasks.main.slice(0, 5))
    say(`  ${cpuMs.toFixed(1)} ms of CPU, ${wallMs.toFixed(1)} ms by the clock: ${what}`);
  const id = `longest main-thread task while ${bytes >> 20} MiB arrive and a unit is computed`;
  return [
    bounded(id, longest?.cpuMs ?? Number.NaN, 'ms of CPU', { atMost: 50, aim: 20 }),
    information('the same by the clock', Math.max(...tasks.main.map(({ wallMs }) => wallMs)), 'ms'),
    information('tasks meanwhile', tasks.count, ''),
    information('of that time the main thread computed', (100 * tasks.mainMs) / tasks.windowMs, '%'),
    information('of that time the workers computed', (100 * tasks.workersMs) / tasks.windowMs, '%'),
  ];
}

async function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: await findChromium(),
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic'],
  });
}

async function openTab(browser: Browser, { url }: Coordinator): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${url}/?backend=wasm&threads=1`, { timeout: linkMsMax });
  await page.getByLabel('Exchange model data directly').check();
  await page.getByRole('button', { name: 'Start contributing' }).click();
  return page;
}

async function linked(page: Page, say: Say): Promise<void> {
  try {
    await page.getByText('1 direct, 0 relayed, 0 failed').waitFor({ timeout: linkMsMax });
  } catch (error) {
    say(`  ${(await page.locator('main').innerText()).replaceAll('\n', ' | ')}`);
    throw error;
  }
}

async function memberOf(page: Page): Promise<Worker> {
  for (const worker of page.workers())
    if (await worker.evaluate(() => globalThis.benchMember !== undefined)) return worker;
  throw new Error('The page has no contributor.');
}

/** Until the whole file is here. */
async function arrive(worker: Worker, id: Cid, corpus: File, say: Say): Promise<void> {
  await worker.evaluate(([root, file]) => globalThis.benchMember?.files(root, [file]), [id, corpus] as const);
  for (const until = performance.now() + arriveMsMax; performance.now() < until; await sleep(250)) {
    const missing = await worker.evaluate(() => globalThis.benchMember?.exchange.stats().missing);
    if (missing === 0) return;
  }
  say(`  ${JSON.stringify(await worker.evaluate(() => globalThis.benchMember?.view()))}`);
  throw new Error('The file did not arrive in time.');
}

async function arriveFromPeer(page: Page, id: Cid, corpus: File, say: Say): Promise<void> {
  const worker = await memberOf(page);
  const got = () => worker.evaluate(() => globalThis.benchMember?.view().peerBytes ?? 0);
  const before = await got();
  const at = performance.now();
  await arrive(worker, id, corpus, say);
  const share = ((await got()) - before) / corpus.size;
  say(
    `  in ${((performance.now() - at) / 1000).toFixed(1)} s, ${(100 * share).toFixed(0)}% from the other page`,
  );
  if (share < 0.9) throw new Error('The file came from the coordinator and not from the other page.');
}

async function traced(browser: Browser, page: Page, act: () => Promise<void>) {
  await browser.startTracing(page, { categories });
  await page.evaluate((name) => void performance.mark(name), from);
  await act();
  await page.evaluate((name) => void performance.mark(name), to);
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString()) as {
    traceEvents: TraceEvent[];
  };
  return longestTasks(traceEvents, from, to);
}

/** Random letters, so that no two blocks are alike; the corpus of a job is public. */
function randomText(bytes: number): Uint8Array {
  const text = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(text.subarray(at, at + 65_536));
  return text.map((byte) => 97 + (byte % 26));
}

/** The page as it is built for people, but for a name by which the worker's member of the swarm is found. */
async function buildPage(outDir: string): Promise<void> {
  const root = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
  const line = 'this.cache = new ExchangedCache(cache, this.exchange);';
  const door: Plugin = {
    name: 'atoll-bench-door',
    enforce: 'pre',
    transform(code, id) {
      if (!id.endsWith('/workers/p2p/swarm-member.ts')) return null;
      if (!code.includes(line)) throw new Error('The member of the swarm is not made as the bench knows it.');
      return code.replace(line, `${line} globalThis.benchMember = this;`);
    },
  };
  await build({
    configFile: root('vite.config.ts'),
    root: root('web'),
    logLevel: 'error',
    worker: { format: 'es', plugins: () => [door] },
    build: { outDir, emptyOutDir: true },
  });
}

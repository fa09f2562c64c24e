/**
 * The page's contributor in a real Chromium: nothing before start, a kept key, work with the reference and on WebGPU (SwiftShader), honest
 * words where there is no device, and nothing left after stop.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Coordinator, createCoordinator } from '#coordinator/main.ts';
import { testJob, testText } from '#coordinator/testing/fake-programs.ts';
import { initialCheckpoint } from '#kernels/model/init.ts';
import { probeDigest } from '#kernels/index.ts';
import { parseValue } from '#protocol/codec/cbor.ts';
import { networkSchema, routes } from '#protocol/http/api.ts';
import { bundle, writeBundle } from '#scripts/bundle.ts';
import { findChromium } from '#scripts/find-chromium.ts';
import type { ContributorView } from '../runtime/view.ts';
import type { createContributor } from './start.ts';

let dir: string;
let coordinator: Coordinator;
let withGpu: Browser;
let context: BrowserContext;

beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'atoll-browser-'));
  const files = await bundle('page', 'workers/browser/testing/start-page.ts');
  await writeBundle(path.join(dir, 'dist'), 'page', files);
  coordinator = await createCoordinator({
    dataDir: path.join(dir, 'coordinator'),
    port: 0,
    staticDir: path.join(dir, 'dist'),
    initialCheckpoint,
    probe: probeDigest,
    stopAfterRounds: 1,
  });
  withGpu = await launch('--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader');
}, 120_000);

afterAll(async () => {
  await withGpu?.close();
  await coordinator?.close();
  await rm(dir, { recursive: true, force: true });
});

afterEach(() => context?.close());

describe('createContributor', () => {
  it('does nothing before start', async () => {
    const page = await open(withGpu, { backend: 'reference' });
    await page.waitForTimeout(200);
    expect(page.workers()).toEqual([]);
    expect(await online()).toBe(0);
    expect((await view(page)).phase).toBe('stopped');
    expect(await page.evaluate(async () => (await indexedDB.databases()).length)).toBe(0);
  });

  it('contributes, keeps its key over a reload, and leaves nothing after stop', async () => {
    const page = await open(withGpu, { backend: 'reference' });
    await page.evaluate(() => window.control.start());
    const first = await until(page, (v) => v.phase === 'waiting');
    expect(page.workers()).toHaveLength(2); // and the one that owns the disk
    await page.evaluate(() => window.control.pause());
    await until(page, (v) => v.phase === 'paused');
    await page.evaluate(() => window.control.resume());
    await until(page, (v) => v.phase === 'waiting');
    await page.evaluate(() => window.control.stop());
    expect((await view(page)).phase).toBe('stopped');
    await expect.poll(() => page.workers().length).toBe(0);

    await page.reload();
    await make(page, { backend: 'reference' });
    await page.evaluate(() => window.control.start());
    const again = await until(page, (v) => v.phase === 'waiting');
    expect(again.contributor).toBe(first.contributor);
    expect(again.notice).toBeUndefined();
  });

  it('two tabs with one key, and one on WebGPU with another, train a round', async () => {
    const job = await coordinator.ensureJob(testJob(), testText());
    const page = await open(withGpu, { backend: 'reference' });
    const tab = await context.newPage();
    await tab.goto(coordinator.url);
    await make(tab, { backend: 'wasm' });
    const other = await withGpu.newContext();
    const gpu = await other.newPage();
    await gpu.goto(coordinator.url);
    await make(gpu, { allowSoftware: true });
    await Promise.all([page, tab, gpu].map((each) => each.evaluate(() => window.control.start())));
    const status = await coordinator.settled(job, 1);
    expect(status.rounds).toHaveLength(1);
    expect(status.unitsSplit).toBe(0);
    const onGpu = await until(gpu, (v) => v.agreed > 0);
    expect(onGpu).toMatchObject({
      rejected: 0,
      problem: null,
      device: { backend: 'webgpu', software: true },
    });
    const seen = [await view(page), await view(tab)];
    expect(seen[0]?.contributor).toBe(seen[1]?.contributor);
    expect(seen.map(({ rejected }) => rejected)).toEqual([0, 0]);
    await other.close();
  });

  it('takes WebAssembly where the adapter is a software one, and says why', async () => {
    const page = await open(withGpu, {});
    await page.evaluate(() => window.control.start());
    const started = await until(page, (v) => v.phase === 'waiting');
    expect(started.device).toMatchObject({ backend: 'wasm' });
    expect(started.why).toMatch(/through WebAssembly.*WebGPU was passed over: WebGPU here runs on the CPU/);
  });

  it('takes as many threads as it is given: the coordinator isolates its page', async () => {
    const page = await open(withGpu, { backend: 'wasm', threads: 2 });
    await page.evaluate(() => window.control.start());
    const started = await until(page, (v) => v.phase === 'waiting');
    expect(started.device?.label).toBe('WebAssembly SIMD, 2 threads');
  });

  it('goes on with one thread where a second cannot be started, and says so', async () => {
    const page = await open(withGpu, { backend: 'wasm', threads: 2 });
    await prelude(
      page,
      "self.Worker=class extends Worker{constructor(){super('/none.js',{type:'module'})}};",
    );
    await page.evaluate(() => window.control.start());
    const started = await until(page, (v) => v.device !== null);
    expect(started.device?.label).toBe('WebAssembly SIMD');
    expect(started.why).toMatch(/on one thread. More threads were passed over/);
  });

  it('refuses a software adapter when WebGPU was asked for, and says what to do', async () => {
    const page = await open(withGpu, { backend: 'webgpu' });
    await page.evaluate(() => window.control.start());
    const failed = await until(page, (v) => v.phase === 'failed');
    expect(failed.problem?.code).toBe('no_device');
    expect(failed.reason).toMatch(/hardware acceleration/);
  });

  it.each(['webgpu', 'auto'] as const)(
    'says which browsers have WebGPU to %s without it',
    async (backend) => {
      const page = await open(withGpu, { backend });
      await page.route('**/contributor.worker*', async (route) => {
        const response = await route.fetch();
        const hide = "Object.defineProperty(WorkerNavigator.prototype,'gpu',{get:()=>undefined});";
        await route.fulfill({ response, body: hide + (await response.text()) });
      });
      await page.evaluate(() => window.control.start());
      const words = /Chrome or Edge 113.*Safari 26.*Firefox 141/;
      if (backend === 'auto') {
        // A browser without WebGPU computes all the same.
        const started = await until(page, (v) => v.device !== null);
        expect(started.device?.backend).toBe('wasm');
        return expect(started.why).toMatch(words);
      }
      const failed = await until(page, (v) => v.phase === 'failed');
      expect(failed.problem?.code).toBe('no_device');
      expect(failed.reason).toMatch(words);
    },
  );

  it('goes on with a key of its own where storage is refused, and says so', async () => {
    const page = await open(withGpu, { backend: 'reference' });
    await prelude(
      page,
      "Object.defineProperty(self,'indexedDB',{get(){throw new DOMException('no','SecurityError')}});",
    );
    await page.evaluate(() => window.control.start());
    const started = await until(page, (v) => v.contributor !== null);
    expect(started.notice).toMatch(/refuses storage/);
  });

  it('says so when its worker cannot be loaded, and can be started again', async () => {
    const page = await open(withGpu, { backend: 'reference' });
    await page.route('**/contributor.worker*', (route) => route.abort());
    await page.evaluate(() => window.control.start());
    const failed = await until(page, (v) => v.phase === 'failed');
    expect(failed.reason).toMatch(/could not be loaded.*Reload/);
    await page.unroute('**/contributor.worker*');
    await page.evaluate(() => window.control.start());
    await until(page, (v) => v.phase === 'waiting');
  });
});

describe('storedTuning', () => {
  it('keeps choices by adapter over a reload', async () => {
    const page = await open(withGpu, {});
    await page.evaluate(async () => {
      const port = window.storedTuning(() => {});
      await port.set('a', '64x64');
      await port.set('b', '32x64');
      await port.set('a', '128x64');
    });
    await page.reload();
    const kept = await page.evaluate(async () => {
      const port = window.storedTuning(() => {});
      return [await port.get('a'), await port.get('b'), await port.get('c')];
    });
    expect(kept).toEqual(['128x64', '32x64', null]);
  });
});

async function online(): Promise<number> {
  const response = await fetch(coordinator.url + routes.network);
  return parseValue(networkSchema, await response.json()).contributorsOnline;
}

async function launch(...args: string[]): Promise<Browser> {
  return chromium.launch({
    executablePath: await findChromium(),
    args: ['--headless', '--no-sandbox', ...args],
  });
}

type Options = Omit<Parameters<typeof createContributor>[0], 'url'>;

describe('blocks on disk', () => {
  it('are read again after a reload, and are gone when they are deleted', async () => {
    const page = await open(withGpu, { backend: 'reference' });
    const other = await withGpu.newContext();
    const fellow = await other.newPage();
    await fellow.goto(coordinator.url);
    await make(fellow, { backend: 'reference' });
    for (const each of [page, fellow]) await each.evaluate(() => window.control.start());
    // Units of its own: what the tabs above have computed is not given out again, and then no block would be read.
    const first = await coordinator.ensureJob(testJob({ warmup: 6 }, 'before'), testText());
    await coordinator.settled(first, 1);
    const before = await until(page, (v) => (v.kept?.heldBytes ?? 0) > 0 && v.phase === 'waiting');
    expect(before.kept?.why).toBeUndefined();
    await page.evaluate(() => window.control.stop());
    await page.reload();
    expect(await page.evaluate(() => window.kept.keptBytes())).toBeGreaterThan(0);
    await make(page, { backend: 'reference' });
    await page.evaluate(() => window.control.start());
    const started = await until(page, (v) => v.phase === 'waiting');
    expect(started.kept?.heldBytes).toBeGreaterThan(0);
    // Another job that begins with the same checkpoint and text; its units are others.
    const second = await coordinator.ensureJob(testJob({ warmup: 5 }, 'after'), testText());
    await coordinator.settled(second, 1);
    const after = await until(page, (v) => (v.kept?.readBytes ?? 0) > 0);
    expect(after.rejected).toBe(0);
    // Late verdicts may still bring outputs to the disk; the inputs are gone.
    const held = await page.evaluate(() => window.kept.keptBytes());
    await page.evaluate(() => window.control.forgetBlocks());
    expect(await page.evaluate(() => window.kept.keptBytes())).toBeLessThan(held / 2);
    await page.evaluate(() => window.control.stop());
    await page.evaluate(() => window.control.forgetBlocks());
    expect(await page.evaluate(() => window.kept.keptBytes())).toBe(0);
    await other.close();
  });

  it('survive a tab that is killed in the middle of a write, and tabs share them', async () => {
    const page = await open(withGpu, {});
    const put = async (at: Page, from: number, to: number) =>
      at.evaluate(
        async ([a, b]) => {
          window.shelf ??= await window.openRemoteShelf(64 << 20);
          for (let n = a; n < b; n++) await window.shelf.keep(...(await window.block(n)));
          return window.shelf.figures.heldBytes;
        },
        [from, to] as const,
      );
    const found = async (at: Page, count: number) =>
      at.evaluate(async (many) => {
        window.shelf ??= await window.openRemoteShelf(64 << 20);
        let right = 0;
        for (let n = 0; n < many; n++) {
          const [cid, bytes] = await window.block(n);
          const there = await window.shelf.find(cid);
          if (there && there.length === bytes.length && there.every((b, i) => b === bytes[i])) right++;
        }
        return right;
      }, count);
    expect(await put(page, 0, 8)).toBe(8 << 20);
    const tab = await context.newPage();
    await tab.goto(coordinator.url);
    expect(await found(tab, 8)).toBe(8);
    await put(tab, 8, 12);
    // What the first tab did not know of it finds all the same, for it asks the folder.
    expect(await found(page, 12)).toBe(12);
    // A block that a crash cut off, and one that was changed.
    await tab.evaluate(async () => {
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('atoll-blocks');
      for (const [n, size] of [
        [2, 1000],
        [3, 1 << 20],
      ] as const) {
        const [cid] = await window.block(n);
        const out = await (await folder.getFileHandle(cid)).createWritable();
        await out.write(new Uint8Array(size));
        await out.close();
      }
    });
    await page.reload();
    expect(await found(page, 12)).toBe(10);
    expect(await put(page, 2, 4)).toBe(12 << 20);
    expect(await page.evaluate(async () => (await window.shelf?.clear(), window.kept.keptBytes()))).toBe(0);
  });

  it('are kept in memory where storage is refused, and the view says why', async () => {
    const page = await open(withGpu, { backend: 'reference' });
    await prelude(
      page,
      "self.Worker=class extends Worker{constructor(){super('/none.js',{type:'module'})}};",
    );
    await page.evaluate(() => window.control.start());
    const started = await until(page, (v) => v.device !== null);
    expect(started.kept).toMatchObject({ heldBytes: 0, why: expect.stringMatching(/refuses storage/) });

    // The browser itself refuses it.
    await page.route('**/storage.worker*', async (route) => {
      const response = await route.fetch();
      const refuse =
        "StorageManager.prototype.getDirectory=()=>Promise.reject(new DOMException('no','SecurityError'));";
      await route.fulfill({ response, body: refuse + (await response.text()) });
    });
    const refused = await page.evaluate(async () => {
      const shelf = await window.openRemoteShelf(1 << 20);
      await shelf.keep(...(await window.block(1)));
      return { figures: shelf.figures, found: await shelf.find((await window.block(1))[0]) };
    });
    expect(refused.found).toBeUndefined();
    expect(refused.figures).toMatchObject({ heldBytes: 0, why: expect.stringMatching(/refuses storage/) });
  });
});

async function open(browser: Browser, options: Options): Promise<Page> {
  context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(coordinator.url);
  await make(page, options);
  return page;
}

/** Puts code before the contributor's worker's own. */
async function prelude(page: Page, code: string): Promise<void> {
  await page.route('**/contributor.worker*', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: code + (await response.text()) });
  });
}

async function make(page: Page, options: Options): Promise<void> {
  await page.evaluate(async (given) => {
    window.views = [];
    window.control = window.createContributor({ url: location.origin, ...given });
    await window.control.subscribe((v) => void window.views.push(v));
  }, options);
}

async function view(page: Page): Promise<ContributorView> {
  return page.evaluate(() => window.views.at(-1) as ContributorView);
}

async function until(page: Page, is: (view: ContributorView) => boolean): Promise<ContributorView> {
  for (;;) {
    const now = await view(page);
    if (is(now)) return now;
    if (now.phase === 'failed') throw new Error(`It failed: ${now.reason}`);
    await page.waitForTimeout(20);
  }
}

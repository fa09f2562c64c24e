/**
 * A headless Chromium with one tab a contestant: each tab loads the same bundle (bench/rig/page.ts), prepares one contestant and then repeats its work when
 * told to. Measured is the CPU time of all of the browser's processes, less what they use when nothing is asked of them.
 *
 * Pages are served on 127.0.0.1. `/plain` is not cross-origin isolated, so that nobody there has more than one WASM thread; `/isolated` is.
 */
import { createReadStream, existsSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Browser, type BrowserServer, chromium, type Page } from 'playwright-core';
import type { Plugin } from 'vite';
import { ensureWasm } from '#scripts/build-wasm.ts';
import { type Bundle, bundle } from '#scripts/bundle.ts';
import { findChromium } from '#scripts/find-chromium.ts';
import { peersDir } from '../peers/install.ts';
import type { Prepared, Task } from './contest.ts';
import { treeSeconds } from './cpu-time.ts';

const types: Record<string, string> = {
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};
const flags = [
  '--headless',
  '--no-sandbox',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
  '--disable-component-update',
  '--disable-sync',
];

/** The peers' packages are found from their own folder. */
const fromPeers: Plugin = {
  name: 'atoll-bench-peers',
  enforce: 'pre',
  resolveId(id, importer) {
    if (!/^(@jax-js|@tensorflow|onnxruntime-web)\//.test(id) || importer?.startsWith(peersDir)) return null;
    return this.resolve(id, path.join(peersDir, 'package.json'), { skipSelf: true });
  },
};

function serve(files: Bundle): Server {
  return createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const headers = {
      'content-type': types[path.extname(pathname)] ?? 'text/html',
      'cross-origin-resource-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
      ...(pathname === '/plain' ? { 'cross-origin-embedder-policy': 'unsafe-none' } : {}),
      ...(pathname === '/isolated' ? { 'cross-origin-opener-policy': 'same-origin' } : {}),
    };
    if (pathname.startsWith('/peers/')) return void servePeer(pathname, headers, response);
    const file = files.get(pathname);
    const page = pathname === '/plain' || pathname === '/isolated';
    response.writeHead(file !== undefined || page ? 200 : 404, headers);
    response.end(file ?? '<!doctype html><title>bench</title><script type="module" src="/page.js"></script>');
  });
}

function servePeer(pathname: string, headers: Record<string, string>, response: ServerResponse): void {
  const modules = path.join(peersDir, 'node_modules');
  const file = path.join(modules, path.normalize(pathname.slice('/peers'.length)));
  if (!file.startsWith(modules + path.sep) || !existsSync(file)) return void response.writeHead(404).end();
  createReadStream(file).pipe(response.writeHead(200, headers));
}

export class Rig {
  private readonly server: Server;
  private readonly browserServer: BrowserServer;
  private readonly browser: Browser;
  /** CPU-seconds a second of the browser while nothing is asked of it. */
  private idle = 0;

  private constructor(server: Server, browserServer: BrowserServer, browser: Browser) {
    this.server = server;
    this.browserServer = browserServer;
    this.browser = browser;
  }

  static async open(): Promise<Rig> {
    await ensureWasm();
    const server = serve(await bundle('page', 'bench/rig/page.ts', [fromPeers]));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const browserServer = await chromium.launchServer({ executablePath: await findChromium(), args: flags });
    return new Rig(server, browserServer, await chromium.connect(browserServer.wsEndpoint()));
  }

  /** In words. */
  get version(): string {
    return this.browser.version();
  }

  private get pid(): number {
    return this.browserServer.process().pid as number;
  }

  /** A tab of its own with this contestant, its results verified. Throws with the tab's own words. */
  async tab(task: Task): Promise<Tab> {
    const page = await this.browser.newPage();
    page.on('pageerror', (error) => process.stderr.write(`  ${task.contestant}: ${error.message}\n`));
    const { port } = this.server.address() as AddressInfo;
    await page.goto(`http://127.0.0.1:${port}/plain`);
    await page.waitForFunction(() => 'contest' in globalThis);
    try {
      const prepared = await page.evaluate((given) => globalThis.contest.prepare(given), task);
      return new Tab(page, prepared, (work) => this.measure(work));
    } catch (error) {
      await page.close();
      throw error;
    }
  }

  /**
   * Measures what the browser uses at rest: the least of some windows, since compilers and collectors still work for a while after the tabs are ready,
   * and what is subtracted too much would be a speed that nobody has.
   */
  async measureIdle(): Promise<number> {
    this.idle = 0;
    const windows: number[] = [];
    for (let i = 0; i < 4; i++) windows.push(await this.measure(() => sleep(1000)));
    this.idle = Math.min(...windows);
    return this.idle;
  }

  /** CPU-seconds of the whole browser during the work, less those of the same time at rest. */
  private async measure(work: () => Promise<unknown>): Promise<number> {
    const [cpu, clock] = [treeSeconds(this.pid), performance.now()];
    await work();
    return treeSeconds(this.pid) - cpu - (this.idle * (performance.now() - clock)) / 1e3;
  }

  async close(): Promise<void> {
    await this.browser.close();
    await this.browserServer.close();
    this.server.close();
  }
}

/** One contestant in its tab. */
export class Tab {
  readonly prepared: Prepared;
  private readonly page: Page;
  private readonly measure: (work: () => Promise<unknown>) => Promise<number>;

  constructor(page: Page, prepared: Prepared, measure: (work: () => Promise<unknown>) => Promise<number>) {
    this.page = page;
    this.prepared = prepared;
    this.measure = measure;
  }

  /** CPU-seconds of one piece of work, out of `count`. Throws when a result was not the one that was verified. */
  async time(count: number): Promise<number> {
    return (await this.measure(() => this.page.evaluate((n) => globalThis.contest.run(n), count))) / count;
  }

  close(): Promise<void> {
    return this.page.close();
  }
}

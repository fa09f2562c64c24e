/** Pages of a real Chromium with the transport in them, one origin that serves them, their relay and `/v1/ice`: for tests and measurements. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { type Browser, type BrowserServer, chromium, type Page } from 'playwright-core';
import { openP2p, type P2p, type P2pOptions } from '#coordinator/p2p/p2p.ts';
import { type Bundle, bundle } from '#scripts/bundle.ts';
import { findChromium } from '#scripts/find-chromium.ts';
import type { AddressChoice } from '../libp2p/reach.ts';
import { testNetwork } from './relay-server.ts';

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
  '--disable-component-update',
  '--disable-sync',
];

async function serve(files: Bundle, p2p: P2p) {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const file = files.get(pathname);
    if (pathname === '/v1/ice') {
      response.setHeader('content-type', 'application/json');
      return void response.end(JSON.stringify(p2p.ice('page', Date.now())));
    }
    const type = path.extname(pathname) === '.js' ? 'text/javascript' : 'text/html';
    response.writeHead(file !== undefined || pathname === '/page' ? 200 : 404, { 'content-type': type });
    response.end(file ?? '<!doctype html><title>p2p</title><script type="module" src="/page.js"></script>');
  });
  server.on('upgrade', (request, socket, head) => p2p.admit(request, socket, head, 'page'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

export interface Pages {
  readonly url: string;
  readonly p2p: P2p;
  /** Of Chromium. */
  readonly version: string;
  /** Of Chromium's main process. */
  readonly pid: number;
  /** A tab with the harness in it; what goes wrong inside is told to `fault`. */
  tab(fault?: (message: string) => void): Promise<Page>;
  /** A tab with its transport open, and its peer id. */
  peer(choice?: AddressChoice): Promise<{ page: Page; id: string }>;
  close(): Promise<void>;
}

/** Throws where there is no Chromium. */
export async function openPages(options: P2pOptions = {}): Promise<Pages> {
  const p2p = await openP2p(options);
  const server = await serve(await bundle('page', 'workers/p2p/testing/page.ts'), p2p);
  const browserServer: BrowserServer = await chromium.launchServer({
    executablePath: await findChromium(),
    args: flags,
  });
  const browser: Browser = await chromium.connect(browserServer.wsEndpoint());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const tab = async (fault: (message: string) => void = () => undefined) => {
    const context = await browser.newContext();
    const page = await context.newPage();
    page.on('pageerror', (error) => fault(error.message));
    await page.goto(`${url}/page`);
    await page.waitForFunction(() => 'p2pPage' in globalThis);
    return page;
  };
  return {
    ...{ url, p2p, tab },
    version: browser.version(),
    pid: browserServer.process().pid as number,
    async peer(choice: AddressChoice = 'direct') {
      const page = await tab();
      const id = await page.evaluate((given) => globalThis.p2pPage.open(...given), [
        url,
        testNetwork,
        choice,
      ] as const);
      return { page, id };
    },
    async close() {
      await browser.close();
      await browserServer.close();
      await p2p.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

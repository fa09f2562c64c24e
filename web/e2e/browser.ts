/** Headless Chromium for the page's tests, and a page in it that writes down what it did and what went wrong. */
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { findChromium } from '#scripts/find-chromium.ts';

/** With `webgpu` there is an adapter: SwiftShader, in software. */
export async function launchBrowser({ webgpu = false } = {}): Promise<Browser> {
  return chromium.launch({
    executablePath: await findChromium(),
    args: [
      '--headless',
      '--no-sandbox',
      ...(webgpu ? ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'] : ['--disable-gpu']),
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

export interface Visit {
  page: Page;
  /** Console errors, page errors and violations of the Content-Security-Policy. */
  faults: string[];
  /** Origins that were asked for anything. */
  origins: Set<string>;
  /** Calls of what must not happen before Start. */
  forbidden(): Promise<string[]>;
  close(): Promise<void>;
}

declare global {
  interface Window {
    forbiddenCalls: string[];
  }
}

/** Runs in the page before its own code: notes every use of what belongs behind Start. */
function noteForbidden({ gpu, simd }: { gpu: boolean; simd: boolean }): void {
  window.forbiddenCalls = [];
  const note = (name: string) => window.forbiddenCalls.push(name);
  for (const name of ['Worker', 'SharedWorker', 'WebSocket', 'RTCPeerConnection'] as const) {
    const Original = window[name] as unknown as { new (...args: unknown[]): object } | undefined;
    if (!Original) continue;
    const noted = class extends Original {
      constructor(...args: unknown[]) {
        note(name);
        super(...args);
      }
    };
    Object.defineProperty(window, name, { value: noted, configurable: true, writable: true });
  }
  const fake = { requestAdapter: async () => (note('requestAdapter'), null) };
  if (gpu) Object.defineProperty(Navigator.prototype, 'gpu', { get: () => fake, configurable: true });
  else delete (Navigator.prototype as { gpu?: unknown }).gpu;
  if (!simd) WebAssembly.validate = () => false;
}

export interface VisitOptions extends BrowserContextOptions {
  /** Whether the browser offers WebGPU; its adapter is null, as on a machine without a usable one. */
  gpu?: boolean;
  /** Whether its WebAssembly has SIMD, as far as the page can tell. */
  simd?: boolean;
}

export async function visit(browser: Browser, url: string, options: VisitOptions = {}): Promise<Visit> {
  const { gpu = true, simd = true, ...contextOptions } = options;
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...contextOptions });
  const page = await context.newPage();
  const faults: string[] = [];
  const origins = new Set<string>();
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') faults.push(message.text());
  });
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('request', (request) => origins.add(new URL(request.url()).origin));
  await page.addInitScript(noteForbidden, { gpu, simd });
  await page.goto(url);
  return {
    page,
    faults,
    origins,
    forbidden: () => page.evaluate(() => window.forbiddenCalls),
    close: () => context.close(),
  };
}

/**
 * The WASM device as a page has it: bundled by Vite, in a worker of a real Chromium, under a strict Content-Security-Policy; on one thread anywhere, on
 * several where the page is cross-origin isolated.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bundle } from '#scripts/bundle.ts';
import { findChromium } from '#scripts/find-chromium.ts';
import conformance from '../vectors/conformance.json' with { type: 'json' };
import programs from '../vectors/programs.json' with { type: 'json' };
import { probeDigest } from './probe.ts';
import type { WasmReport } from './wasm-chromium-worker.ts';

const types: Record<string, string> = { '.js': 'text/javascript', '.wasm': 'application/wasm' };
const policy =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'";
let server: Server;
let browser: Browser;

beforeAll(async () => {
  const files = await bundle('worker', 'kernels/device/wasm-chromium-worker.ts');
  server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const file = files.get(pathname);
    const isolation = {
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
    };
    // Scripts of an isolated page must say so too; saying it elsewhere does no harm.
    const isolated = pathname === '/isolated' || file !== undefined;
    response.writeHead(file === undefined && path.extname(pathname) ? 404 : 200, {
      'content-type': types[path.extname(pathname)] ?? 'text/html',
      'content-security-policy': policy,
      ...(isolated ? isolation : {}),
    });
    response.end(file ?? '<!doctype html><title>kernels</title>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  browser = await chromium.launch({
    executablePath: await findChromium(),
    args: ['--headless', '--no-sandbox', '--no-first-run', '--disable-background-networking'],
  });
}, 300_000);

afterAll(async () => {
  await browser?.close();
  server?.close();
});

/** What the worker on that page reports, or the code of its error. */
async function ask(page: string, threads: number): Promise<WasmReport | string> {
  const tab = await browser.newPage();
  await tab.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}${page}`);
  const answer = await tab.evaluate(
    (count) =>
      new Promise<WasmReport | string>((resolve, reject) => {
        const worker = new Worker('/worker.js', { type: 'module' });
        worker.onerror = (event) => reject(new Error(event.message));
        worker.onmessage = ({ data }: MessageEvent<{ result?: WasmReport; error?: string }>) =>
          resolve(data.result ?? data.error ?? 'nothing');
        worker.postMessage(count);
      }),
    threads,
  );
  await tab.close();
  return answer;
}

const expected = {
  digests: Object.fromEntries(Object.entries(conformance).map(([id, { outputs }]) => [id, outputs])),
  probe: probeDigest,
  programs,
};

it('gives the bits of the reference on one thread of any page', async () => {
  expect(await ask('/', 1)).toEqual({ label: 'WebAssembly SIMD', ...expected });
}, 300_000);

it('gives them on three threads of an isolated page', async () => {
  expect(await ask('/isolated', 3)).toEqual({ label: 'WebAssembly SIMD, 3 threads', ...expected });
}, 300_000);

it('refuses threads on a page that is not isolated', async () => {
  expect(await ask('/', 2)).toBe('no_device');
}, 180_000);

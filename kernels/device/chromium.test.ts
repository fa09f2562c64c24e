/** The WebGPU device in a worker of a real headless Chromium, on SwiftShader: the same suite, the same digests. No adapter is a failure. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bundle } from '#scripts/bundle.ts';
import { findChromium } from '#scripts/find-chromium.ts';
import conformance from '../vectors/conformance.json' with { type: 'json' };
import programs from '../vectors/programs.json' with { type: 'json' };
import type { ChromiumReport } from './chromium-worker.ts';
import { probeDigest } from './probe.ts';

let server: Server;

beforeAll(async () => {
  const files = await bundle('worker', 'kernels/device/chromium-worker.ts');
  server = createServer((request, response) => {
    const script = files.get(request.url ?? '/');
    response.writeHead(200, { 'content-type': script === undefined ? 'text/html' : 'text/javascript' });
    response.end(script ?? '<title>kernels</title>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
}, 180_000);

afterAll(() => server?.close());

it('gives the bits of the reference in a worker', async () => {
  const browser = await chromium.launch({
    executablePath: await findChromium(),
    args: [
      '--headless',
      '--no-sandbox',
      '--enable-unsafe-webgpu',
      '--use-webgpu-adapter=swiftshader',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  try {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const report = await page.evaluate(
      () =>
        new Promise<ChromiumReport>((resolve, reject) => {
          const worker = new Worker('/worker.js', { type: 'module' });
          worker.onerror = (event) => reject(new Error(event.message));
          worker.onmessage = ({ data }: MessageEvent<{ result?: ChromiumReport; error?: string }>) =>
            data.result ? resolve(data.result) : reject(new Error(data.error));
        }),
    );
    expect(report.info.software).toBe(true);
    expect(report.refused).toBe('no_device');
    expect(report.probe).toBe(probeDigest);
    expect(report.digests).toEqual(
      Object.fromEntries(Object.entries(conformance).map(([id, { outputs }]) => [id, outputs])),
    );
    expect(report.programs).toEqual(programs);
  } finally {
    await browser.close();
  }
}, 600_000);

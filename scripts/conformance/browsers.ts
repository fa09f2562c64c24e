/**
 * Backends in browsers. Chromium is driven by playwright-core; Firefox is started with a profile of its own and an address, and the page posts its result
 * (browser-page.ts), since no driver for it comes from npm.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';
import type { HostOptions } from '#kernels/device/conformance-host.ts';
import type { BackendReport } from '#kernels/device/conformance-outcome.ts';
import { findInstalled } from '../find-chromium.ts';
import { serveBrowserPage } from './browser-page.ts';
import { notInstalled, takeMessage } from './processes.ts';
import type { RunContext } from './targets.ts';

/** Starts a browser at an address; the returned function ends it. */
type Launch = (address: string) => Promise<() => Promise<void>>;

async function runAt(options: HostOptions, context: RunContext, launch: Launch): Promise<BackendReport> {
  const ended = Promise.withResolvers<BackendReport>();
  const page = await serveBrowserPage((message) => takeMessage(message, context, ended));
  const stop = () => ended.reject(context.signal.reason);
  context.signal.addEventListener('abort', stop, { once: true });
  let close: (() => Promise<void>) | null = null;
  try {
    close = await launch(page.address(options));
    return await ended.promise;
  } finally {
    context.signal.removeEventListener('abort', stop);
    await close?.();
    await page.close();
  }
}

/** Throws `no_device` or `internal`. */
export async function runInChromium(options: HostOptions, context: RunContext): Promise<BackendReport> {
  const executablePath = findInstalled();
  if (!executablePath) {
    throw notInstalled('Chromium is not here. Install it, or set ATOLL_CHROMIUM to its path.');
  }
  return runAt(options, context, async (address) => {
    const browser = await chromium.launch({
      executablePath,
      args: [
        ...['--headless', '--no-sandbox', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'],
        ...['--no-first-run', '--disable-background-networking', '--disable-sync'],
      ],
    });
    const page = await browser.newPage();
    await page.goto(address);
    return () => browser.close();
  });
}

/** WebGPU on, and nothing that goes out to the network by itself. */
const preferences: Record<string, boolean | string> = {
  'dom.webgpu.enabled': true,
  'dom.webgpu.workers.enabled': true,
  'dom.webgpu.service-workers.enabled': true,
  'gfx.webrender.all': true,
  'gfx.webgpu.ignore-blocklist': true,
  'app.normandy.enabled': false,
  'app.update.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.startup.homepage_override.mstone': 'ignore',
  'datareporting.policy.dataSubmissionEnabled': false,
  'messaging-system.rsexperimentloader.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'data:,',
};

/** Throws `no_device` or `internal`. */
export async function runInFirefox(
  options: HostOptions,
  env: Record<string, string>,
  context: RunContext,
): Promise<BackendReport> {
  const firefox = findFirefox();
  if (!firefox) {
    throw notInstalled('Firefox is not here. Debian has it in firefox-esr, or set ATOLL_FIREFOX.');
  }
  return runAt(options, context, async (address) => {
    const profile = await mkdtemp(path.join(tmpdir(), 'atoll-firefox-'));
    const lines = Object.entries(preferences).map(
      ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`,
    );
    await writeFile(path.join(profile, 'user.js'), lines.join(''));
    // A group of its own, since Firefox starts processes that outlive it when it is killed.
    const child = spawn(firefox, ['--headless', '--no-remote', '--profile', profile, address], {
      detached: true,
      stdio: 'ignore',
      env: {
        ...process.env,
        ...env,
        HOME: profile,
        XDG_RUNTIME_DIR: profile,
        MOZ_CRASHREPORTER_DISABLE: '1',
      },
    });
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    return async () => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
      await gone;
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    };
  });
}

/** The path of a Firefox, or undefined. */
function findFirefox(env: NodeJS.ProcessEnv = process.env): string | undefined {
  if (env['ATOLL_FIREFOX']) return env['ATOLL_FIREFOX'];
  const dirs = (env['PATH'] ?? '').split(path.delimiter).filter(Boolean);
  return ['firefox-esr', 'firefox']
    .flatMap((name) => dirs.map((dir) => path.join(dir, name)))
    .find((file) => existsSync(file));
}

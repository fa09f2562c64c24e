/** `/docs` in a real browser: it shows every endpoint, keeps within its Content-Security-Policy, and fits narrow and dark screens. */
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Coordinator, createCoordinator } from '#coordinator/main.ts';
import { fakeInitialCheckpoint } from '#coordinator/testing/fake-programs.ts';
import { endpoints } from '#protocol/http/table.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { launchBrowser, visit } from './browser.ts';

let browser: Browser;
let coordinator: Coordinator;
let dataDir: string;

beforeAll(async () => {
  dataDir = await mkdtemp(path.join(tmpdir(), 'atoll-docs-'));
  coordinator = await createCoordinator({ dataDir, port: 0, initialCheckpoint: fakeInitialCheckpoint });
  browser = await launchBrowser();
});
afterAll(async () => {
  await browser?.close();
  await coordinator?.close();
  await rm(dataDir, { recursive: true, force: true });
});

test.each([
  ['wide', { viewport: { width: 1280, height: 900 }, colorScheme: 'light' as const }],
  ['narrow', { viewport: { width: 390, height: 844 }, colorScheme: 'light' as const }],
  ['dark', { viewport: { width: 1280, height: 900 }, colorScheme: 'dark' as const }],
])('%s: every endpoint, nothing from elsewhere, no faults, no scrolling sideways', async (name, options) => {
  const { page, faults, origins, close } = await visit(browser, `${coordinator.url}/docs`, options);
  await page.locator('.opblock').first().waitFor();
  expect(await page.locator('.opblock').count()).toBe(Object.keys(endpoints).length);
  await page.locator('#operations-network-network .opblock-summary-control').click();
  await page.locator('#operations-network-network .try-out__btn').click();
  await page.locator('#operations-network-network .execute').click();
  await page.locator('.live-responses-table').waitFor();
  expect(await page.locator('.live-responses-table').textContent()).toContain(coordinator.network);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(options.viewport.width);
  const isDark = await page.evaluate(() => document.documentElement.classList.contains('dark-mode'));
  expect(isDark).toBe(name === 'dark');
  expect(faults).toEqual([]);
  expect([...origins]).toEqual([coordinator.url]);
  await close();
});

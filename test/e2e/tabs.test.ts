/** Three real tabs that exchange blocks with each other over WebRTC, by the person's choice, and train the honest model with what they gave each other. */
import { rm } from 'node:fs/promises';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launchBrowser } from '#web/e2e/browser.ts';
import { buildPage } from '#web/e2e/build.ts';
import { honestRun, job, type Network, openNetwork, temporaryDir, text } from './rig.ts';

let browser: Browser;
let dist: string;
let place: Awaited<ReturnType<typeof temporaryDir>>;
let network: Network;

beforeAll(async () => {
  [browser, dist, place] = await Promise.all([launchBrowser(), buildPage('real'), temporaryDir()]);
  network = await openNetwork(place.dir, { staticDir: dist, p2p: {} });
});

afterAll(async () => {
  await browser?.close();
  await network?.close();
  if (dist) await rm(dist, { recursive: true });
  await place?.remove();
});

async function openTab(isDirect: boolean): Promise<{ page: Page; errors: string[] }> {
  const page = await (await browser.newContext()).newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto(`${network.coordinator.url}/?backend=wasm&threads=1`);
  if (isDirect) await page.getByLabel('Exchange model data directly').check();
  await page.getByRole('button', { name: 'Start contributing' }).click();
  return { page, errors };
}

const peersOf = (page: Page) => page.getByLabel('Other contributors').innerText();

it('exchanges blocks where a person chose so, and says why not where nobody did', async () => {
  const tabs = [await openTab(true), await openTab(true), await openTab(true)];
  for (const { page } of tabs)
    await page.getByText('2 direct, 0 relayed, 0 failed').waitFor({ timeout: 90_000 });
  const rounds = 3;
  const id = await network.coordinator.ensureJob(job, text, { stopAfterRounds: rounds });
  await network.coordinator.settled(id, rounds, AbortSignal.timeout(120_000));
  const status = await network.coordinator.status(id);
  expect(status.rounds.map(({ checkpoint }) => checkpoint)).toEqual((await honestRun(rounds)).checkpoints);
  const shown = await Promise.all(tabs.map(({ page }) => peersOf(page)));
  expect(shown.some((words) => /[1-9][\d.]* [kM]?B from peers/.test(words))).toBe(true);
  const careful = await openTab(false);
  await careful.page.getByText('no server that would hide your address').waitFor({ timeout: 60_000 });
  for (const { errors } of [...tabs, careful]) expect(errors).toEqual([]);
});

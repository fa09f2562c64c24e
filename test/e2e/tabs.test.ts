/**
 * Three real tabs that exchange blocks with each other over WebRTC, by the person's choice, and train the honest model with what they gave each other: what they
 * compute leaves the coordinator next to never twice, and is not needed from it at all once its blocks are switched off.
 */
import { rm } from 'node:fs/promises';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunOutcome } from '#coordinator/planner/run-job.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { launchBrowser } from '#web/e2e/browser.ts';
import { buildPage } from '#web/e2e/build.ts';
import { honestRun, largerJob as job, metric, type Network, openNetwork, temporaryDir, text } from './rig.ts';
import { linked, openTab, peersOf, type Tab, TabsGateway } from './tabs-rig.ts';

/** As `npm run bench -- p2p` holds a swarm to that wants one file. */
const egressMax = 1.1;
const [firstRounds, allRounds] = [3, 6];

let browser: Browser;
let dist: string;
let place: Awaited<ReturnType<typeof temporaryDir>>;
let network: Network;
let honest: RunOutcome;
let id: Cid;
let tabs: Tab[];
const gateway = new TabsGateway();

beforeAll(async () => {
  [browser, dist, place] = await Promise.all([launchBrowser(), buildPage('real'), temporaryDir()]);
  network = await openNetwork(place.dir, { staticDir: dist, p2p: {} });
  honest = await honestRun(allRounds, job);
});

afterAll(async () => {
  await browser?.close();
  await network?.close();
  if (dist) await rm(dist, { recursive: true });
  await place?.remove();
});

async function checkpoints(): Promise<(Cid | null)[]> {
  return (await network.coordinator.status(id)).rounds.map(({ checkpoint }) => checkpoint);
}

async function until(test: () => Promise<boolean>): Promise<void> {
  while (!(await test())) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe('three tabs', () => {
  it('train on what they give each other: the coordinator gives out little more than one copy', async () => {
    const { coordinator } = network;
    tabs = await Promise.all([1, 2, 3].map(() => openTab(browser, coordinator.url, { gateway })));
    for (const tab of tabs) await linked(tab, 2);
    id = await coordinator.ensureJob(job, text, { stopAfterRounds: firstRounds });
    await coordinator.settled(id, firstRounds, AbortSignal.timeout(120_000));
    expect(await checkpoints()).toEqual(honest.checkpoints.slice(0, firstRounds));
    const { bytes, once } = gateway.computed;
    console.log(`${bytes} bytes of what was computed left the coordinator, ${once} of one copy of it`);
    // Nothing left by another way.
    const given = gateway.given.reduce((sum, each) => sum + each.bytes, 0);
    expect(await metric(coordinator.url, 'atoll_gateway_bytes_total')).toBe(given);
    expect(bytes / once).toBeLessThanOrEqual(egressMax);
    const shown = await Promise.all(tabs.map(peersOf));
    expect(shown.some((words) => /[1-9][\d.]* [kM]?B from peers/.test(words))).toBe(true);
  });

  it('go on when the blocks of the coordinator are switched off in the middle of a round', async () => {
    const { coordinator } = network;
    await coordinator.ensureJob(job, text, { stopAfterRounds: allRounds });
    await until(async () => (await coordinator.status(id)).units.some(({ replicas }) => replicas > 0));
    expect((await checkpoints()).length).toBeLessThan(allRounds);
    gateway.tokensOnly = true;
    const before = gateway.computed.bytes;
    await coordinator.settled(id, allRounds, AbortSignal.timeout(120_000));
    expect(await checkpoints()).toEqual(honest.checkpoints);
    expect(gateway.computed.bytes).toBe(before);
  });

  it('say why not, where nobody chose so', async () => {
    const careful = await openTab(browser, network.coordinator.url, { isDirect: false });
    await careful.page.getByText('no server that would hide your address').waitFor({ timeout: 60_000 });
    for (const { errors } of [...tabs, careful]) expect(errors).toEqual([]);
  });
});

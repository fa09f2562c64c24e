/**
 * Three real tabs beside a peer that spoils what it gives, and that alone has the checkpoint they begin with: each asks it, finds out, drops it and says so to the
 * coordinator, which names it to nobody any more. What they train is the honest model.
 */
import { rm } from 'node:fs/promises';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Cid } from '#protocol/codec/cid.ts';
import { endWebRtc } from '#workers/node/p2p-transport.ts';
import { launchBrowser } from '#web/e2e/browser.ts';
import { buildPage } from '#web/e2e/build.ts';
import { joinSpoiler, type Member } from './members.ts';
import { honestRun, job as twoLanes, metric, type Network, openNetwork, temporaryDir, text } from './rig.ts';
import { linked, openTab, TabsGateway } from './tabs-rig.ts';

/** With a unit for each tab at once. */
const job: typeof twoLanes = { ...twoLanes, training: { ...twoLanes.training, lanes: 4 } };
const rounds = 2;

let browser: Browser;
let dist: string;
let place: Awaited<ReturnType<typeof temporaryDir>>;
let network: Network;
let hostile: Member & { blocks: ReadonlySet<Cid> };

beforeAll(async () => {
  [browser, dist, place] = await Promise.all([launchBrowser(), buildPage('real'), temporaryDir()]);
  network = await openNetwork(place.dir, { staticDir: dist, p2p: {} });
  hostile = await joinSpoiler(network.coordinator.url, job);
});

afterAll(async () => {
  await browser?.close();
  await hostile?.control.stop();
  await network?.close();
  if (dist) await rm(dist, { recursive: true });
  await place?.remove();
  await endWebRtc();
});

/** What `/v1/peers` says of the hostile one. */
async function hostileLinks(): Promise<number | undefined> {
  const response = await fetch(`${network.coordinator.url}/v1/peers`);
  const { peers } = (await response.json()) as {
    peers: { contributor: string; swarm?: { direct: number } }[];
  };
  const own = hostile.ports.signer.address.toLowerCase();
  return peers.find(({ contributor }) => contributor.toLowerCase() === own)?.swarm?.direct;
}

it('spoils nothing, and is rid of', async () => {
  const { coordinator } = network;
  const gateway = new TabsGateway();
  // The gateway is slow: whoever needs the checkpoint has nobody else to ask, until all have found out.
  const letGo = gateway.hold((cid) => hostile.blocks.has(cid));
  const tabs = await Promise.all([1, 2, 3].map(() => openTab(browser, coordinator.url, { gateway })));
  for (const tab of tabs) await linked(tab, 3);
  await expect.poll(hostileLinks, { timeout: 10_000 }).toBe(3);
  const complaints = () => metric(coordinator.url, 'atoll_peer_complaints_total', 'fault="bad_block"');
  const id = await coordinator.ensureJob(job, text, { stopAfterRounds: rounds });
  await expect.poll(complaints, { timeout: 90_000 }).toBe(3);
  for (const tab of tabs) await linked(tab, 2);
  await expect.poll(hostileLinks, { timeout: 10_000 }).toBe(0);
  expect(hostile.ports.swarm.view().servedBytes).toBeGreaterThan(0);
  letGo();
  await coordinator.settled(id, rounds, AbortSignal.timeout(120_000));
  const status = await coordinator.status(id);
  expect(status.rounds.map(({ checkpoint }) => checkpoint)).toEqual(
    (await honestRun(rounds, job)).checkpoints,
  );
  // No honest one was taken for another like it, and it did not come back.
  expect(await complaints()).toBe(3);
  expect(await hostileLinks()).toBe(0);
  for (const { errors } of tabs) expect(errors).toEqual([]);
});

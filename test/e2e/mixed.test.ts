/**
 * One training run on everything that can compute here at once: a browser's tab, Dawn on whatever adapter there is, WebAssembly on threads, and CUDA: on
 * a GPU, or its kernels on the processor where there is none. Every replica of every unit must be the same.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunOutcome } from '#coordinator/planner/run-job.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { createEmulatedCudaDevice, haveCompiler } from '#kernels/device/cuda/testing/emulated-device.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import { nodePorts } from '#workers/node/contributor.ts';
import { createRuntime } from '#workers/runtime/contributor.ts';
import { kernelCompute } from '#workers/runtime/kernel-compute.ts';
import type { ContributorControl } from '#workers/runtime/view.ts';
import { findChromium, swiftshaderEnv } from '#scripts/find-chromium.ts';
import { launchBrowser } from '#web/e2e/browser.ts';
import { buildPage } from '#web/e2e/build.ts';
import { lastOf, type NodeProcess, startNode } from './node-process.ts';
import { honestRun, job, type Network, openNetwork, temporaryDir, text } from './rig.ts';
import { openTab, type Tab } from './tabs-rig.ts';

/** Who gets which unit is random: rounds go on until everybody has had some that were agreed. */
const [roundsMin, roundsMax] = [3, 24];
/** Agreed units of each. */
const agreedMin = 2;

interface Decision {
  tally: { digest: Cid; contributors: string[] }[];
  steps: { step: string; contributor: string; digest: Cid | null }[];
}

let browser: Browser;
let dist: string;
let place: Awaited<ReturnType<typeof temporaryDir>>;
let network: Network;
let honest: RunOutcome;
let tab: Tab;
const nodes: Record<string, NodeProcess> = {};
let cuda: ContributorControl | null = null;
let agreedOfCuda = 0;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

beforeAll(async () => {
  [browser, dist, place] = await Promise.all([launchBrowser(), buildPage('real'), temporaryDir()]);
  network = await openNetwork(place.dir, { staticDir: dist, p2p: {} });
});

afterAll(async () => {
  await Promise.all(Object.values(nodes).map((node) => node.end('SIGKILL')));
  await cuda?.stop();
  await browser?.close();
  await network?.close();
  if (dist) await rm(dist, { recursive: true });
  await place?.remove();
});

async function start(name: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<void> {
  const common = ['--url', network.coordinator.url, '--data-dir', join(place.dir, 'nodes'), '--name', name];
  nodes[name] = await startNode([...common, ...args], env);
  await nodes[name].says(/"phase":"waiting"/);
}

/** In this process: the emulation is a matter of tests. */
async function joinCuda(): Promise<void> {
  if (!haveCompiler())
    return console.log('CUDA is left out: there is neither a GPU nor g++ to emulate one with.');
  const compute = kernelCompute('cuda', { cuda: async () => createEmulatedCudaDevice() });
  const { url } = network.coordinator;
  cuda = createRuntime(nodePorts({ url, signer: signerFromKey(createKey()), compute, log: silent }));
  await cuda.subscribe((view) => {
    agreedOfCuda = view.agreed;
  });
  await cuda.start();
}

async function agreedOfTab(): Promise<number> {
  return Number(/Agreed\s+(\d+)/.exec(await tab.page.locator('body').innerText())?.[1] ?? 0);
}

async function agreed(): Promise<number[]> {
  const ofNodes = Object.values(nodes).map((node) => Number(lastOf(node.log(), 'agreed') ?? 0));
  return [await agreedOfTab(), ...ofNodes, ...(cuda ? [agreedOfCuda] : [])];
}

describe('a tab, Dawn, WebAssembly and CUDA', () => {
  it('train one model together, and agree on every unit', async () => {
    const { coordinator } = network;
    tab = await openTab(browser, coordinator.url);
    await start('wasm', ['--backend', 'wasm', '--threads', '2']);
    const adapter = swiftshaderEnv(await findChromium());
    if (adapter) await start('dawn', ['--backend', 'webgpu', '--allow-software'], adapter);
    else console.log('Dawn is left out: no Vulkan driver is beside this Chromium.');

    await joinCuda();

    let rounds = roundsMin;
    let id = await coordinator.ensureJob(job, text, { stopAfterRounds: rounds });
    await coordinator.settled(id, rounds, AbortSignal.timeout(120_000));
    while (rounds < roundsMax && (await agreed()).some((count) => count < agreedMin)) {
      id = await coordinator.ensureJob(job, text, { stopAfterRounds: ++rounds });
      await coordinator.settled(id, rounds, AbortSignal.timeout(120_000));
    }
    for (const count of await agreed()) expect(count).toBeGreaterThanOrEqual(agreedMin);
    expect(tab.errors).toEqual([]);

    honest = await honestRun(rounds);
    const status = await coordinator.status(id);
    expect(status.rounds.map(({ checkpoint }) => checkpoint)).toEqual(honest.checkpoints);
    const pages: Decision[] = await Promise.all(
      status.units.map(async ({ unit }) => (await fetch(`${coordinator.url}/v1/consensus/${unit}`)).json()),
    );
    for (const { tally, steps } of pages) {
      expect(tally).toHaveLength(1);
      expect(steps.filter(({ step }) => step === 'rejected')).toEqual([]);
    }
  });
});

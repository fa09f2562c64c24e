/**
 * The thread from end to end: two real Chromium tabs, one on WebGPU and one on WebAssembly threads, train a model with a liar and a copycat among the
 * contributors. The model must be, bit for bit, what one honest machine makes on the reference; the cheats earn nothing; the chain holds the roots of what was accepted.
 */
import { rm } from 'node:fs/promises';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyJobOnChain } from '#coordinator/anchor/verify.ts';
import type { RunOutcome } from '#coordinator/planner/run-job.ts';
import { type Cid, digestOfCid } from '#protocol/codec/cid.ts';
import { type ContributorInfo, routePath, routes } from '#protocol/http/api.ts';
import { merkleTree, resultLeaf } from '#protocol/merkle.ts';
import { toHex } from '#protocol/messages/hex.ts';
import { createRuntime } from '#workers/runtime/contributor.ts';
import type { RuntimePorts } from '#workers/runtime/ports.ts';
import type { ContributorControl } from '#workers/runtime/view.ts';
import { launchBrowser } from '#web/e2e/browser.ts';
import { buildPage } from '#web/e2e/build.ts';
import { type Copycat, createCopycat, Loot, overheard } from '../cheats/copycat.ts';
import { createLiar } from '../cheats/liar.ts';
import { contributorPorts, honestRun, job, type Network, openNetwork, temporaryDir, text } from './rig.ts';

/** Who gets which unit is random: the run goes on, up to a limit, until both cheats have had a unit to cheat on and all the honest one that was agreed. */
const roundsMin = 3;
const roundsMax = 40;

let browser: Browser;
let dist: string;
let place: Awaited<ReturnType<typeof temporaryDir>>;
let network: Network;
let honest: RunOutcome;
let rounds = roundsMin;

beforeAll(async () => {
  [browser, dist, place] = await Promise.all([
    launchBrowser({ webgpu: true }),
    buildPage('real'),
    temporaryDir(),
  ]);
  network = await openNetwork(place.dir, { staticDir: dist });
});

afterAll(async () => {
  await browser?.close();
  await network?.close();
  if (dist) await rm(dist, { recursive: true });
  await place?.remove();
});

/** A tab with storage of its own, as another person's browser has, that contributes. */
async function openTab(query: string): Promise<{ page: Page; errors: string[] }> {
  const context = await browser.newContext();
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto(`${network.coordinator.url}/${query}`);
  await page.getByRole('button', { name: 'Start contributing' }).click();
  return { page, errors };
}

/** What every tab shows, in the order of their opening. */
async function shown(): Promise<string[]> {
  const pages = browser.contexts().map((context) => context.pages()[0] as Page);
  return Promise.all(pages.map((page) => page.locator('body').innerText()));
}

const agreedIn = (body: string) => Number(/Agreed\s+(\d+)/.exec(body)?.[1]);

async function info(ports: RuntimePorts): Promise<ContributorInfo> {
  const path = routePath(routes.contributor, ports.signer.address);
  const response = await fetch(`${network.coordinator.url}${path}`);
  return (await response.json()) as ContributorInfo;
}

describe('a network of tabs, a liar and a copycat', () => {
  const cheats: ContributorControl[] = [];
  let liar: RuntimePorts;
  let thief: RuntimePorts;
  let victim: RuntimePorts;
  let copycat: Copycat;
  let id: Cid;

  beforeAll(async () => {
    const { coordinator } = network;
    liar = contributorPorts(coordinator.url);
    thief = contributorPorts(coordinator.url);
    // The copycat needs somebody to copy from whose traffic it can overhear: an honest headless contributor.
    victim = contributorPorts(coordinator.url);
    const loot = new Loot();
    copycat = createCopycat(thief, loot);
    const overheardVictim = { ...victim, transport: overheard(victim.transport, loot) };
    cheats.push(createLiar(liar), copycat.control, createRuntime(overheardVictim));
    for (const cheat of cheats) await cheat.start();
    // The second one takes no software adapter, so it has no WebGPU to speak of.
    const tabs = [await openTab('?software=1'), await openTab('?threads=2')];
    for (; ; rounds++) {
      id = await coordinator.ensureJob(job, text, { stopAfterRounds: rounds });
      await coordinator.settled(id, rounds, AbortSignal.timeout(200_000));
      if (rounds === roundsMax) break;
      const cheated = copycat.revealed.length > 0 && (await info(liar)).rejected > 0;
      const paid = (await info(victim)).agreed > 0;
      if (cheated && paid && (await shown()).every((body) => agreedIn(body) > 0)) break;
    }
    honest = await honestRun(rounds);
    for (const { errors } of tabs) expect(errors).toEqual([]);
  });

  afterAll(async () => {
    for (const cheat of cheats) await cheat.stop();
  });

  it('trains the model that one honest machine trains, bit for bit', async () => {
    const status = await network.coordinator.status(id);
    expect(status.rounds.map(({ checkpoint }) => checkpoint)).toEqual(honest.checkpoints);
    expect([status.lossFirst, ...status.rounds.map(({ loss }) => loss)]).toEqual(honest.losses);
    expect(status.lossLast).toBeLessThan(status.lossFirst as number);
  });

  it('pays the cheats nothing, and the honest something', async () => {
    expect(await info(liar)).toMatchObject({ credit: 0, agreed: 0 });
    expect((await info(liar)).rejected).toBeGreaterThan(0);
    expect(copycat.revealed.length).toBeGreaterThan(0);
    expect(await info(thief)).toMatchObject({ credit: 0, agreed: 0 });
    expect((await info(victim)).credit).toBeGreaterThan(0);
    expect((await network.coordinator.status(id)).unitsSplit).toBeGreaterThan(0);
  });

  it('computed in the tabs through WebGPU and through WebAssembly, and agreed in both', async () => {
    const [gpu = '', wasm = ''] = await shown();
    expect(gpu).toMatch(/swiftshader.*WebGPU/i);
    expect(gpu).toMatch(/on a software adapter, as asked for/);
    expect(wasm).toMatch(/WebAssembly SIMD, 2 threads/);
    expect(wasm).toMatch(/on 2 threads\. WebGPU was passed over: WebGPU here runs on the CPU/);
    expect(agreedIn(gpu)).toBeGreaterThan(0);
    expect(agreedIn(wasm)).toBeGreaterThan(0);
  });

  it('anchored the roots of exactly the accepted results', async () => {
    const { rpcUrl, contract } = network.anchor.info();
    const verdict = await verifyJobOnChain({ chain: rpcUrl, contract, job: id });
    expect(verdict.kind).toBe('consistent');
    if (verdict.kind !== 'consistent') return;
    const expected = Array.from({ length: rounds }, (_, i) => {
      const accepted = honest.units.filter(({ slot }) => slot.round === i + 1);
      return {
        round: i + 1,
        root: merkleTree(accepted.map(({ unit, digest }) => resultLeaf(unit, digest))).root,
        checkpoint: toHex(digestOfCid(honest.checkpoints[i] as Cid)),
      };
    });
    expect(verdict.rounds.map(({ round, root, checkpoint }) => ({ round, root, checkpoint }))).toEqual(
      expected,
    );
  });
});

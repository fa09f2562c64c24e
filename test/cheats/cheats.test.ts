/**
 * Contributors over the real sockets of a real coordinator, with stand-ins for the numerics: honest ones reach the checkpoints of a
 * single-process run, whoever cheats among them, and cheats earn nothing.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { defaultRules } from '#coordinator/consensus/consensus.ts';
import { defaultSchedulerRules } from '#coordinator/scheduler/scheduler.ts';
import { type Coordinator, createCoordinator } from '#coordinator/main.ts';
import { runJob } from '#coordinator/planner/run-job.ts';
import { knownPrograms } from '#coordinator/planner/programs.ts';
import {
  fakeExecute,
  fakeInitialCheckpoint,
  MemoryBlocks,
  testJob,
  testText,
} from '#coordinator/testing/fake-programs.ts';
import { type ContributorInfo, contributorSchema, routePath, routes } from '#protocol/http/api.ts';
import { parseValue } from '#protocol/codec/cbor.ts';
import { writeFile } from '#protocol/messages/file.ts';
import type { Signer } from '#protocol/messages/contribution.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import type { Hex } from 'viem';
import { nodePorts } from '#workers/node/contributor.ts';
import { createRuntime } from '#workers/runtime/contributor.ts';
import type { Compute, Logger, RuntimePorts } from '#workers/runtime/ports.ts';
import type { ContributorControl, ContributorView } from '#workers/runtime/view.ts';
import { createCopycat, Loot, overheard } from './copycat.ts';
import { createVanisher, createWithholder } from './deserters.ts';
import { createLiar } from './liar.ts';

const rounds = 3;
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

let dataDir: string;
let coordinator: Coordinator;
let controls: ContributorControl[] = [];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'atoll-cheats-'));
  coordinator = await createCoordinator({
    dataDir,
    port: 0,
    initialCheckpoint: fakeInitialCheckpoint,
    stopAfterRounds: rounds,
    // Short waits, so that those who do not answer are replaced within the test.
    timing: { awayMs: 200, sweepMs: 50, blockMs: 1_000 },
    rules: { ...defaultRules, revealMs: 1_000 },
    scheduling: { ...defaultSchedulerRules, leaseMsMin: 3_000, backOffMsMin: 100 },
  });
});

afterEach(async () => {
  await Promise.all(controls.map((control) => control.stop()));
  controls = [];
  await coordinator.close();
  await rm(dataDir, { recursive: true, force: true });
});

describe('with the real coordinator', () => {
  test('two honest contributors train', async () => {
    const views = [await run(createRuntime(ports())), await run(createRuntime(ports()))];
    await expectHonestOutcome();
    for (const view of views) {
      expect(view()).toMatchObject({ rejected: 0, problem: null });
      expect(view().agreed).toBeGreaterThan(0);
      expect(view().credit).toBeGreaterThan(0);
    }
  });

  test('two tabs with one key and one other contributor train', async () => {
    const signer = newSigner();
    const tabs = [createRuntime(ports(signer)), createRuntime(ports(signer)), createRuntime(ports())];
    for (const tab of tabs) await run(tab);
    await expectHonestOutcome();
    expect(await account(signer.address)).toMatchObject({ rejected: 0 });
  });

  test('a liar is outvoted and gets nothing', async () => {
    const signer = newSigner();
    const lies = await run(createLiar(ports(signer)));
    for (let i = 0; i < 3; i++) await run(createRuntime(ports()));
    await expectHonestOutcome();
    expect(await account(signer.address)).toMatchObject({ agreed: 0, credit: 0 });
    expect((await account(signer.address)).rejected).toBeGreaterThan(0);
    expect(lies().agreed).toBe(0);
  });

  test('a copycat cannot open what it copied and gets nothing', async () => {
    const loot = new Loot();
    const signer = newSigner();
    const copycat = createCopycat(ports(signer), loot);
    await run(copycat.control);
    for (let i = 0; i < 2; i++) {
      const honest = ports();
      await run(createRuntime({ ...honest, transport: overheard(honest.transport, loot) }));
    }
    await expectHonestOutcome();
    expect(copycat.committed.length).toBeGreaterThan(0);
    expect(copycat.revealed.length).toBeGreaterThan(0);
    expect(await account(signer.address)).toMatchObject({ agreed: 0, credit: 0 });
  });

  test('a withholder holds nothing up for ever and gets nothing', async () => {
    const signer = newSigner();
    await run(createWithholder(ports(signer)));
    for (let i = 0; i < 2; i++) await run(createRuntime(ports()));
    await expectHonestOutcome();
    expect(await account(signer.address)).toMatchObject({ agreed: 0, credit: 0 });
  });

  test.each(['lease', 'commit'] as const)('one who vanishes after the %s is replaced', async (moment) => {
    const signer = newSigner();
    const vanisher = createVanisher(ports(signer), moment);
    await run(vanisher.control);
    const job = await coordinator.ensureJob(testJob(), testText());
    await vanisher.vanishes;
    for (let i = 0; i < 2; i++) await run(createRuntime(ports()));
    await expectHonestOutcome(job);
    expect(await account(signer.address)).toMatchObject({ agreed: 0, credit: 0 });
  });
});

async function expectHonestOutcome(known?: string): Promise<void> {
  const job = known ?? (await coordinator.ensureJob(testJob(), testText()));
  const status = await coordinator.settled(job, rounds);
  const blocks = new MemoryBlocks();
  const corpus = await writeFile(blocks, testText());
  const execute = (unit: Parameters<typeof fakeExecute>[0]) => fakeExecute(unit, blocks);
  const reference = await runJob({ ...testJob(), corpus }, rounds, blocks, execute, {
    initial: fakeInitialCheckpoint,
  });
  expect(status.rounds.map(({ checkpoint }) => checkpoint)).toEqual(reference.checkpoints);
}

function newSigner(): Signer {
  return signerFromKey(createKey());
}

function ports(signer: Signer = newSigner()): RuntimePorts {
  return nodePorts({ url: coordinator.url, signer, compute: fakeCompute, log: silent });
}

/** Starts a contributor; the result reads its present view. */
async function run(control: ContributorControl): Promise<() => ContributorView> {
  controls.push(control);
  let last: ContributorView | null = null;
  await control.subscribe((view) => (last = view));
  await control.start();
  return () => last as unknown as ContributorView;
}

async function account(address: Hex): Promise<ContributorInfo> {
  const response = await fetch(coordinator.url + routePath(routes.contributor, address));
  return parseValue(contributorSchema, await response.json());
}

const fakeCompute: Compute = {
  async open() {
    const digest: Hex = `0x${'00'.repeat(32)}`;
    return {
      info: { backend: 'reference', label: 'Stand-in', vendor: 'Test', software: true },
      programs: [...knownPrograms].slice(0, 64),
      probeDigest: digest,
      lost: new Promise(() => {}),
      probe: async () => digest,
      execute: (unit, { blocks }) => fakeExecute(unit, blocks),
      close: async () => {},
    };
  },
};

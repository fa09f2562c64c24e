/**
 * A GPU that is lost in the middle of a unit, again and again, by injection into the CUDA driver: its contributor opens a fresh one, the unit is done by it or
 * by another, and the model is the honest one. Skipped, with the reason, where CUDA cannot be emulated.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEmulatedCudaDevice, haveCompiler } from '#kernels/device/cuda/testing/emulated-device.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import { nodePorts } from '#workers/node/contributor.ts';
import { createRuntime } from '#workers/runtime/contributor.ts';
import { kernelCompute } from '#workers/runtime/kernel-compute.ts';
import type { ContributorControl, ContributorView } from '#workers/runtime/view.ts';
import { contributorPorts, honestRun, job, type Network, openNetwork, temporaryDir, text } from './rig.ts';

const rounds = 4;
/** Kernels until each device is lost: the probe has some 300, a unit of training 440. Two in a row without a unit between them would be too many. */
const losses = [455, 950, 1017];

let place: Awaited<ReturnType<typeof temporaryDir>>;
let network: Network;
const controls: ContributorControl[] = [];

beforeAll(async () => {
  place = await temporaryDir();
  network = await openNetwork(place.dir);
});

afterAll(async () => {
  for (const control of controls) await control.stop();
  await network?.close();
  await place?.remove();
});

async function join(ports: Parameters<typeof createRuntime>[0]): Promise<() => ContributorView> {
  const control = createRuntime(ports);
  controls.push(control);
  let latest: ContributorView | null = null;
  await control.subscribe((view) => {
    latest = view;
  });
  await control.start();
  return () => latest as unknown as ContributorView;
}

describe.skipIf(!haveCompiler())('a GPU that is lost', () => {
  it('costs nobody a result', async () => {
    const { coordinator } = network;
    const problems: string[] = [];
    let opened = 0;
    const compute = kernelCompute('cuda', {
      cuda: async () => {
        const loseAfter = losses[opened++];
        return createEmulatedCudaDevice(loseAfter === undefined ? {} : { loseAfter });
      },
    });
    const log = {
      debug() {},
      info() {},
      warn: (fields: object) => void problems.push(JSON.stringify(fields)),
      error: (fields: object) => void problems.push(JSON.stringify(fields)),
    };
    const onGpu = await join(
      nodePorts({ url: coordinator.url, signer: signerFromKey(createKey()), compute, log }),
    );
    await join(contributorPorts(coordinator.url));
    const id = await coordinator.ensureJob(job, text, { stopAfterRounds: rounds });
    await coordinator.settled(id, rounds, AbortSignal.timeout(120_000));
    const status = await coordinator.status(id);
    expect(status.rounds.map(({ checkpoint }) => checkpoint)).toEqual((await honestRun(rounds)).checkpoints);
    // All of those that were to be lost were, each was made up for, and the last one worked.
    expect(opened).toBe(losses.length + 1);
    expect(problems.join()).toMatch(/device_lost/);
    expect(onGpu()).toMatchObject({ rejected: 0, problem: null });
    expect(onGpu().agreed).toBeGreaterThan(0);
  });
});

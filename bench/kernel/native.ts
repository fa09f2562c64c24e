/**
 * `npm run bench -- kernel --native`: exact GEMM through Dawn for Node, on whatever adapter there is, by the clock: on a GPU the CPU only waits. The two
 * products of the suite are verified first. No peer runs there: browsers' libraries want a browser.
 */
import { createCpuDevice } from '#kernels/device/cpu.ts';
import { createDawnDevice } from '#kernels/device/dawn.ts';
import type { Device } from '#kernels/device/device.ts';
import { policySchema } from '#protocol/messages/model.ts';
import type { BenchOutcome, BenchRow } from '#scripts/bench.ts';
import type { GemmTask } from '../rig/contest.ts';
import { information, median } from '../rig/duel.ts';
import { digestOf } from './inputs.ts';
import { multiplierOn } from './ours.ts';

const sizes = { hardware: [1024, 2048, 4096], software: [256, 512] } as const;
const checked = 256;
const rounds = 5;

export async function nativeOutcome(say: (line: string) => void): Promise<BenchOutcome> {
  const device = await createDawnDevice({ allowSoftware: true });
  const { label, software } = device.info;
  say(`${label}${software ? ' (software: start with a GPU’s driver for figures that mean something)' : ''}`);
  const rows: BenchRow[] = [];
  for (const size of sizes[software ? 'software' : 'hardware']) {
    for (const policy of policySchema.options) {
      const task: GemmTask = { kind: 'gemm', contestant: 'atoll', M: size, N: size, K: size, policy };
      if (rows.length < policySchema.options.length)
        await verifyProducts(device, { ...task, M: checked, N: checked });
      const rate = (2 * size ** 3) / (await productSeconds(device, task)) / 1e9;
      rows.push(information(`gemm native ${size}^3 ${policy}`, rate, 'GOP/s'));
      say(`  ${size}^3 ${policy} ${rate.toFixed(0)} GOP/s`);
    }
  }
  device.destroy();
  return { device: `${label} by Dawn for Node`, versions: {}, rows };
}

/** Throws unless this device has the reference’s bits. */
export async function verifyProducts(device: Device, task: GemmTask): Promise<void> {
  const digests: string[] = [];
  for (const maker of [createCpuDevice(), device.scope()]) {
    digests.push(await digestOf(await multiplierOn(maker, task).multiply(0)));
    maker.destroy();
  }
  if (digests[0] !== digests[1]) throw new Error(`${task.policy}: the bits are not the reference’s.`);
}

/** Of one product, the median of some rounds: many products are handed over, then one result is read. */
export async function productSeconds(device: Device, task: GemmTask): Promise<number> {
  const scope = device.scope();
  const { multiply, repeat } = multiplierOn(scope, task);
  const time = async (count: number) => {
    const start = performance.now();
    await repeat(count);
    await multiply(0);
    return (performance.now() - start) / 1e3 / (count + 1);
  };
  await time(1);
  const count = Math.max(1, Math.min(200, Math.round(0.5 / (await time(2)))));
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) times.push(await time(count));
  scope.destroy();
  return median(times);
}

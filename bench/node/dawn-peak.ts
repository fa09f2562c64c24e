/**
 * Exact GEMM of WGSL through Dawn, end to end as in bench/kernel: which share of the GPU's f32 peak its operations are. The peak is what the multiprocessors
 * could add and multiply at their highest clock, as NVIDIA's driver tells it, or TFLOP/s named by ATOLL_F32_PEAK for a GPU of somebody else.
 */
import { openCudaApi } from '#kernels/device/cuda/native-api.ts';
import { chooseGpu, cudaGpus } from '#kernels/device/cuda/native-devices.ts';
import { createDawnDevice } from '#kernels/device/dawn.ts';
import { AtollError } from '#protocol/errors.ts';
import { type Policy, policySchema } from '#protocol/messages/model.ts';
import { productSeconds, verifyProducts } from '../kernel/native.ts';
import type { GemmTask } from '../rig/contest.ts';
import { information } from '../rig/duel.ts';
import type { Measure } from './measure.ts';

const sizes = [2048, 4096] as const;
const checked = 256;
const defaultPolicy: Policy = 'i10sr';
const id = 'gemm by Dawn, N >= 2048, of the f32 peak';
/** CU_DEVICE_ATTRIBUTE_CLOCK_RATE, in kHz. */
const clockRate = 13;

export const dawnPeak: Measure = {
  name: 'WGSL through Dawn',
  reach: [{ id, unit: '%', atLeast: 25, aim: 60 }],
  async run(say, { quick }) {
    const device = await createDawnDevice();
    try {
      const { label, vendor } = device.info;
      const peak = f32Peak(vendor);
      const task = (size: number, policy: Policy): GemmTask => {
        return { kind: 'gemm', contestant: 'atoll', M: size, N: size, K: size, policy };
      };
      const speeds = new Map<string, number>();
      for (const policy of quick ? [defaultPolicy] : policySchema.options) {
        await verifyProducts(device, { ...task(sizes[0], policy), M: checked, N: checked });
        for (const size of sizes) {
          const rate = (2 * size ** 3) / (await productSeconds(device, task(size, policy))) / 1e12;
          speeds.set(`${size}^3 ${policy}`, rate);
          say(`  ${size}^3 ${policy} ${rate.toFixed(2)} of ${peak.toFixed(1)} TOP/s`);
        }
      }
      // The worse of the sizes, under the default policy.
      const worst = Math.min(...sizes.map((size) => speeds.get(`${size}^3 ${defaultPolicy}`) as number));
      const rows = [...speeds].map(([name, rate]) => information(`gemm by Dawn ${name}`, rate, 'TOP/s'));
      return {
        device: `${label} by Dawn for Node`,
        values: { [id]: (100 * worst) / peak },
        rows: [...rows, information('f32 peak', peak, 'TFLOP/s')],
      };
    } finally {
      device.destroy();
    }
  },
};

/** In TFLOP/s. Throws `no_device` where nobody tells. */
function f32Peak(vendor: string | undefined): number {
  const given = Number(process.env['ATOLL_F32_PEAK']);
  if (given > 0) return given;
  if (vendor !== 'nvidia') {
    throw new AtollError(
      'no_device',
      'Nobody tells the f32 peak of this GPU: name its TFLOP/s by ATOLL_F32_PEAK.',
    );
  }
  const { capability, multiprocessors, handle } = chooseGpu(cudaGpus());
  const kilohertz = new Int32Array(1);
  openCudaApi().call('cuDeviceGetAttribute', kilohertz, clockRate, handle);
  // A multiprocessor of the A100 has 64 f32 lanes, every later one 128.
  const lanes = capability === 80 ? 64 : 128;
  return (2 * multiprocessors * lanes * (kilohertz[0] as number) * 1e3) / 1e12;
}

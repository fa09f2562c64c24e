/** The worker of chromium.test.ts: the conformance suite, the probe and the programs on the browser's own WebGPU. */
import { runProgramVectors } from '../vectors/programs.ts';
import { runConformance } from './conformance.ts';
import { runProbe } from './probe.ts';
import { createWebGpuDevice } from './webgpu.ts';

export interface ChromiumReport {
  info: { label: string; software: boolean };
  digests: Record<string, string>;
  probe: string;
  programs: Record<string, string>;
  /** Error code when a software adapter was not asked for. */
  refused: string;
}

async function report(): Promise<ChromiumReport> {
  const { gpu } = navigator;
  const refused = await createWebGpuDevice({ gpu, allowSoftware: false }).then(
    () => 'none',
    (error: { code: string }) => error.code,
  );
  const device = await createWebGpuDevice({ gpu, allowSoftware: true });
  const probe = await runProbe(device);
  const digests = await runConformance(device);
  const programs = await runProgramVectors(device);
  device.destroy();
  return { info: device.info, digests, probe, programs, refused };
}

report().then(
  (result) => postMessage({ result }),
  (error: unknown) => postMessage({ error: String(error) }),
);

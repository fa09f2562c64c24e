/** The worker of wasm-chromium.test.ts: the conformance suite, the probe and the programs on WASM, with as many threads as the page asks for. */
import { codeOf } from '#protocol/errors.ts';
import { runProgramVectors } from '../vectors/programs.ts';
import { runConformance } from './conformance.ts';
import { runProbe } from './probe.ts';
import { createWasmDevice } from './wasm.ts';

export interface WasmReport {
  label: string;
  digests: Record<string, string>;
  probe: string;
  programs: Record<string, string>;
}

async function report(threads: number): Promise<WasmReport> {
  const device = await createWasmDevice({ threads });
  const digests = await runConformance(device);
  const [probe, programs] = [await runProbe(device), await runProgramVectors(device)];
  device.destroy();
  return { label: device.info.label, digests, probe, programs };
}

addEventListener('message', ({ data }: MessageEvent<number>) => {
  report(data).then(
    (result) => postMessage({ result }),
    (error: unknown) => postMessage({ error: codeOf(error) }),
  );
});

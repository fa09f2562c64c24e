/**
 * Runs the conformance suite, the programs and the probe on Dawn and prints what it got as JSON. A process of its own, because Dawn takes its driver
 * from the environment that a process was started with: see dawn.test.ts.
 *
 * Arguments: `suite`, `null` (compile everything, compute nothing) or `order` (two runs, of which only the first waits for a compiler); then `hardware` or
 * `software` for the kernels of that kind of adapter, the adapter's own kind by default. `variants` and JSON: some cases on devices with options of
 * their own, or with `backend=null` where `isNull` says so.
 */
import { combineDigests } from '../vectors/digest.ts';
import { runProgramVectors } from '../vectors/programs.ts';
import { conformanceCases, runConformance } from './conformance.ts';
import { createDawnDevice } from './dawn.ts';
import { runProbe } from './probe.ts';
import type { TuningPort } from './webgpu-tuning.ts';

/** What the test reads. */
export interface DawnReport {
  info: { label: string; software: boolean };
  /** Kernels and override sets that were compiled. */
  compiled: string[];
  digests: Record<string, string>;
  probe: string;
  programs: Record<string, string>;
}

export interface VariantReport extends Pick<DawnReport, 'compiled' | 'digests'> {
  /** What a tuning kept, and how often. */
  kept: [key: string, name: string][];
}

/** Cases by id, on a device of a kind that the adapter is not given by itself. */
export interface DawnVariant {
  shapes: 'hardware' | 'software';
  gemm?: string;
  without?: 'subgroups';
  isNull?: boolean;
  /** Tuned first, twice: the second device takes what the first one kept. */
  isTuned?: boolean;
  ids: string[];
}

const [mode, shapes] = process.argv.slice(2);
if (mode === 'variants') {
  const reports: VariantReport[] = [];
  for (const variant of JSON.parse(shapes ?? '') as DawnVariant[]) reports.push(await runVariant(variant));
  process.stdout.write(JSON.stringify(reports));
  process.exit(0);
}
const device = await createDawnDevice({
  allowSoftware: true,
  ...(shapes === 'hardware' || shapes === 'software' ? { shapes } : {}),
  flags: mode === 'null' ? ['backend=null'] : [],
});
if (mode === 'order') {
  process.stdout.write(JSON.stringify(await runsInOrder()));
  device.destroy();
  process.exit(0);
}
const digests = await runConformance(device);
const report: DawnReport = {
  info: device.info,
  compiled: device.compiled(),
  digests,
  probe: mode === 'null' ? combineDigests([]) : await runProbe(device),
  programs: mode === 'null' ? {} : await runProgramVectors(device),
};
process.stdout.write(JSON.stringify(report));
device.destroy();

async function runVariant({ ids, isNull, isTuned, ...options }: DawnVariant): Promise<VariantReport> {
  const kept: VariantReport['kept'] = [];
  const tuning: TuningPort = {
    get: (key) => kept.find(([known]) => known === key)?.[1] ?? null,
    set: (key, name) => void kept.push([key, name]),
    failed: (error) => {
      throw error;
    },
  };
  const wanted = {
    allowSoftware: true,
    flags: isNull ? ['backend=null'] : [],
    ...(isTuned ? { tuning } : {}),
    ...options,
  };
  if (isTuned) (await createDawnDevice(wanted)).destroy();
  const made = await createDawnDevice(wanted);
  const cases = conformanceCases.filter(({ id }) => ids.includes(id));
  const found = await runConformance(made, { cases });
  const names = made.compiled();
  made.destroy();
  return { compiled: names, digests: found, kept };
}

/** x -> gelu -> y -> doubled -> z by two recordings, neither run awaited before the next is called. The second one's kernel is compiled already. */
async function runsInOrder(): Promise<number> {
  const size = 4;
  const [x, y, z] = [device.tensor(size), device.tensor(size), device.tensor(size)];
  device.write(x, Float32Array.of(8, 8, 8, 8));
  const twice = device.record((ops) => ops.elementwise({ kind: 'scale', factor: 2, a: y, dst: z, size }));
  await device.run(twice);
  const first = device.run(device.record((ops) => ops.gelu({ x, y, size })));
  await Promise.all([first, device.run(twice)]);
  return (await device.read(z))[0] as number;
}

/**
 * Runs the conformance suite, the programs and the probe on Dawn and prints what it got as JSON. A process of its own, because Dawn takes its driver
 * from the environment that a process was started with: see dawn.test.ts.
 *
 * Arguments: `suite`, `null` (compile everything, compute nothing) or `order` (two runs, of which only the first waits for a compiler); then `hardware` or `software` for the kernels of that kind of adapter,
 * the adapter's own kind by default.
 */
import { combineDigests } from '../vectors/digest.ts';
import { runProgramVectors } from '../vectors/programs.ts';
import { runConformance } from './conformance.ts';
import { createDawnDevice } from './dawn.ts';
import { runProbe } from './probe.ts';

/** What the test reads. */
export interface DawnReport {
  info: { label: string; software: boolean };
  /** Kernels and override sets that were compiled. */
  compiled: string[];
  digests: Record<string, string>;
  probe: string;
  programs: Record<string, string>;
}

const [mode, shapes] = process.argv.slice(2);
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

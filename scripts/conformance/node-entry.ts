/**
 * Examines one backend in a process of its own and tells it in lines of JSON: `node --import ./scripts/raw-hooks.ts scripts/conformance/node-entry.ts OPTIONS`.
 * For Dawn, which takes its driver from the environment that a process was started with.
 */
import { hostConformance, type HostOptions } from '#kernels/device/conformance-host.ts';

const options = JSON.parse(process.argv[2] ?? '{}') as HostOptions;

async function dawn(): Promise<GPU> {
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  return create([]);
}

// Dawn lives as long as this object: it is held by the module.
const gpu = options.backend === 'webgpu' ? await dawn() : undefined;
await hostConformance(options, gpu, (message) => process.stdout.write(`${JSON.stringify(message)}\n`));

/**
 * Examines Deno's WebGPU (wgpu and naga: another implementation than Dawn) and tells it in lines of JSON. Bundled by `bundle.ts`. The kernels are those for
 * real GPUs: what people have there, and what software drivers compile from naga's output in seconds instead of minutes.
 */
import { hostConformance } from '#kernels/device/conformance-host.ts';

await hostConformance(
  { backend: 'webgpu', allowSoftware: true, shapes: 'hardware' },
  { gpu: navigator.gpu },
  (message) => console.log(JSON.stringify(message)),
);

/** Examines Deno's WebGPU (wgpu and naga: another implementation than Dawn) and tells it in lines of JSON. Bundled by `bundle.ts`; no permissions needed. */
import { hostConformance } from '#kernels/device/conformance-host.ts';

await hostConformance({ backend: 'webgpu', allowSoftware: true }, navigator.gpu, (message) =>
  console.log(JSON.stringify(message)),
);

/** The Web Worker of a conformance run: examines one backend and tells its progress. Started by `conformance.ts`, ended by whoever started it. */
import { hostConformance, type HostOptions } from '#kernels/device/conformance-host.ts';

addEventListener('message', ({ data }: MessageEvent<HostOptions>) => {
  void hostConformance(data, { gpu: navigator.gpu }, (message) => postMessage(message));
});

/**
 * Conformance for pages: what backends a browser may have, and a run of the suite on one of them in a worker of its own. Nothing is loaded or asked for
 * before `examineBackend`.
 */
import type { HostMessage, HostOptions } from '#kernels/device/conformance-host.ts';

export {
  type BackendReport,
  bitsInWords,
  byOp,
  type CaseOutcome,
  type OpSummary,
  opOf,
} from '#kernels/device/conformance-report.ts';
export type { HostMessage, HostOptions };

/** Runs the suite; `onMessage` hears progress and, last, a report or why there is none. The returned function ends it at once. */
export function examineBackend(options: HostOptions, onMessage: (message: HostMessage) => void): () => void {
  const worker = new Worker(new URL('./conformance.worker.ts', import.meta.url), { type: 'module' });
  worker.addEventListener('message', ({ data }: MessageEvent<HostMessage>) => onMessage(data));
  worker.addEventListener('error', ({ message }) => {
    onMessage({ kind: 'error', reason: message || 'The worker could not be loaded. Reload the page.' });
  });
  worker.postMessage(options);
  return () => worker.terminate();
}

/**
 * Conformance for pages: a run of the suite on one backend in a worker of its own. The suite and its digests are loaded by the worker, and here only when
 * a document is asked for.
 */
import type { HostMessage, HostOptions } from '#kernels/device/conformance-host.ts';
import type { Column, ConformanceDocument, Machine } from '#kernels/device/conformance-document.ts';

export {
  type BackendReport,
  bitsInWords,
  byOp,
  type CaseOutcome,
  type OpSummary,
} from '#kernels/device/conformance-outcome.ts';
export type { Column, ConformanceDocument, HostMessage, HostOptions, Machine };

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

/** The run as one document to share. */
export async function makeDocument(
  columns: readonly Column[],
  machine: Machine,
): Promise<ConformanceDocument> {
  const made = await import('#kernels/device/conformance-document.ts');
  return made.makeDocument(columns, machine);
}

/**
 * What the page's address asks for: `?software=1` takes a software adapter too, `?backend=reference` computes with the TypeScript
 * reference, `?job=CID` shows one job. Anything else is ignored: a link can choose, but never start anything.
 */
export interface PageOptions {
  allowSoftware: boolean;
  backend: 'webgpu' | 'reference';
  job: string | null;
}

export function parseOptions(search: string): PageOptions {
  const query = new URLSearchParams(search);
  return {
    allowSoftware: query.get('software') === '1',
    backend: query.get('backend') === 'reference' ? 'reference' : 'webgpu',
    job: query.get('job'),
  };
}

/** What this browser lacks, told from what is already there: nothing is requested. */
export type Lack = 'secure-context' | 'webgpu' | null;

export function lackOf(options: PageOptions, host: { isSecureContext: boolean; hasGpu: boolean }): Lack {
  if (!host.isSecureContext) return 'secure-context';
  return options.backend === 'webgpu' && !host.hasGpu ? 'webgpu' : null;
}

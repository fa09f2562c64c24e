/**
 * The one door to the contributor: a dynamic import, so that none of its code is fetched before Start, and nothing of it runs on import.
 */
import { deleteKept, keptBytes } from '#workers/browser/kept-folder.ts';
import type { ContributorControl } from '#workers/runtime/view.ts';
import type { PageOptions } from './options.ts';

export async function createContributorHere(
  options: PageOptions,
  { direct }: { direct: boolean },
): Promise<ContributorControl> {
  const { createContributor } = await import('#workers/browser/start.ts');
  return createContributor({
    url: location.origin,
    allowSoftware: options.allowSoftware,
    backend: options.backend,
    peers: direct ? 'direct' : 'relay-only',
    ...(options.threads === null ? {} : { threads: options.threads }),
  });
}

/** Blocks from earlier visits; a small file of its own, so that nothing of the contributor is loaded to look. */
export const keptHere = { bytes: keptBytes, remove: deleteKept };

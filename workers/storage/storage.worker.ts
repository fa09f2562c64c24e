/**
 * The worker that owns the browser's disk: sync access handles exist in dedicated workers only, and here a unit that computes for seconds does not keep a block from being read.
 * Started by the contributor's worker; see `remote-shelf.ts` for the other end.
 */
import * as Comlink from 'comlink';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError, type Problem, toProblem } from '#protocol/errors.ts';
import type { KeptBlocks } from '../runtime/ports.ts';
import { type DiskShelf, openDiskShelf } from './disk-shelf.ts';
import { openOpfsDisk } from './opfs-disk.ts';

/** Of what the browser would still give, this share is taken at most: the page is not the only one of its origin. */
const quotaShare = 0.5;

let shelf: DiskShelf | null = null;

const api = {
  /** What is there. A problem where storage is refused. Holds `lock` for as long as this worker lives, so that its end can be waited for. */
  async open(
    limitBytes: number,
    onDropped: (cids: readonly Cid[]) => void,
    lock: string,
  ): Promise<{ cids: Cid[]; figures: KeptBlocks } | Problem> {
    const life = new Promise<void>(() => {});
    navigator.locks?.request(lock, () => life).catch(() => undefined);
    try {
      const disk = await openOpfsDisk();
      const { quota = Infinity, usage = 0 } = await navigator.storage
        .estimate()
        .catch(() => ({}) as StorageEstimate);
      const allowed = Math.max(0, Math.floor((quota - usage) * quotaShare)) + usage;
      const options = { limitBytes: Math.min(limitBytes, allowed), now: () => Date.now(), onDropped };
      shelf = await openDiskShelf(disk, options);
      return { cids: shelf.cids, figures: shelf.figures };
    } catch (error) {
      return toProblem(error);
    }
  },
  async find(cid: Cid): Promise<{ bytes: Uint8Array | undefined; figures: KeptBlocks }> {
    const bytes = await opened().find(cid);
    const answer = { bytes, figures: opened().figures };
    return bytes ? Comlink.transfer(answer, [bytes.buffer]) : answer;
  },
  async keep(cid: Cid, bytes: Uint8Array): Promise<{ isKept: boolean; figures: KeptBlocks }> {
    await opened().keep(cid, bytes);
    return { isKept: opened().has(cid), figures: opened().figures };
  },
  async clear(): Promise<KeptBlocks | Problem> {
    try {
      await opened().clear();
      return opened().figures;
    } catch (error) {
      return toProblem(error);
    }
  },
  close: async () => shelf?.close(),
};
export type StorageApi = typeof api;

function opened(): DiskShelf {
  if (!shelf) throw new AtollError('storage_failed', 'The storage is not open.');
  return shelf;
}

Comlink.expose(api);

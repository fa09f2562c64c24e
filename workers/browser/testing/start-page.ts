/** The smallest page there is: it only hands `createContributor`, what keeps a tuning and what keeps blocks to the test of `start.ts`. */
import { cidOfBlock } from '#protocol/codec/cid.ts';
import type { ContributorControl, ContributorView } from '../../runtime/view.ts';
import type { Shelf } from '../../storage/ports.ts';
import { openRemoteShelf } from '../../storage/remote-shelf.ts';
import { keptBytes } from '../kept-folder.ts';
import { createContributor } from '../start.ts';
import { storedTuning } from '../tuning-store.ts';

declare global {
  interface Window {
    createContributor: typeof createContributor;
    storedTuning: typeof storedTuning;
    control: ContributorControl;
    views: ContributorView[];
    openRemoteShelf: typeof openRemoteShelf;
    kept: { keptBytes: typeof keptBytes };
    shelf?: Shelf;
    /** The n-th of any number of blocks. */
    block: (n: number) => Promise<[cid: string, bytes: Uint8Array]>;
  }
}

Object.assign(window, { createContributor, storedTuning, openRemoteShelf, kept: { keptBytes } });

window.block = async (n) => {
  const bytes = new Uint8Array(1 << 20).fill(n + 1);
  return [await cidOfBlock(bytes), bytes];
};

/** The shelf of a contributor in Node. A folder that cannot be used stops nobody: it is said, and blocks are kept in memory. */
import { toProblem } from '#protocol/errors.ts';
import type { Logger } from '../runtime/ports.ts';
import { openDiskShelf } from './disk-shelf.ts';
import { noShelf } from './no-shelf.ts';
import { openNodeDisk } from './node-disk.ts';
import type { Shelf } from './ports.ts';

/** No bytes: nothing is kept. Never rejects. */
export async function openNodeShelf(directory: string, limitBytes: number, log: Logger): Promise<Shelf> {
  if (limitBytes === 0) return noShelf('Blocks are kept in memory only, as asked.');
  try {
    const shelf = await openDiskShelf(await openNodeDisk(directory), { limitBytes, now: () => Date.now() });
    log.info(shelf.figures, 'Blocks are kept on disk.');
    return shelf;
  } catch (error) {
    const { code, detail } = toProblem(error);
    log.warn({ code }, `${detail} Blocks are kept in memory only.`);
    return noShelf(detail);
  }
}

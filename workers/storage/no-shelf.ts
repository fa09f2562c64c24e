/** A shelf that keeps nothing, and says why: storage is refused, or was turned off. */
import type { Shelf } from './ports.ts';

export function noShelf(why: string): Shelf {
  return {
    has: () => false,
    find: async () => undefined,
    keep: async () => undefined,
    clear: async () => undefined,
    figures: { heldBytes: 0, limitBytes: 0, readBytes: 0, why },
    close: async () => undefined,
  };
}

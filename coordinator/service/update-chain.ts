/**
 * How checkpoints follow from each other: after which one, by which update, under which outer parameters. Kept for the latest rounds and told with a lease
 * to whoever holds an earlier checkpoint, as a hint: the CID of what comes out decides.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';
import type { SyncHint } from '#protocol/messages/frames.ts';

export interface ChainLink extends Pick<SyncHint, 'steps' | 'outerLr' | 'outerMomentum'> {
  checkpoint: Cid;
  /** The checkpoint before it. */
  from: Cid;
  update: Cid;
  packed?: Cid;
}

/** Checkpoints remembered, of all jobs. */
const linksMax = 4096;

export class UpdateChain {
  /** Oldest first. */
  readonly #links = new Map<Cid, ChainLink>();

  /** Only what is published: the plan has gone on from it. */
  note(link: ChainLink): void {
    if (this.#links.has(link.checkpoint)) return;
    this.#links.set(link.checkpoint, link);
    if (this.#links.size <= linksMax) return;
    const [oldest] = this.#links.keys();
    this.#links.delete(oldest as Cid);
  }

  /** The way from a checkpoint that is held to another; undefined where there is none, or none is needed. */
  hint(holds: readonly Cid[], checkpoint: Cid): SyncHint | undefined {
    const held = new Set(holds);
    const last = this.#links.get(checkpoint);
    if (held.size === 0 || held.has(checkpoint) || !last) return undefined;
    const updates: SyncHint['updates'] = [];
    for (let link: ChainLink | undefined = last; link; link = this.#links.get(link.from)) {
      const { update, packed, from, steps, outerLr, outerMomentum } = link;
      if (steps !== last.steps || outerLr !== last.outerLr || outerMomentum !== last.outerMomentum) break;
      updates.unshift(packed === undefined ? { update } : { update, packed });
      if (held.has(from)) return { from, updates, steps, outerLr, outerMomentum };
      if (updates.length === limits.syncRoundsMax) break;
    }
    return undefined;
  }
}

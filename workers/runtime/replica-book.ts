/**
 * The replicas this contributor has computed and not yet settled, as plain state: what was committed, what may be revealed, what may be
 * served. No waiting in here, so the one rule that matters is in one place: neither salt nor blocks leave before `open`.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';
import type { Hex } from 'viem';

/**
 * `committing`: the commit is not acknowledged. `committed`: it is. `opened`: the coordinator asked for the reveal, which is not
 * acknowledged. `revealed`: it is, and only the verdict is missing.
 */
export type ReplicaState = 'committing' | 'committed' | 'opened' | 'revealed';

export interface Replica {
  readonly assignment: Hex;
  readonly network: Hex;
  readonly unit: Cid;
  readonly program: string;
  /** Canonical bytes of the result. */
  readonly resultBytes: Uint8Array;
  /** The 32 bytes that were committed to. */
  readonly digest: Hex;
  readonly salt: Hex;
  readonly commitment: Hex;
  readonly commitSignature: Hex;
  /** Blocks the unit has put. */
  blocks: readonly Cid[];
  /** Whether they are pinned in the cache; of an earlier life, once they are back. */
  isPinned: boolean;
  /** How long a coordinator was there that said nothing of it. */
  waitedMs: number;
  /** From an earlier life, and not spoken of in this one. */
  isRestored: boolean;
  state: ReplicaState;
  /** Whether the commit went out at least once. Before that nothing can be opened. */
  commitSent: boolean;
  revealSignature: Hex | null;
  /** Whether salt and digest went out at least once. From then on the blocks are public. */
  revealSent: boolean;
}

export class ReplicaBook {
  readonly #replicas = new Map<Hex, Replica>();
  /** Blocks of replicas that were revealed and have been settled since, oldest first. */
  readonly #published = new Set<Cid>();

  get size(): number {
    return this.#replicas.size;
  }

  get(assignment: Hex): Replica | undefined {
    return this.#replicas.get(assignment);
  }

  all(): Replica[] {
    return [...this.#replicas.values()];
  }

  add(replica: Replica): void {
    this.#replicas.set(replica.assignment, replica);
  }

  /** Forgets a replica, salt included; what it had revealed stays public. */
  remove(assignment: Hex): Replica | undefined {
    const replica = this.#replicas.get(assignment);
    if (!replica) return undefined;
    this.#replicas.delete(assignment);
    if (replica.revealSent) this.#publish(replica.blocks);
    return replica;
  }

  /** The coordinator asks for the reveal. False when there is nothing to open or it is not yet committed. */
  open(assignment: Hex): boolean {
    const replica = this.#replicas.get(assignment);
    if (!replica?.commitSent) return false;
    if (replica.state !== 'revealed') replica.state = 'opened';
    return true;
  }

  /** Whether a revealed result named this block. */
  isPublic(cid: Cid): boolean {
    if (this.#published.has(cid)) return true;
    return this.all().some((replica) => replica.revealSent && replica.blocks.includes(cid));
  }

  /** Replicas that a coordinator has said nothing about for too long. */
  expired(): Replica[] {
    return this.all().filter((replica) => replica.waitedMs > limits.pendingMsMax);
  }

  #publish(cids: readonly Cid[]): void {
    for (const cid of cids) {
      this.#published.delete(cid);
      this.#published.add(cid);
    }
    for (const cid of this.#published) {
      if (this.#published.size <= limits.publishedBlocksMax) return;
      this.#published.delete(cid);
    }
  }
}

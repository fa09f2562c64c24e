/** A store of pending replicas that outlives a contributor in a test, and fails when it is told to. Records go through their bytes, as on a disk. */
import type { Hex } from 'viem';
import type { Cid } from '#protocol/codec/cid.ts';
import { decodeKeptReplica, encodeKeptReplica, type KeptReplica, notKept } from '../kept-replica.ts';
import type { KeptEntry, ReplicaStore } from '../ports.ts';

export class MemoryReplicas implements ReplicaStore {
  readonly files = new Map<Hex, { record: Uint8Array; blocks: Uint8Array[]; isRevealed: boolean }>();
  isFull = false;
  checks = 0;
  /** Awaited before anything is kept when set. */
  gate: Promise<void> | null = null;

  async check(): Promise<void> {
    this.checks++;
    if (this.isFull) throw notKept('there is no room left.');
  }

  async keep(kept: KeptReplica, block: (cid: Cid) => Promise<Uint8Array>): Promise<void> {
    await this.gate;
    if (this.isFull) throw notKept('there is no room left.');
    const blocks: Uint8Array[] = [];
    for (const { cid } of kept.blocks) blocks.push((await block(cid)).slice());
    this.files.set(kept.assignment, { record: encodeKeptReplica(kept), blocks, isRevealed: false });
  }

  async markRevealed(assignment: Hex): Promise<void> {
    if (this.isFull) throw notKept('there is no room left.');
    const file = this.files.get(assignment);
    if (file) file.isRevealed = true;
  }

  async remove(assignment: Hex): Promise<void> {
    this.files.delete(assignment);
  }

  async list(contributor: Hex): Promise<KeptEntry[]> {
    return [...this.files.values()]
      .map(({ record, isRevealed }) => ({ kept: decodeKeptReplica(record), isRevealed }))
      .filter(({ kept }) => kept.contributor === contributor);
  }

  async *blocks(assignment: Hex): AsyncGenerator<Uint8Array> {
    yield* this.files.get(assignment)?.blocks ?? [];
  }
}

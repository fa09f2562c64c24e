/**
 * Rewards at the close of rounds: everybody's as one root, and the proof of anybody's against the last of these roots.
 *
 * The last root and its place in the ledger's chain are kept as a small record, for all processes; the tree is kept in memory, or made anew from
 * the rewards of now less what the transfers since have changed. Between two roots the proofs stay the same.
 */
import { setImmediate } from 'node:timers/promises';
import { AtollError } from '#protocol/errors.ts';
import type { RewardsRoot } from '#protocol/http/api.ts';
import type { RewardProof } from '#protocol/http/ledger.ts';
import type { Hex } from 'viem';
import type { SealedTransfer, Tip } from '../ledger/chain.ts';
import { type Reward, rewardsBefore, type RewardTree, rewardTree } from '../ledger/rewards.ts';
import type { Shelf } from '../storage/shelf.ts';
import type { Clock } from './ports.ts';

export interface RewardsPorts {
  storage: {
    seal(most: number): Promise<number>;
    ledger: {
      rewards(): Promise<{ tip: Tip; rewards: Reward[] }>;
      transfersAfter(seq: number, most: number): Promise<SealedTransfer[]>;
    };
    shelf: Pick<Shelf, 'get' | 'put'>;
  };
  clock: Clock;
  /** Transfers read at a time. */
  pageMax?: number;
}

const sealMax = 1000;
/** Batches that one close seals: what comes in meanwhile waits for the next. */
const sealsMax = 1000;
const defaultPageMax = 5000;
const shelfKind = 'rewards';
const shelfKey = 'last';

export class RewardsBoard {
  readonly #ports: RewardsPorts;
  #built: { root: Hex; tree: Promise<RewardTree | null> } | null = null;

  constructor(ports: RewardsPorts) {
    this.#ports = ports;
  }

  /** Seals what has been posted, and makes a new root of all rewards; null while nobody has one. It is the last one only once it is kept. */
  async make(): Promise<RewardsRoot | null> {
    const { storage } = this.#ports;
    for (let turn = 0; turn < sealsMax && (await storage.seal(sealMax)) === sealMax; turn++);
    const { tip, rewards } = await storage.ledger.rewards();
    const tree = await rewardTree(rewards, pause);
    if (!tree) return null;
    const { root, contributors, total } = tree;
    this.#built = { root, tree: Promise.resolve(tree) };
    return { root, tip: { seq: tip.seq, hash: tip.hash }, contributors, total: String(total) };
  }

  /** The root that a round was closed with, be it of this process or another, is the last one from now on. */
  async keep(root: RewardsRoot): Promise<void> {
    const { storage, clock } = this.#ports;
    await storage.shelf.put({
      ...{ kind: shelfKind, key: shelfKey, owner: '', value: JSON.stringify(root) },
      ...{ createdAt: clock.now(), expiresAt: null },
    });
  }

  /** The last root; null before the first. */
  async last(): Promise<RewardsRoot | null> {
    const { storage, clock } = this.#ports;
    const record = await storage.shelf.get(shelfKind, shelfKey, clock.now());
    return record && (JSON.parse(record.value) as RewardsRoot);
  }

  /** A contributor's reward with its proof against the last root. Throws `not_found` for one that had none then. */
  async proof(contributor: Hex): Promise<RewardProof> {
    const last = await this.last();
    const found = last && (await this.#treeOf(last))?.proof(contributor);
    if (!found) {
      throw new AtollError('not_found', 'This contributor had no reward when the last round closed.');
    }
    const { root, tip } = last as RewardsRoot;
    return { contributor, amount: String(found.amount), root, siblings: found.siblings, tip };
  }

  /** All who ask while a tree is made wait for the same one. */
  async #treeOf(last: RewardsRoot): Promise<RewardTree | null> {
    if (this.#built?.root !== last.root) this.#built = { root: last.root, tree: this.#rebuild(last) };
    const { tree } = this.#built;
    try {
      return await tree;
    } catch (error) {
      if (this.#built?.tree === tree) this.#built = null;
      throw error;
    }
  }

  /** Throws `internal` should the transfers not lead back to the root. */
  async #rebuild({ root, tip }: RewardsRoot): Promise<RewardTree | null> {
    const { storage, pageMax = defaultPageMax } = this.#ports;
    const { ledger } = storage;
    const now = await ledger.rewards();
    let rewards = now.rewards;
    for (let seq = tip.seq; seq < now.tip.seq;) {
      const page = await ledger.transfersAfter(seq, Math.min(pageMax, now.tip.seq - seq));
      rewards = rewardsBefore(rewards, page);
      seq = page.at(-1)?.seq ?? now.tip.seq;
    }
    const tree = await rewardTree(rewards, pause);
    if (tree?.root === root) return tree;
    throw new AtollError('internal', `The ledger does not lead back to the rewards at transfer ${tip.seq}.`);
  }
}

async function pause(): Promise<void> {
  await setImmediate();
}

/** What the HTTP side asks of the ledger, of rewards and of lineage, in the shapes of `protocol/http/ledger.ts`. */
import type { Cid } from '#protocol/codec/cid.ts';
import type { RewardsRoot } from '#protocol/http/api.ts';
import type { LedgerPage, Lineage, RewardProof, ShareInfo, TransferInfo } from '#protocol/http/ledger.ts';
import type { Hex } from 'viem';
import type { SealedTransfer, Tip } from '../ledger/chain.ts';
import type { Reward } from '../ledger/rewards.ts';
import { lineageOf, type LineageSource } from '../lineage/lineage.ts';
import type { RewardsBoard } from './rewards-board.ts';

export interface LedgerQueryPorts {
  ledger: {
    tip(): Promise<Tip>;
    transfersAfter(seq: number, most: number): Promise<SealedTransfer[]>;
    sharesOf(job: Cid, page: { after?: string; most: number }): Promise<Reward[]>;
  };
  lineage: LineageSource;
  board: RewardsBoard;
}

export class LedgerQueries {
  readonly #ports: LedgerQueryPorts;

  constructor(ports: LedgerQueryPorts) {
    this.#ports = ports;
  }

  /** Sealed transfers after a place of the chain, and the chain's tip. */
  async ledger(after: number, most: number): Promise<LedgerPage> {
    const { ledger } = this.#ports;
    // The tip first: it may have moved on when the transfers are read, but never back.
    const { seq, hash } = await ledger.tip();
    const transfers = await ledger.transfersAfter(after, most);
    return { transfers: transfers.map(shownTransfer), tip: { seq, hash } };
  }

  /** The root over all rewards when the last round closed; null before the first. */
  rewards(): Promise<RewardsRoot | null> {
    return this.#ports.board.last();
  }

  /** Throws `not_found`. */
  reward(contributor: Hex): Promise<RewardProof> {
    return this.#ports.board.proof(contributor);
  }

  /** What of a job's model is whose, by address, after one of them. */
  async shares(job: Cid, page: { after?: string; most: number }): Promise<ShareInfo[]> {
    const shares = await this.#ports.ledger.sharesOf(job, page);
    return shares.map(({ contributor, amount }) => ({ contributor, amount: String(amount) }));
  }

  /** Throws `not_found`. */
  lineage(checkpoint: Cid, depth: number): Promise<Lineage> {
    return lineageOf(checkpoint, this.#ports.lineage, { depth });
  }
}

export function shownTransfer(transfer: SealedTransfer): TransferInfo {
  const { seq, kind, debit, credit, amount, job, unit, assignment, reason, at, hash } = transfer;
  return { seq, kind, debit, credit, amount: String(amount), job, unit, assignment, reason, at, hash };
}

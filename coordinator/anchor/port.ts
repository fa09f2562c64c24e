/**
 * The anchor port: where a closed round's Merkle root goes so that anybody can check later what was accepted. The network runs without it
 * and anchors later; the coordinator's own storage is the record, the chain its public witness.
 */
import type { Hex } from 'viem';
import type { Cid } from '#protocol/codec/cid.ts';
import type { ChainInfo } from '#protocol/http/api.ts';

export interface RoundToAnchor {
  job: Cid;
  /** The first is 1. */
  round: number;
  /** Merkle root over the round's accepted results; not zero. */
  root: Hex;
  checkpoint: Cid;
}

export interface AnchorReceipt {
  tx: Hex;
  blockNumber: number;
}

export interface ReconciledRound extends AnchorReceipt {
  job: Cid;
  round: number;
  /** Whether the chain lacked the round, so that it was anchored (again) now. */
  anchoredNow: boolean;
}

/** A round as the chain tells it; jobs and checkpoints are digests there. */
export interface AnchoredRound extends AnchorReceipt {
  round: number;
  root: Hex;
  /** The digest inside the checkpoint's CID. */
  checkpoint: Hex;
  /** The hash chain's tip after this round. */
  tip: Hex;
}

/** The errors of every method: `unavailable` when the chain is away (try again later), `cancelled` when the signal says so. */
export interface Anchor {
  info(): ChainInfo;

  /**
   * Anchors a job's next round. A round that is on the chain already with the same root and checkpoint returns its receipt.
   * Throws `conflict` when the chain has another root for it, or lacks an earlier round (then `reconcile`).
   */
  anchorRound(round: RoundToAnchor, signal?: AbortSignal): Promise<AnchorReceipt>;

  /**
   * Anchors, in order, every one of these rounds that the chain lacks; for a restart, since a dev chain may have lost its last seconds
   * or everything. What it did before it throws stays done, so it can simply be called again.
   * Throws `conflict` as `anchorRound` does.
   */
  reconcile(rounds: readonly RoundToAnchor[], signal?: AbortSignal): Promise<ReconciledRound[]>;

  /** Every anchored round of a job, in order. Throws `conflict` when the events do not hash to the contract's tip. */
  rounds(job: Cid, signal?: AbortSignal): Promise<AnchoredRound[]>;

  /** Ends what waits, with `cancelled`, and lets go of the chain. A transaction that is on its way is found by the next `reconcile`. */
  close(): Promise<void>;
}

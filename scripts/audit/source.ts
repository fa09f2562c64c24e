/**
 * Where an audit gets its evidence: from a data directory on this machine (its coordinator may run or not), or from a coordinator over HTTP.
 * Nothing that a source says is believed: bytes are checked against their CIDs, and roots against the chain.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { UnitInfo } from '#protocol/http/api.ts';
import type { Hex } from 'viem';

export interface ChainAccess {
  rpcUrl: string;
  contract: Hex;
  fromBlock?: number;
}

export interface AuditSource {
  /** Throws `not_found`. */
  unit(cid: Cid, signal?: AbortSignal): Promise<UnitInfo>;
  /** Every accepted unit of every closed round, in order. */
  units(signal?: AbortSignal): Promise<Cid[]>;
  /** A block, not yet checked. Throws `not_found`. */
  block(cid: Cid, signal?: AbortSignal): Promise<Uint8Array>;
  /** The chain that rounds are anchored on, or why there is none. */
  chain(signal?: AbortSignal): Promise<ChainAccess | { reason: string }>;
  close(): Promise<void>;
}

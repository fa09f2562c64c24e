/**
 * For auditors: what a chain says about a job, checked without trusting the coordinator. All `Anchored` events are fetched and hashed
 * into the tip anew; it must be the one that the contract holds, so that no round was left out, added or reordered.
 *
 * The RPC node is believed for events and storage: ask one of your own.
 */
import { createPublicClient, type Hex, http, type PublicClient, zeroHash } from 'viem';
import { roundAnchorAbi } from '#contracts/abi/round-anchor.ts';
import { type Cid, digestOfCid } from '#protocol/codec/cid.ts';
import { toHex } from '#protocol/messages/hex.ts';
import { chainError, hostOf, isForeignContract } from './chain-errors.ts';
import { anchoredEvents, checkHistory } from './events.ts';
import type { AnchoredRound } from './port.ts';

export interface JobOnChain {
  /** Where to ask: a client, or a URL. */
  chain: PublicClient | string;
  contract: Hex;
  job: Cid;
  /** The contract's first block, when it is known: spares a long search. */
  fromBlock?: number;
  signal?: AbortSignal;
}

export type ChainVerdict =
  /** The events are the whole history, in order. */
  | { kind: 'consistent'; tip: Hex; rounds: AnchoredRound[] }
  /** The job was never anchored there. */
  | { kind: 'absent' }
  /** There is no such contract at the address. */
  | { kind: 'no_contract' }
  /** The events are not what the contract's tip commits to; `round` is the first that does not fit, if one does not. */
  | { kind: 'broken'; round: number | null; reason: string; rounds: AnchoredRound[] };

/** Throws `unavailable` when the chain does not answer, `cancelled`, and `bad_request` for what is no CID. */
export async function verifyJobOnChain(query: JobOnChain): Promise<ChainVerdict> {
  const job = toHex(digestOfCid(query.job));
  const { chain, contract, signal } = query;
  const client = typeof chain === 'string' ? createPublicClient({ transport: http(chain) }) : chain;
  try {
    // Everything is read as of one block, so that a round anchored meanwhile is no contradiction.
    const toBlock = await client.getBlockNumber({ cacheTime: 0 });
    const code = await client.getCode({ address: contract, blockNumber: toBlock });
    if (code === undefined) return { kind: 'no_contract' };
    const read = { address: contract, abi: roundAnchorAbi, args: [job], blockNumber: toBlock } as const;
    const tip = await client.readContract({ ...read, functionName: 'tipOf' });
    const fromBlock = BigInt(query.fromBlock ?? 0);
    const rounds = await anchoredEvents(client, { contract, job, fromBlock, toBlock, signal });
    if (rounds.length === 0 && tip === zeroHash) return { kind: 'absent' };
    const check = checkHistory(job, rounds, tip);
    return { ...check, rounds };
  } catch (error) {
    if (isForeignContract(error)) return { kind: 'no_contract' };
    throw chainError(error, typeof chain === 'string' ? hostOf(chain) : 'the RPC node');
  }
}

/**
 * Reading RoundAnchor: a job's `Anchored` events and the hash chain they must add up to. Used by the coordinator and by auditors alike.
 */
import { encodeAbiParameters, type Hex, keccak256, type PublicClient, zeroHash } from 'viem';
import { roundAnchorAbi } from '#contracts/abi/round-anchor.ts';
import { throwIfCancelled } from './chain-errors.ts';
import type { AnchoredRound } from './port.ts';

/** Below this many blocks a range that a provider refuses is not split further. */
const splitBlocksMin = 64n;

const linkTypes = [
  { type: 'bytes32' },
  { type: 'bytes32' },
  { type: 'uint64' },
  { type: 'bytes32' },
  { type: 'bytes32' },
] as const;

/** The hash chain's tip after one more round, as the contract computes it. */
export function nextTip(
  tip: Hex,
  job: Hex,
  round: Pick<AnchoredRound, 'round' | 'root' | 'checkpoint'>,
): Hex {
  const link = [tip, job, BigInt(round.round), round.root, round.checkpoint] as const;
  return keccak256(encodeAbiParameters(linkTypes, link));
}

export type HistoryCheck =
  | { kind: 'consistent'; tip: Hex }
  /** `round` is the first that does not fit; null when the events fit one another but not the contract's tip. */
  | { kind: 'broken'; round: number | null; reason: string };

/** Whether rounds, in the order of the chain, are 1, 2, 3... and hash to `tip`. */
export function checkHistory(job: Hex, rounds: readonly AnchoredRound[], tip: Hex): HistoryCheck {
  let computed: Hex = zeroHash;
  for (const [i, round] of rounds.entries()) {
    if (round.round !== i + 1) {
      return { kind: 'broken', round: round.round, reason: `round ${i + 1} was expected` };
    }
    computed = nextTip(computed, job, round);
    if (computed !== round.tip) {
      return {
        kind: 'broken',
        round: round.round,
        reason: 'the event states another tip than its contents hash to',
      };
    }
  }
  if (computed === tip) return { kind: 'consistent', tip };
  return { kind: 'broken', round: null, reason: 'the contract holds another tip than the events hash to' };
}

export interface EventQuery {
  contract: Hex;
  /** The job's digest. */
  job: Hex;
  /** One round only. */
  round?: number;
  fromBlock: bigint;
  toBlock: bigint;
  signal?: AbortSignal | undefined;
}

/** A job's events, oldest first. Halves the range where a provider refuses it as too wide. */
export async function anchoredEvents(client: PublicClient, query: EventQuery): Promise<AnchoredRound[]> {
  throwIfCancelled(query.signal);
  const { contract, job, round, fromBlock, toBlock } = query;
  if (fromBlock > toBlock) return [];
  try {
    const logs = await client.getContractEvents({
      address: contract,
      abi: roundAnchorAbi,
      eventName: 'Anchored',
      args: round === undefined ? { job } : { job, round: BigInt(round) },
      fromBlock,
      toBlock,
      strict: true,
    });
    return logs.map(({ args, transactionHash, blockNumber }) => ({
      round: Number(args.round),
      root: args.root,
      checkpoint: args.checkpoint,
      tip: args.tip,
      tx: transactionHash,
      blockNumber: Number(blockNumber),
    }));
  } catch (error) {
    if (toBlock - fromBlock < splitBlocksMin || !isAnswer(error)) throw error;
  }
  const middle = fromBlock + (toBlock - fromBlock) / 2n;
  const older = await anchoredEvents(client, { ...query, toBlock: middle });
  return [...older, ...(await anchoredEvents(client, { ...query, fromBlock: middle + 1n }))];
}

/** Whether a provider answered at all: an RPC error, or an HTTP status, as opposed to no connection. */
function isAnswer(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code, status } = cause as { code?: unknown; status?: unknown };
    if (typeof code === 'number' || typeof status === 'number') return true;
  }
  return false;
}

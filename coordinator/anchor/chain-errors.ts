/**
 * What went wrong on the chain's side, in our words. A provider's URL may hold an API key and viem puts it into its messages, so neither
 * its messages nor its errors are passed on: only its one-line summary and our host name.
 */
import {
  AbiDecodingDataSizeTooSmallError,
  BaseError,
  ContractFunctionRevertedError,
  ContractFunctionZeroDataError,
} from 'viem';
import { AtollError } from '#protocol/errors.ts';

/** The host of an RPC URL: what may be shown and logged of it. */
export function hostOf(rpcUrl: string): string {
  try {
    return new URL(rpcUrl).host;
  } catch {
    return 'the given URL';
  }
}

/** The name of the contract's custom error that a call ended with, if one did. */
export function revertNameOf(error: unknown): string | null {
  if (!(error instanceof BaseError)) return null;
  const reverted = error.walk((cause) => cause instanceof ContractFunctionRevertedError);
  return reverted instanceof ContractFunctionRevertedError ? (reverted.data?.errorName ?? 'unknown') : null;
}

/** Whether a read failed because what stands at the address is no RoundAnchor. */
export function isForeignContract(error: unknown): boolean {
  if (!(error instanceof BaseError)) return false;
  const foreign = [
    ContractFunctionRevertedError,
    ContractFunctionZeroDataError,
    AbiDecodingDataSizeTooSmallError,
  ];
  return error.walk((cause) => foreign.some((type) => cause instanceof type)) !== null;
}

export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AtollError('cancelled', 'Anchoring was cancelled.');
}

/** A node's own words, in lower case. For what nodes give no common code: nonces, fees, funds. Never shown: they may quote the URL. */
export function wordsOf(error: unknown): string {
  return error instanceof BaseError ? `${error.message} ${error.details}`.toLowerCase() : '';
}

/** A chain's failure as an AtollError; one that is ours already is left as it is. */
export function chainError(error: unknown, host: string): AtollError {
  if (error instanceof AtollError) return error;
  const summary = error instanceof BaseError ? error.shortMessage : 'unexpected answer';
  const cause = new Error(summary);
  if (/insufficient (funds|balance)/.test(wordsOf(error))) {
    return new AtollError(
      'unavailable',
      `The coordinator's account on ${host} cannot pay for a transaction. Send it funds; rounds are anchored then.`,
      { cause },
    );
  }
  return new AtollError(
    'unavailable',
    `The chain at ${host} does not answer as it should (${summary}). Start it or give another RPC URL; rounds are anchored later.`,
    { cause },
  );
}

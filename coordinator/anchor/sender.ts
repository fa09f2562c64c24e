/**
 * Sends transactions of one key, one after another, until each is mined or the time is up.
 *
 * One at a time keeps nonces simple: the next is always the chain's own count. A transaction that is not mined in time stays on its way;
 * sending again takes the same nonce with a higher fee, so at most one of the two is ever mined.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Hex,
  keccak256,
  type PrivateKeyAccount,
  type PublicClient,
  type TransactionReceipt,
  TransactionReceiptNotFoundError,
} from 'viem';
import { AtollError } from '#protocol/errors.ts';
import { throwIfCancelled, wordsOf } from './chain-errors.ts';

export interface SenderOptions {
  client: PublicClient;
  account: PrivateKeyAccount;
  /** A transaction not mined within this time ends in `unavailable`. */
  receiptMsMax: number;
  pollMs: number;
  /** A development chain: asked to mine when a transaction is left lying, which instant mining under load does. */
  devChain: boolean;
  /** For messages. */
  host: string;
}

export interface Call {
  /** Null creates a contract. */
  to: Hex | null;
  data: Hex;
  /** As estimated; a fifth is added for what changes until it is mined. */
  gas: bigint;
}

export type Outcome =
  | { kind: 'mined'; receipt: TransactionReceipt }
  /** Another transaction of this key took the nonce, or the call reverted: read the chain again and decide anew. */
  | { kind: 'overtaken' };

export interface Sender {
  readonly address: Hex;
  /** Throws viem's errors, and `unavailable` or `cancelled`. */
  send(call: Call, signal?: AbortSignal): Promise<Outcome>;
}

const bumpsMax = 6;
/** Polls without a receipt before a development chain is asked to mine. */
const pollsBeforeMine = 8;

export function createSender(options: SenderOptions): Sender {
  const { client, account } = options;
  return {
    address: account.address.toLowerCase() as Hex,
    async send(call, signal) {
      throwIfCancelled(signal);
      const nonce = await client.getTransactionCount({ address: account.address, blockTag: 'latest' });
      const chainId = await client.getChainId();
      const fees = await client.estimateFeesPerGas();
      // Twenty per cent a step: nodes refuse a replacement that pays less than ten per cent more.
      for (let step = 0; step <= bumpsMax; step++) {
        throwIfCancelled(signal);
        const raise = (fee: bigint) => (fee * (100n + 20n * BigInt(step))) / 100n + BigInt(step);
        const raw = await account.signTransaction({
          ...(call.to === null ? {} : { to: call.to }),
          data: call.data,
          type: 'eip1559',
          chainId,
          nonce,
          gas: (call.gas * 12n) / 10n,
          maxFeePerGas: raise(fees.maxFeePerGas),
          maxPriorityFeePerGas: raise(fees.maxPriorityFeePerGas),
        });
        const submitted = await submit(client, raw);
        if (submitted === 'overtaken') return { kind: 'overtaken' };
        if (submitted === 'underpriced') continue;
        return await awaitReceipt(options, keccak256(raw), nonce, signal);
      }
      throw late(options, 'an earlier one that pays more is still on its way');
    },
  };
}

async function submit(client: PublicClient, raw: Hex): Promise<'sent' | 'underpriced' | 'overtaken'> {
  try {
    await client.sendRawTransaction({ serializedTransaction: raw });
    return 'sent';
  } catch (error) {
    const text = wordsOf(error);
    if (/already (known|imported)|known transaction/.test(text)) return 'sent';
    if (/underpriced|fee too low/.test(text)) return 'underpriced';
    if (/nonce (is )?too low|nonce.*lower than/.test(text)) return 'overtaken';
    throw error;
  }
}

async function awaitReceipt(
  options: SenderOptions,
  hash: Hex,
  nonce: number,
  signal: AbortSignal | undefined,
): Promise<Outcome> {
  const { client, account, pollMs, devChain } = options;
  const pollsMax = Math.max(1, Math.ceil(options.receiptMsMax / pollMs));
  for (let poll = 0; poll < pollsMax; poll++) {
    throwIfCancelled(signal);
    const receipt = await receiptOf(client, hash);
    if (receipt) return receipt.status === 'success' ? { kind: 'mined', receipt } : { kind: 'overtaken' };
    // The nonce is used and yet there is no receipt: another transaction has it. Looked at before the receipt it could be our own.
    const used = await client.getTransactionCount({ address: account.address, blockTag: 'latest' });
    if (used > nonce && !(await receiptOf(client, hash))) return { kind: 'overtaken' };
    if (devChain && poll > 0 && poll % pollsBeforeMine === 0) {
      await client.request({ method: 'evm_mine' } as never);
    }
    await sleep(pollMs, undefined, signal ? { signal } : {}).catch(() => undefined);
  }
  throw late(options, 'it was not mined in time');
}

async function receiptOf(client: PublicClient, hash: Hex): Promise<TransactionReceipt | null> {
  try {
    return await client.getTransactionReceipt({ hash });
  } catch (error) {
    if (error instanceof TransactionReceiptNotFoundError) return null;
    throw error;
  }
}

function late(options: SenderOptions, why: string): AtollError {
  return new AtollError(
    'unavailable',
    `The chain at ${options.host} took a transaction, but ${why}. It is looked for again at the next try.`,
  );
}

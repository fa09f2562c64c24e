/**
 * The anchor port over any EVM chain: a RoundAnchor contract, an RPC URL and the key that owns the contract.
 *
 * Limits: a round counts as anchored once its transaction is mined; after a reorganisation `reconcile` repairs. One key belongs to one
 * coordinator: another sender on it costs retries. Shown and logged are the RPC's host only, since its URL may hold an API key.
 */
import {
  createPublicClient,
  encodeDeployData,
  encodeFunctionData,
  type Hex,
  http,
  type PublicClient,
  zeroHash,
} from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { roundAnchorAbi, roundAnchorBytecode } from '#contracts/abi/round-anchor.ts';
import { type Cid, digestOfCid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { ChainInfo } from '#protocol/http/api.ts';
import { toHex } from '#protocol/messages/hex.ts';
import { chainError, hostOf, isForeignContract, revertNameOf, throwIfCancelled } from './chain-errors.ts';
import { anchoredEvents } from './events.ts';
import type { Anchor, AnchoredRound, AnchorReceipt, ReconciledRound, RoundToAnchor } from './port.ts';
import { createSender, type Sender } from './sender.ts';
import { verifyJobOnChain } from './verify.ts';

/** A contract that was deployed earlier. */
export interface RecordedContract {
  contract: Hex;
  /** When given and not the chain's id, the record is of another chain and a new contract is deployed on this one. */
  chainId?: number;
  fromBlock?: number | undefined;
}

export interface EvmAnchorOptions {
  rpcUrl: string;
  /** What the page and auditors are told instead of `rpcUrl`; by default the URL itself if it is local, else its origin alone. */
  publicRpcUrl?: string;
  privateKey: Hex;
  /** The contract to go on with; none deploys one. Record `info()` afterwards and give it here at the next start. */
  recorded: RecordedContract | null;
  /** A development chain may lose its contract, which is then deployed anew, and may be asked to mine. */
  devChain?: boolean;
  /** How long a transaction may take. Default: 5 s on a development chain, else 3 min. */
  receiptMsMax?: number;
  pollMs?: number;
}

/** How often a round is looked at again when something else moved the contract meanwhile. */
const attemptsMax = 5;

interface Connection {
  client: PublicClient;
  sender: Sender;
  host: string;
}

/** Throws `unavailable` when the chain is away, `bad_config` when the contract or key is not usable, `cancelled`. */
export async function openEvmAnchor(options: EvmAnchorOptions, signal?: AbortSignal): Promise<Anchor> {
  const { rpcUrl, devChain = false } = options;
  const host = hostOf(rpcUrl);
  const client = createPublicClient({ transport: http(rpcUrl, { timeout: 10_000, retryCount: 2 }) });
  const sender = createSender({
    client,
    account: accountOf(options.privateKey),
    receiptMsMax: options.receiptMsMax ?? (devChain ? 5_000 : 180_000),
    pollMs: options.pollMs ?? (devChain ? 25 : 1_000),
    devChain,
    host,
  });
  const connection = { client, sender, host };
  try {
    throwIfCancelled(signal);
    const chainId = await client.getChainId();
    const contract = await useOrDeploy(connection, options, chainId, signal);
    return createAnchor(connection, { chainId, rpcUrl: publicUrlOf(options), ...contract });
  } catch (error) {
    throw chainError(error, host);
  }
}

function accountOf(privateKey: Hex) {
  try {
    return privateKeyToAccount(privateKey);
  } catch {
    throw new AtollError('bad_config', 'The anchor key is not a private key: give 0x and 64 hex digits.');
  }
}

function publicUrlOf({ rpcUrl, publicRpcUrl }: EvmAnchorOptions): string {
  if (publicRpcUrl !== undefined) return publicRpcUrl;
  const url = new URL(rpcUrl);
  return ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname) ? rpcUrl : url.origin;
}

type Deployment = Pick<ChainInfo, 'contract' | 'fromBlock'>;

async function useOrDeploy(
  connection: Connection,
  { recorded, devChain = false }: EvmAnchorOptions,
  chainId: number,
  signal: AbortSignal | undefined,
): Promise<Deployment> {
  if (recorded === null || (recorded.chainId ?? chainId) !== chainId) return deploy(connection, signal);
  const contract = recorded.contract.toLowerCase() as Hex;
  const owner = await ownerOf(connection, contract);
  if (owner === null) {
    if (devChain) return deploy(connection, signal);
    throw new AtollError(
      'bad_config',
      `There is no RoundAnchor at ${contract} on chain ${chainId} (${connection.host}). Check the address and the chain, or give no address to deploy one.`,
    );
  }
  if (owner !== connection.sender.address) {
    throw new AtollError(
      'bad_config',
      `RoundAnchor ${contract} belongs to ${owner}, and the given key is that of ${connection.sender.address}. Give the owner's key, or no address to deploy another contract.`,
    );
  }
  return { contract, ...(recorded.fromBlock === undefined ? {} : { fromBlock: recorded.fromBlock }) };
}

/** The owner of a RoundAnchor; null where there is none. */
async function ownerOf({ client }: Connection, contract: Hex): Promise<Hex | null> {
  if ((await client.getCode({ address: contract })) === undefined) return null;
  try {
    const read = { address: contract, abi: roundAnchorAbi } as const;
    await client.readContract({ ...read, functionName: 'tipOf', args: [zeroHash] });
    return (await client.readContract({ ...read, functionName: 'owner' })).toLowerCase() as Hex;
  } catch (error) {
    if (isForeignContract(error)) return null;
    throw error;
  }
}

async function deploy({ client, sender, host }: Connection, signal?: AbortSignal): Promise<Deployment> {
  const data = encodeDeployData({
    abi: roundAnchorAbi,
    bytecode: roundAnchorBytecode,
    args: [sender.address],
  });
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const gas = await client.estimateGas({ account: sender.address, data });
    const sent = await sender.send({ to: null, data, gas }, signal);
    if (sent.kind !== 'mined' || !sent.receipt.contractAddress) continue;
    return {
      contract: sent.receipt.contractAddress.toLowerCase() as Hex,
      fromBlock: Number(sent.receipt.blockNumber),
    };
  }
  throw new AtollError(
    'unavailable',
    `RoundAnchor could not be deployed on ${host}: its key is in use elsewhere.`,
  );
}

function createAnchor(connection: Connection, chain: ChainInfo): Anchor {
  const { client, host } = connection;
  const closing = new AbortController();
  let tail: Promise<unknown> = Promise.resolve();

  /** Anchors one round after another: the key's nonces allow no other way. */
  function inTurn(round: RoundToAnchor, signal?: AbortSignal): Promise<AnchorReceipt> {
    const either = signal ? AbortSignal.any([signal, closing.signal]) : closing.signal;
    const run = tail.then(() => anchorNext(connection, chain, round, either));
    tail = run.catch(() => undefined);
    return run.catch((error: unknown) => {
      throw chainError(error, host);
    });
  }

  async function rounds(job: Cid, signal?: AbortSignal): Promise<AnchoredRound[]> {
    const { contract, fromBlock = 0 } = chain;
    const abort = signal ? { signal } : {};
    const verdict = await verifyJobOnChain({ chain: client, contract, job, fromBlock, ...abort });
    if (verdict.kind === 'consistent') return verdict.rounds;
    if (verdict.kind === 'absent') return [];
    const reason = verdict.kind === 'broken' ? verdict.reason : 'the contract is gone';
    throw new AtollError('conflict', `The chain's record of the job is not whole: ${reason}.`, {
      details: { job, contract },
    });
  }

  async function reconcile(
    wanted: readonly RoundToAnchor[],
    signal?: AbortSignal,
  ): Promise<ReconciledRound[]> {
    const present = new Map<Cid, AnchoredRound[]>();
    for (const { job } of wanted) {
      if (!present.has(job)) present.set(job, await rounds(job, signal));
    }
    const done: ReconciledRound[] = [];
    for (const round of wanted.toSorted((a, b) => a.round - b.round)) {
      const found = present.get(round.job)?.[round.round - 1];
      const { tx, blockNumber } = found ? sameOrThrow(round, found) : await inTurn(round, signal);
      done.push({ job: round.job, round: round.round, tx, blockNumber, anchoredNow: !found });
    }
    return done;
  }

  return {
    info: () => chain,
    anchorRound: inTurn,
    reconcile,
    rounds,
    close: async () => {
      closing.abort();
      await tail;
    },
  };
}

async function anchorNext(
  connection: Connection,
  chain: ChainInfo,
  round: RoundToAnchor,
  signal: AbortSignal | undefined,
): Promise<AnchorReceipt> {
  if (round.root === zeroHash)
    throw new AtollError('bad_input', 'A round without a root has nothing to anchor.');
  const { client, sender, host } = connection;
  const job = toHex(digestOfCid(round.job));
  const args = [job, BigInt(round.round), round.root, toHex(digestOfCid(round.checkpoint))] as const;
  const target = { address: chain.contract, abi: roundAnchorAbi } as const;
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    throwIfCancelled(signal);
    const next = Number(await client.readContract({ ...target, functionName: 'nextRound', args: [job] }));
    if (round.round < next)
      return sameOrThrow(round, await findRound(connection, chain, job, round.round, signal));
    if (round.round > next) throw gap(round, next);
    const gas = await gasOrNull(() =>
      client.estimateContractGas({ ...target, functionName: 'anchor', args, account: sender.address }),
    );
    if (gas === null) continue;
    const data = encodeFunctionData({ abi: roundAnchorAbi, functionName: 'anchor', args });
    const sent = await sender.send({ to: chain.contract, data, gas }, signal);
    if (sent.kind === 'mined') {
      return { tx: sent.receipt.transactionHash, blockNumber: Number(sent.receipt.blockNumber) };
    }
  }
  throw new AtollError(
    'unavailable',
    `Round ${round.round} could not be anchored on ${host}: its key is in use elsewhere.`,
  );
}

/** Null when the round was anchored between the look and the estimate. */
async function gasOrNull(estimate: () => Promise<bigint>): Promise<bigint | null> {
  try {
    return await estimate();
  } catch (error) {
    const name = revertNameOf(error);
    if (name === 'RoundOutOfOrder') return null;
    if (name === 'OwnableUnauthorizedAccount') {
      throw new AtollError(
        'bad_config',
        'The anchor key no longer owns the contract. Give the key of its owner.',
      );
    }
    throw error;
  }
}

async function findRound(
  { client, host }: Connection,
  { contract, fromBlock = 0 }: ChainInfo,
  job: Hex,
  round: number,
  signal: AbortSignal | undefined,
): Promise<AnchoredRound> {
  const toBlock = await client.getBlockNumber({ cacheTime: 0 });
  const query = { contract, job, round, fromBlock: BigInt(fromBlock), toBlock, signal };
  const [event] = await anchoredEvents(client, query);
  if (event) return event;
  throw new AtollError(
    'unavailable',
    `The chain at ${host} has anchored round ${round} but does not show its event yet.`,
  );
}

function sameOrThrow(wanted: RoundToAnchor, found: AnchoredRound): AnchorReceipt {
  const checkpoint = toHex(digestOfCid(wanted.checkpoint));
  if (found.root === wanted.root && found.checkpoint === checkpoint) {
    return { tx: found.tx, blockNumber: found.blockNumber };
  }
  throw new AtollError(
    'conflict',
    `Round ${wanted.round} is anchored already, with another root or checkpoint.`,
    {
      details: { job: wanted.job, round: wanted.round, anchoredRoot: found.root, root: wanted.root },
    },
  );
}

function gap(round: RoundToAnchor, next: number): AtollError {
  return new AtollError(
    'conflict',
    `Round ${round.round} cannot be anchored before round ${next}: reconcile the earlier ones first.`,
    { details: { job: round.job, round: round.round, next } },
  );
}

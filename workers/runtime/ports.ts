/**
 * Everything the contributor runtime needs from outside, as ports: a shell (browser worker, Node) gives the real ones, a test gives its own.
 *
 * The runtime itself has no socket, timer, clock, randomness, device or key of its own.
 */
import type { Hex } from 'viem';
import type { Cid } from '#protocol/codec/cid.ts';
import type { AtollError } from '#protocol/errors.ts';
import type { SwarmAsker } from '#protocol/http/swarm.ts';
import type { Signer } from '#protocol/messages/contribution.ts';
import type { BlockStore, File } from '#protocol/messages/file.ts';
import type { DeviceInfo, FrameOf, FromContributor, Neighbour } from '#protocol/messages/frames.ts';
import type { Result, Workunit } from '#protocol/messages/workunit.ts';
import type { KeptReplica } from './kept-replica.ts';

/** One connection to the coordinator, carrying whole encoded frames. */
export interface Link {
  /** Frames as they arrive; ends when the link closes, whoever closed it. Read once. */
  readonly frames: AsyncIterable<Uint8Array>;
  /** Resolves when the transport can take more. Rejects once the link is closed. */
  send(bytes: Uint8Array): Promise<void>;
  /** Lets what was sent go out, then closes; resolves when closed. Never rejects. */
  close(): Promise<void>;
}

export interface Transport {
  /** Throws `unavailable` when the coordinator cannot be reached. */
  connect(signal: AbortSignal): Promise<Link>;
}

/** Where blocks that are not cached come from. What it returns is not trusted. */
export interface BlockSource {
  /** Throws `not_found`, `too_large` or `unavailable`. */
  fetch(cid: Cid, signal: AbortSignal): Promise<Uint8Array>;
}

/** The coordinator's gateway: it may be told who of which swarm asks. */
export interface OriginSource extends BlockSource {
  /**
   * Throws as a `BlockSource`; with an asker also `leased` (`details.retryMs`), while a neighbour in the swarm fetches the block.
   * `onPart` hears of bytes as they come.
   */
  fetch(cid: Cid, signal: AbortSignal, asker?: SwarmAsker, onPart?: () => void): Promise<Uint8Array>;
}

/** Blocks held here. A pinned block stays until it is unpinned as often as it was pinned. */
export interface BlockCache extends BlockStore {
  readonly sizeBytes: number;
  readonly pinnedBytes: number;
  readonly limitBytes: number;
  /** Whether the block is here, in memory or on disk, as far as can be told without reading it. */
  has(cid: Cid): boolean;
  /** The bytes if they are in memory. */
  peek(cid: Cid): Uint8Array | undefined;
  /** The verified bytes if they are here, in memory or on disk. A disk that fails has nothing. */
  find(cid: Cid): Promise<Uint8Array | undefined>;
  /** Keeps bytes that came from elsewhere. Throws `bad_block` unless they hash to `cid`. */
  add(cid: Cid, bytes: Uint8Array): Promise<void>;
  /** `put`, pinned from the first moment on. */
  putPinned(bytes: Uint8Array, code?: number): Promise<Cid>;
  unpin(cid: Cid): void;
  /** The verdict on an output was `agreed`: from now on it may outlive this session. Outputs that nobody has agreed to never do. */
  publish(cid: Cid): void;
  /** What is kept beyond this session; not there where nothing is. */
  readonly kept?: KeptBlocks;
  /** Forgets what is kept beyond this session. Throws `storage_failed`. */
  clear?(): Promise<void>;
}

/** What of the blocks outlives a session, as a person is shown it. Bytes. */
export interface KeptBlocks {
  heldBytes: number;
  limitBytes: number;
  /** Read from disk since the start, in place of a download. */
  readBytes: number;
  /** Why nothing is kept, in a full sentence; not there while blocks are. */
  why?: string;
}

export interface ExecuteOptions {
  /** Inputs come from here, outputs go there. */
  blocks: BlockStore;
  signal: AbortSignal;
  progress: (done: number, total: number) => void;
}

/** A device that is open. */
export interface ComputeDevice {
  readonly info: DeviceInfo;
  /** What computes and why nothing better does, in full sentences. */
  readonly why?: string;
  /** Program ids this device runs. */
  readonly programs: readonly string[];
  /** What `probe` must return for the device to be trusted with exact work. */
  readonly probeDigest: Hex;
  /** Resolves when the device goes away by itself. */
  readonly lost: Promise<AtollError>;
  probe(signal: AbortSignal): Promise<Hex>;
  execute(unit: Workunit, options: ExecuteOptions): Promise<Result>;
  close(): Promise<void>;
}

export interface Compute {
  /** Throws `no_device` with words that say what to do. */
  open(signal: AbortSignal): Promise<ComputeDevice>;
}

export interface Clock {
  /** Milliseconds from any fixed moment. */
  now(): number;
  /** Runs once after `ms`, unless the returned function is called first. */
  after(ms: number, run: () => void): () => void;
}

/** A replica from an earlier life, without its blocks. */
export interface KeptEntry {
  kept: KeptReplica;
  /** Its salt may have left: what it has put is public. */
  isRevealed: boolean;
}

/**
 * Where replicas are that are committed to and not settled, so that a process which dies can reveal them in its next life. Absent (a page) they die with the process:
 * the unit is then decided without this contributor, which loses the work and nothing else.
 */
export interface ReplicaStore {
  /** Throws `storage_failed` while nothing could be kept. */
  check(): Promise<void>;
  /** When it resolves the replica outlives anything but the disk. Throws `storage_failed`: then it must not be committed to. */
  keep(kept: KeptReplica, blocks: (cid: Cid) => Promise<Uint8Array>): Promise<void>;
  /** Called before the salt leaves. Throws `storage_failed`. */
  markRevealed(assignment: Hex): Promise<void>;
  /** It is settled, or was never committed to. No error when it is not there. Never rejects. */
  remove(assignment: Hex): Promise<void>;
  /** What earlier lives of this contributor have left, oldest first; what cannot be read is left out. Never rejects. */
  list(contributor: Hex): Promise<KeptEntry[]>;
  /** The blocks of one of them, as they lie there, in their order; ends early where they cannot be read. */
  blocks(assignment: Hex): AsyncIterable<Uint8Array>;
}

/** Which server is the one that was talked to before. */
export interface ServerPins {
  /** `address`: the key that has just been proven to be the server's; null for a server that says nothing of itself. Throws `wrong_server`. */
  check(network: Hex, address: Hex | null): Promise<void>;
}

/** Cryptographically strong bytes: salts come from here. */
export type RandomBytes = (count: number) => Uint8Array;

/** The shape of pino's methods. Never given keys, salts, tensors or addresses of peers. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What of a connection to the coordinator the exchange of blocks needs. */
export interface SwarmSession {
  readonly network: Hex;
  send(frame: FrameOf<FromContributor, 'announce' | 'swarm' | 'report'>): void;
}

/** The exchange of blocks between contributors, as a person is shown it. */
export interface SwarmView {
  state: 'off' | 'starting' | 'on';
  /** Why blocks come from the coordinator alone, in a full sentence. */
  why?: string;
  /** Peers by how they are reached, and those that could not be. */
  direct: number;
  relayed: number;
  failed: number;
  /** Blocks from peers, to peers, and from the coordinator. */
  peerBytes: number;
  servedBytes: number;
  originBytes: number;
}

/** The exchange of blocks between contributors. Optional: without it every block comes from `source`. */
export interface SwarmPort {
  connected(session: SwarmSession): void;
  disconnected(): void;
  /** Whom to exchange with from now on. */
  neighbours(peers: readonly Neighbour[]): void;
  /** A document is here: its files are fetched ahead of their use, and served. */
  files(root: Cid, files: readonly File[]): void;
  view(): SwarmView;
  /** Leaves the others; `connected` begins anew. */
  stop(): Promise<void>;
}

export interface RuntimePorts {
  transport: Transport;
  source: OriginSource;
  cache: BlockCache;
  compute: Compute;
  signer: Signer;
  clock: Clock;
  randomBytes: RandomBytes;
  log: Logger;
  swarm?: SwarmPort;
  /** Works as the coordinator's referee, or not at all: what others can decide by themselves is left to them. */
  referee?: boolean;
  /** Pending replicas are kept in memory only unless given. */
  replicas?: ReplicaStore;
  /** Any server is taken unless given. */
  pins?: ServerPins;
  /** Milliseconds since 1970 as this machine has it, to be compared with the coordinator's. */
  date?: () => number;
}

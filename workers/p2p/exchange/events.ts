/**
 * What goes into the exchange and what comes out: it has no clock, randomness, socket, hash or store of its own, so the same code runs in a page,
 * in Node and in a simulation of hundreds of peers.
 */
import type { Hex } from 'viem';
import type { Cid } from '#protocol/codec/cid.ts';
import type { ShardFrame } from '#protocol/p2p/frames.ts';

/** A list of blocks under one name. `sizes` in bytes, 0 where it is not known yet. */
export interface Manifest {
  readonly id: Cid;
  readonly blocks: readonly Cid[];
  readonly sizes: readonly number[];
}

/** A link, by the number its driver gave it. */
export type LinkId = number;

/** Why a peer is not spoken to any more. */
export type Offence =
  /** Bytes that do not hash to their CID. */
  | 'bad-block'
  /** More than it was asked for, or more requests or messages than anybody needs. */
  | 'flood'
  /** Nothing for `shardStallMsMax` while something was asked of it. */
  | 'stall'
  /** It said that it had blocks, and then that it had not. */
  | 'false-have'
  /** Frames that cannot be read or contradict what is known. */
  | 'bad-frame';

export type ExchangeEvent =
  | { t: 'link'; link: LinkId; contributor: Hex | null }
  | { t: 'unlink'; link: LinkId }
  | { t: 'frame'; link: LinkId; frame: ShardFrame }
  /** A frame that could not be decoded. */
  | { t: 'garbage'; link: LinkId }
  /** The link takes another part. */
  | { t: 'room'; link: LinkId }
  /** Fetch these blocks of the file, all unless told. Urgent: a unit waits for them. */
  | { t: 'want'; file: Manifest; indices?: readonly number[]; urgent?: boolean }
  /** They are not needed any more. */
  | { t: 'unwant'; cids: readonly Cid[] }
  /** These blocks are here and public, in files that are or become known: announce and serve them. */
  | { t: 'hold'; file: Manifest; indices?: readonly number[] }
  /** No longer here (the cache let them go), or no longer public. */
  | { t: 'gone'; cids: readonly Cid[] }
  /** Links are on their way: the origin waits so long for the first. */
  | { t: 'expect'; ms: number }
  /** Of the effect `check`. */
  | { t: 'checked'; download: number; ok: boolean }
  /** Of the effect `open`; `size` is null when the block is not there. */
  | { t: 'opened'; cid: Cid; size: number | null }
  /** Of the effect `origin`. `ok`: verified and kept. `busy`: leased to somebody else. */
  | { t: 'origin'; cid: Cid; outcome: 'ok'; size: number }
  | { t: 'origin'; cid: Cid; outcome: 'busy'; retryMs: number }
  | { t: 'origin'; cid: Cid; outcome: 'missing' | 'failed' }
  /** Of the effect `origin`, meanwhile: bytes of it came. */
  | { t: 'arriving'; cid: Cid }
  | { t: 'tick' };

export type Effect =
  | { t: 'send'; link: LinkId; frame: ShardFrame }
  /** Send this part of an opened block as a BLK frame, then say `room` as soon as the link takes more. */
  | {
      t: 'part';
      link: LinkId;
      cid: Cid;
      file: Cid;
      index: number;
      offset: number;
      length: number;
      size: number;
    }
  /** Have the block at hand until `close`; answer with `opened`. */
  | { t: 'open'; cid: Cid }
  | { t: 'close'; cid: Cid }
  /** A part of a download; `size` is of the whole block. */
  | { t: 'put'; download: number; offset: number; size: number; bytes: Uint8Array }
  /** All parts are there: hash them, keep the block if it is right, and answer with `checked`. */
  | { t: 'check'; download: number; cid: Cid }
  /** Forget the parts. */
  | { t: 'discard'; download: number }
  /** Get the block from the origin, verify and keep it; answer with `origin`. */
  | { t: 'origin'; cid: Cid }
  /** Neither the origin nor a peer has it; it is no longer wanted. */
  | { t: 'lost'; cid: Cid; outcome: 'missing' | 'failed' }
  /** End the link. `ban`: that contributor is refused for the rest of the session. */
  | { t: 'drop'; link: LinkId; ban: boolean; reason: Offence | 'banned' | 'replaced' }
  | { t: 'report'; contributor: Hex; reason: Offence; cid?: Cid };

/** Times in milliseconds, rates in bytes a second. */
export interface ExchangeOptions {
  /** Uniform in [0, 1). */
  random: () => number;
  upBytesPerSecond: number;
  downBytesPerSecond: number;
  /** Fetches from the origin at a time. */
  originsMax: number;
  /** A peer that was asked for an urgent block and is silent for so long is helped by another. */
  hedgeMs: number;
  /** Nothing came from any peer for so long: the origin may be asked for what peers say they have. The first for urgent blocks. */
  patienceUrgentMs: number;
  patienceMs: number;
  /** With so many neighbours a swarm is large, and what none of them has is probably with others. */
  crowdLinks: number;
  /** How long a new link may take to say what it has before the origin is asked. */
  answerMs: number;
  rechokeMs: number;
  optimisticMs: number;
  /** Uploads at a time: the least, and the most that a fast uplink gets. */
  slotsMin: number;
  slotsMax: number;
  /** What a peer gets before it must have given something: a newcomer's grace, and a leech's end. */
  graceBytes: number;
  /** Nobody who gives has wanted anything for so long: who only takes may have what is left. */
  leftoverMs: number;
  /** Answers of `unknown` to what a peer had announced before it counts as a liar. */
  falseHavesMax: number;
  /** Defences that a test or the simulation can switch off to see what they are for. */
  defences: Defences;
}

export interface Defences {
  bans: boolean;
  flood: boolean;
  stall: boolean;
  falseHave: boolean;
  titForTat: boolean;
  pendLimits: boolean;
}

export const defaultOptions: Omit<ExchangeOptions, 'random'> = {
  upBytesPerSecond: Infinity,
  downBytesPerSecond: Infinity,
  originsMax: 2,
  hedgeMs: 400,
  patienceUrgentMs: 1_500,
  patienceMs: 5_000,
  crowdLinks: 6,
  answerMs: 600,
  rechokeMs: 2_000,
  optimisticMs: 6_000,
  slotsMin: 2,
  slotsMax: 8,
  graceBytes: 1 << 20,
  leftoverMs: 10_000,
  falseHavesMax: 3,
  defences: { bans: true, flood: true, stall: true, falseHave: true, titForTat: true, pendLimits: true },
};

/** What was moved over one link, or over all together. Bytes. */
export interface Traffic {
  upBytes: number;
  downBytes: number;
  blocksDown: number;
  blocksRefused: number;
}

export interface PeerTraffic extends Traffic {
  link: LinkId;
  contributor: Hex | null;
  /** Whether it serves us now, and whether we serve it. */
  servesUs: boolean;
  isServed: boolean;
}

export interface ExchangeStats extends Traffic {
  originBytes: number;
  originBlocks: number;
  /** Blocks that are wanted and not here. */
  missing: number;
  peers: PeerTraffic[];
}

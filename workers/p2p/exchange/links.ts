/** What is known of one peer: what it has, what was asked of it, what it asked, and how it behaved. */
import type { Hex } from 'viem';
import type { Cid } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';
import type { LinkId } from './events.ts';
import type { Block, FileEntry } from './files.ts';
import { TokenBucket } from './token-bucket.ts';

/** What a peer is asked for at once before it has shown how fast it is. */
const windowBytesStart = 256 << 10;

/** A block on its way from one peer. */
export interface Download {
  readonly id: number;
  readonly link: Link;
  readonly block: Block;
  /** As the peer was asked for it. */
  readonly file: Cid;
  readonly index: number;
  /** Of the block; 0 until the file or the first part tells. Of the download and not the block, since a liar may tell it. */
  size: number;
  asked: number;
  received: number;
  startedAt: number;
  /** Of the last byte, or of the start. */
  progressAt: number;
}

/** What a peer asked for: a stretch of a block. */
export interface Upload {
  readonly block: Block;
  readonly file: Cid;
  readonly index: number;
  offset: number;
  end: number;
}

export interface Link {
  readonly id: LinkId;
  readonly contributor: Hex | null;
  readonly since: number;
  /** Its bitmaps, of files known here. */
  readonly has: Map<FileEntry, Uint8Array>;
  /** What it asked about and nobody here knew: it is told when that comes to be held. The latest last. */
  readonly asksAfter: Set<Cid>;
  /** Open blocks that it has. */
  useful: number;
  /** As it was told last. */
  toldNeed: boolean;
  /** It serves us not; we serve it not; it wants something of us. */
  chokesUs: boolean;
  isChoked: boolean;
  needsUs: boolean;
  readonly downloads: Download[];
  inFlight: number;
  /** How much may be on its way, and the requests that are, in order. */
  window: number;
  readonly asks: { bytes: number; at: number }[];
  /** Bytes that may still come for what was given up here. */
  strays: number;
  progressAt: number;
  readonly uploads: Upload[];
  queuedBytes: number;
  /** The block of which it was sent a part, while it is not whole. */
  sending: Block | null;
  hasRoom: boolean;
  /** Of the part that it has not taken yet. */
  partBytes: number;
  readonly frames: TokenBucket;
  /** What it fetches from the origin by its own word: since when, and until when that counts. */
  readonly pends: Map<Block, { since: number; until: number }>;
  brokenPends: number;
  falseHaves: number;
  gotBytes: number;
  gaveBytes: number;
  blocksDown: number;
  blocksRefused: number;
  /** Bytes a second lately, and bytes since they were last computed. */
  rateIn: number;
  rateOut: number;
  recentIn: number;
  recentOut: number;
  /** Given while it gave nothing that we wanted of it; and given in blocks that it has not announced since. */
  unrequited: number;
  readonly unannounced: Map<Block, { size: number; at: number }>;
  /** Of those that it has had long enough to hash and announce. */
  unannouncedBytes: number;
  /** A place among the served by lot, until then. */
  optimisticUntil: number;
}

export function makeLink(id: LinkId, contributor: Hex | null, now: number): Link {
  return {
    id,
    contributor,
    since: now,
    has: new Map(),
    asksAfter: new Set(),
    useful: 0,
    toldNeed: false,
    chokesUs: true,
    isChoked: true,
    needsUs: false,
    downloads: [],
    inFlight: 0,
    window: windowBytesStart,
    asks: [],
    strays: 0,
    progressAt: now,
    uploads: [],
    queuedBytes: 0,
    sending: null,
    hasRoom: true,
    partBytes: 0,
    frames: new TokenBucket(limits.shardFramesPerSecondMax, limits.shardFrameBurstMax, now),
    pends: new Map(),
    brokenPends: 0,
    falseHaves: 0,
    gotBytes: 0,
    gaveBytes: 0,
    blocksDown: 0,
    blocksRefused: 0,
    rateIn: 0,
    rateOut: 0,
    recentIn: 0,
    recentOut: 0,
    unrequited: 0,
    unannounced: new Map(),
    unannouncedBytes: 0,
    optimisticUntil: 0,
  };
}

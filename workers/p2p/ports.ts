/**
 * What carries blocks between contributors, as the exchange sees it: links to peers, and a transport that makes them.
 *
 * A link carries whole frames in order: the transport writes and reads their lengths (u32, little-endian, at most `limits.shardFrameBytesMax`), and
 * has already exchanged and verified the signed peer records (protocol/p2p/record.ts) before anybody sees the link. So the first frame that a
 * link delivers is the first one of the exchange. Implementations: `libp2p/` (WebRTC) and one in memory.
 */
import type { Hex } from 'viem';

/** How bytes reach a peer: straight to its address, or through a TURN server. */
export type LinkState = 'direct' | 'relayed';

export interface LinkHandlers {
  /** One whole frame, never empty; the bytes are the receiver's to keep or transfer. */
  frame(bytes: Uint8Array): void;
  /** After `send` said false: there is room again. */
  drain(): void;
  /** Once, whoever ended it; nothing is delivered afterwards. */
  close(reason: LinkEnd): void;
}

/** Why a link ended: by us, by the peer or the network, or because the peer broke the framing or its record was wrong. */
export type LinkEnd = 'local' | 'remote' | 'fault';

export interface Link {
  /** The libp2p peer id, as text. */
  readonly peer: string;
  /** The contributor whose signed record names this peer id; null only where a transport has no records (in memory). */
  readonly contributor: Hex | null;
  readonly state: LinkState;
  /** Which side dialled: breaks ties where two peers dial each other at once. */
  readonly direction: 'outbound' | 'inbound';
  /** Once, and soon: frames that came before are kept until then and delivered in order (never within this call). */
  listen(handlers: LinkHandlers): void;
  /** Takes the frame always; false asks to wait for `drain` before the next. The bytes must not be changed afterwards. Nothing happens on a closed link. */
  send(frame: Uint8Array): boolean;
  /** No frames are delivered until `resume`. A peer that goes on sending meanwhile (over some MiB) is cut off, since WebRTC cannot hold it back. */
  pause(): void;
  resume(): void;
  /** Does not wait for what is still to be sent. */
  close(): void;
}

/** Where a peer is to be found. */
export interface PeerAddress {
  readonly peer: string;
  /** Multiaddrs; none means by way of the relay that this side uses itself. */
  readonly addresses: readonly string[];
}

/** One connection per peer and one link on it: a second dial to the same peer gives the same link. */
export interface PeerTransport {
  /** The own peer id. */
  readonly peer: string;
  /** Where others find this peer, to be announced; none before `start` or while the relay is away. */
  readonly addresses: readonly string[];
  /** Called for every new link, dialled or accepted, before any of its frames are lost; set before `start`. */
  onLink(listener: (link: Link) => void): void;
  /** Resolves when others can dial. Throws `unavailable`, `cancelled`. */
  start(signal?: AbortSignal): Promise<void>;
  /** Throws `unavailable` (could not be reached within the tries), `bad_signature` (another peer's record), `rate_limited` (no connections left in the budget), `cancelled`. */
  dial(target: PeerAddress, signal?: AbortSignal): Promise<Link>;
  stop(): Promise<void>;
}

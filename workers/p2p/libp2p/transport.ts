/**
 * Links between contributors over WebRTC. Who dials asks the relay to carry the signalling; the blocks never pass through it.
 *
 * A link is handed out once both sides have shown a signed record of the peer id that the connection itself has proved. There is one a peer: where two
 * dial each other at once, the connection that the smaller peer id dialled stays.
 */
import type { Connection, PrivateKey, Stream } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import type { webRTC } from '@libp2p/webrtc';
import { multiaddr } from '@multiformats/multiaddr';
import type { Hex } from 'viem';
import { AtollError, codeOf } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { Signer } from '#protocol/messages/contribution.ts';
import {
  decodePeerRecord,
  encodePeerRecord,
  type SignedPeerRecord,
  signPeerRecord,
  verifyPeerRecord,
} from '#protocol/p2p/record.ts';
import type { Clock } from '../../runtime/ports.ts';
import { sleep } from '../../runtime/timing.ts';
import type { Link, PeerAddress, PeerTransport } from '../ports.ts';
import { StreamLink } from './link.ts';
import { createNode, type P2pNode } from './node.ts';
import type { Reach } from './reach.ts';
import { stayAtRelay } from './relay-client.ts';
import { isRelayed } from './selected-pair.ts';

export const shardProtocol = '/atoll/shard/1.0.0';

export interface TransportOptions {
  privateKey: PrivateKey;
  webRtc: typeof webRTC;
  signer: Signer;
  network: Hex;
  /** Where the relay is and which ICE servers there are. */
  reach: Reach;
  clock: Clock;
  /** Milliseconds since 1970. */
  date: () => number;
  /** Between 0 and 1. */
  random: () => number;
  /** Contributors that are not talked to. */
  isBanned?: (contributor: Hex) => boolean;
  /** How long the other side may take to say who it is. */
  helloMsMax?: number;
}

const retryMs = 150;

export class Libp2pTransport implements PeerTransport {
  readonly peer: string;
  /** Dials that were asked for, and tries that they took. */
  readonly counts = { dials: 0, tries: 0 };
  readonly #options: TransportOptions;
  readonly #helloMsMax: number;
  readonly #links = new Map<string, StreamLink>();
  readonly #dials = new Map<string, Promise<Link>>();
  readonly #stopped = new AbortController();
  #node: P2pNode | null = null;
  #relay: string | null = null;
  #onLink: (link: Link) => void = () => undefined;
  #record: SignedPeerRecord | null = null;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#helloMsMax = options.helloMsMax ?? limits.peerHelloMsMax;
    this.peer = peerIdFromPrivateKey(options.privateKey).toString();
  }

  get addresses(): readonly string[] {
    return this.#relay === null ? [] : [`${this.#relay}/p2p-circuit/webrtc/p2p/${this.peer}`];
  }

  /** The links that are open now. */
  get links(): readonly Link[] {
    return [...this.#links.values()];
  }

  onLink(listener: (link: Link) => void): void {
    this.#onLink = listener;
  }

  /** The signed record of this peer, to be announced; made anew before it ends. */
  async record(): Promise<SignedPeerRecord> {
    const { signer, network, date } = this.#options;
    if (!this.#record || this.#record.expires - date() < limits.peerRecordMsMax / 4) {
      this.#record = await signPeerRecord(signer, network, this.peer, date() + limits.peerRecordMsMax / 2);
    }
    return this.#record;
  }

  /** Aborted once the transport was stopped. */
  get ended(): AbortSignal {
    return this.#stopped.signal;
  }

  async start(signal: AbortSignal = this.#stopped.signal): Promise<void> {
    try {
      await this.#open(signal);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async #open(signal: AbortSignal): Promise<void> {
    const { reach, clock, random } = this.#options;
    signal.throwIfAborted();
    await reach.current(signal);
    const node = await createNode({ ...this.#options, rtcConfiguration: () => reach.rtcConfiguration() });
    this.#node = node;
    await node.handle(
      shardProtocol,
      (stream, connection) => void this.#greet(connection, stream, 'inbound').catch(() => undefined),
      { maxInboundStreams: 1, maxOutboundStreams: 1 },
    );
    node.addEventListener('connection:open', ({ detail }) => this.#expectStream(detail));
    await node.start();
    const { promise, resolve } = Promise.withResolvers<void>();
    const onChange = (address: string | null) => {
      this.#relay = address;
      if (address !== null) resolve();
    };
    const find = (until: AbortSignal) => reach.relay(until);
    void stayAtRelay({ node, clock, random, find, onChange }, this.#stopped.signal);
    await this.#orAborted(promise, signal);
  }

  async #orAborted(ready: Promise<void>, signal: AbortSignal): Promise<void> {
    const { promise, reject } = Promise.withResolvers<never>();
    const fail = () => reject(new AtollError('cancelled', 'The start was cancelled.'));
    signal.addEventListener('abort', fail, { once: true });
    this.#stopped.signal.addEventListener('abort', fail, { once: true });
    if (signal.aborted) fail();
    try {
      await Promise.race([ready, promise]);
    } finally {
      signal.removeEventListener('abort', fail);
      this.#stopped.signal.removeEventListener('abort', fail);
    }
  }

  async dial(target: PeerAddress, signal: AbortSignal = this.#stopped.signal): Promise<Link> {
    const open = this.#links.get(target.peer);
    if (open) return open;
    const running = this.#dials.get(target.peer);
    if (running) return running;
    const dial = this.#tries(target, AbortSignal.any([signal, this.#stopped.signal])).finally(() =>
      this.#dials.delete(target.peer),
    );
    this.#dials.set(target.peer, dial);
    return dial;
  }

  async stop(): Promise<void> {
    this.#stopped.abort(new AtollError('cancelled', 'The transport was stopped.'));
    for (const link of this.#links.values()) link.close();
    this.#relay = null;
    await this.#node?.stop();
    this.#node = null;
  }

  async #tries(target: PeerAddress, signal: AbortSignal): Promise<Link> {
    if (target.peer === this.peer) throw new AtollError('bad_request', 'A peer does not dial itself.');
    this.counts.dials++;
    for (let left = limits.peerDialTriesMax - 1; ; left--) {
      this.counts.tries++;
      try {
        return await this.#try(target, signal);
      } catch (error) {
        // Both may have dialled, and the other side kept its own.
        const other = this.#links.get(target.peer);
        if (other) return other;
        if (signal.aborted) throw new AtollError('cancelled', 'The dial was cancelled.', { cause: error });
        const code = codeOf(error);
        if (code === 'bad_signature' || code === 'rate_limited') throw error;
        if (left <= 0) {
          throw new AtollError('unavailable', 'The peer could not be reached.', { cause: error });
        }
      }
      await sleep(this.#options.clock, retryMs, signal).catch(() => undefined);
      const other = this.#links.get(target.peer);
      if (other) return other;
    }
  }

  async #try({ peer, addresses }: PeerAddress, stop: AbortSignal): Promise<Link> {
    const node = this.#node;
    if (!node) throw new AtollError('unavailable', 'The transport is not started.');
    if (this.#links.size >= limits.peerLinksMax)
      throw new AtollError('rate_limited', 'Enough links are open.');
    const known = addresses.length > 0 ? addresses : this.#throughOwnRelay(peer);
    const targets = known.map((address) => multiaddr(address));
    if (
      targets.some((target) => target.getComponents().findLast(({ name }) => name === 'p2p')?.value !== peer)
    ) {
      throw new AtollError('bad_request', 'An address is of another peer.');
    }
    const signal = AbortSignal.any([stop, AbortSignal.timeout(limits.peerDialMsMax)]);
    const connection = await node.dial(targets, { signal });
    const stream = await connection.newStream(shardProtocol, { signal }).catch((error: Error) => {
      connection.abort(error);
      throw error;
    });
    const link = await this.#greet(connection, stream, 'outbound');
    for (const other of node.getConnections(connection.remotePeer)) {
      if (other.limits) other.close().catch(() => undefined);
    }
    return link;
  }

  #throughOwnRelay(peer: string): string[] {
    if (this.#relay === null) throw new AtollError('unavailable', 'The relay is away.');
    return [`${this.#relay}/p2p-circuit/webrtc/p2p/${peer}`];
  }

  /** A connection on which nobody says who he is does not stay. */
  #expectStream(connection: Connection): void {
    if (connection.limits || connection.direction === 'outbound') return;
    const cancel = this.#options.clock.after(this.#helloMsMax, () => {
      const isLinked = this.#links.has(connection.remotePeer.toString());
      const isGreeting = connection.streams.some((stream) => stream.protocol === shardProtocol);
      if (!isLinked && !isGreeting) connection.abort(new AtollError('cancelled', 'Nobody spoke.'));
    });
    connection.addEventListener('close', cancel, { once: true });
  }

  /** Exchanges records. Throws `bad_signature`, `unavailable`, `bad_frame`, `too_large`, `rate_limited`; the connection is closed then. */
  async #greet(
    connection: Connection,
    stream: Stream,
    direction: 'outbound' | 'inbound',
  ): Promise<StreamLink> {
    const { clock, network, date, isBanned } = this.#options;
    const link = new StreamLink({ connection, stream, direction, now: () => clock.now() });
    try {
      if (this.#links.size >= limits.peerLinksMax) {
        throw new AtollError('rate_limited', 'Enough links are open.');
      }
      const signal = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(this.#helloMsMax)]);
      const own = encodePeerRecord(await this.record());
      const record = decodePeerRecord(await link.exchangeRecords(own, signal));
      link.contributor = await verifyPeerRecord(record, { network, peer: link.peer, now: date() });
      if (isBanned?.(link.contributor)) throw new AtollError('bad_signature', 'This peer is not talked to.');
      link.state = (await isRelayed(connection)) ? 'relayed' : 'direct';
    } catch (error) {
      link.fail();
      throw error;
    }
    return this.#keep(link, connection);
  }

  #keep(link: StreamLink, connection: Connection): StreamLink {
    const other = this.#links.get(link.peer);
    if (other?.isOpen && this.#isPreferred(other) && !this.#isPreferred(link)) {
      link.close();
      return other;
    }
    if (!link.isOpen) throw new AtollError('unavailable', 'The peer is gone.');
    this.#links.set(link.peer, link);
    other?.close();
    connection.addEventListener('close', () => this.#forget(link), { once: true });
    this.#onLink(link);
    return link;
  }

  #forget(link: StreamLink): void {
    if (this.#links.get(link.peer) === link) this.#links.delete(link.peer);
  }

  #isPreferred({ direction, peer }: StreamLink): boolean {
    return (direction === 'outbound') === this.peer < peer;
  }
}

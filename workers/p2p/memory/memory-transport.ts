/**
 * A transport within one process: links with latency, an uplink per peer, room that runs out, and failures on demand. It stands for WebRTC in tests, and
 * passes the same compliance suite. Its time is the clock it is given, so a test's clock makes it exact.
 */
import type { Hex } from 'viem';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { Clock } from '../../runtime/ports.ts';
import type { Link, LinkEnd, LinkHandlers, PeerAddress, PeerTransport } from '../ports.ts';

export interface MemoryNetworkOptions {
  latencyMs?: number;
  /** Of each peer's uplink; no limit unless given. */
  bytesPerSecond?: number;
  /** Bytes on their way beyond which `send` says false. */
  bufferBytes?: number;
  /** Bytes that wait for a link that is paused beyond which it is cut. */
  pausedBytesMax?: number;
}

export interface MemoryPeerOptions {
  contributor?: Hex;
  bytesPerSecond?: number;
}

interface Settings extends Required<MemoryNetworkOptions> {
  clock: Clock;
}

export class MemoryNetwork {
  readonly #settings: Settings;
  readonly #peers = new Map<string, MemoryTransport>();
  #count = 0;

  constructor(clock: Clock, options: MemoryNetworkOptions = {}) {
    this.#settings = {
      clock,
      latencyMs: 1,
      bytesPerSecond: Infinity,
      bufferBytes: 256 << 10,
      pausedBytesMax: 4 << 20,
      ...options,
    };
  }

  /** A peer that is not started yet. */
  join({
    contributor,
    bytesPerSecond = this.#settings.bytesPerSecond,
  }: MemoryPeerOptions = {}): MemoryTransport {
    const peer = `memory-${this.#count++}`;
    const uplink = { bytesPerSecond, freeAt: 0 };
    const transport = new MemoryTransport(peer, contributor ?? null, this.#settings, uplink, this.#peers);
    return transport;
  }
}

interface Uplink {
  bytesPerSecond: number;
  freeAt: number;
}

export class MemoryTransport implements PeerTransport {
  readonly peer: string;
  readonly contributor: Hex | null;
  readonly links = new Map<string, MemoryLink>();
  readonly #settings: Settings;
  readonly #uplink: Uplink;
  readonly #network: Map<string, MemoryTransport>;
  #listener: (link: Link) => void = () => {};

  constructor(
    peer: string,
    contributor: Hex | null,
    settings: Settings,
    uplink: Uplink,
    network: Map<string, MemoryTransport>,
  ) {
    this.peer = peer;
    this.contributor = contributor;
    this.#settings = settings;
    this.#uplink = uplink;
    this.#network = network;
  }

  get addresses(): readonly string[] {
    return this.#network.has(this.peer) ? [`/memory/${this.peer}`] : [];
  }

  onLink(listener: (link: Link) => void): void {
    this.#listener = listener;
  }

  async start(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.#network.set(this.peer, this);
  }

  async dial(target: PeerAddress, signal?: AbortSignal): Promise<Link> {
    if (signal?.aborted)
      throw new AtollError('cancelled', 'The dial was cancelled.', { cause: signal.reason });
    const known = this.links.get(target.peer);
    if (known) return known;
    await new Promise<void>((resolve) => this.#settings.clock.after(2 * this.#settings.latencyMs, resolve));
    if (signal?.aborted)
      throw new AtollError('cancelled', 'The dial was cancelled.', { cause: signal.reason });
    const other = this.#network.get(target.peer);
    if (!other || !this.#network.has(this.peer))
      throw new AtollError('unavailable', 'The peer is not there.');
    return this.links.get(target.peer) ?? this.#connect(other);
  }

  #connect(other: MemoryTransport): Link {
    const here = new MemoryLink(this, other, 'outbound', this.#settings, this.#uplink);
    const there = new MemoryLink(other, this, 'inbound', this.#settings, other.#uplink);
    here.other = there;
    there.other = here;
    this.links.set(other.peer, here);
    other.links.set(this.peer, there);
    this.#listener(here);
    other.#listener(there);
    return here;
  }

  async stop(): Promise<void> {
    this.#network.delete(this.peer);
    for (const link of [...this.links.values()]) link.close();
  }

  /** For tests: all links stop carrying anything, without a word, as when a machine loses its network. */
  freeze(): void {
    for (const link of this.links.values()) link.isFrozen = true;
  }

  /** For tests: the link to that peer breaks, and both sides see it. */
  cut(peer: string): void {
    const link = this.links.get(peer);
    if (!link) return;
    link.end('remote');
    link.other.end('remote');
  }
}

export class MemoryLink implements Link {
  readonly peer: string;
  readonly contributor: Hex | null;
  readonly state = 'direct' as const;
  readonly direction: 'outbound' | 'inbound';
  other!: MemoryLink;
  isFrozen = false;
  readonly #from: MemoryTransport;
  readonly #settings: Settings;
  readonly #uplink: Uplink;
  #handlers: LinkHandlers | null = null;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #isPaused = false;
  #isDelivering = false;
  #sentBytes = 0;
  #wasRefused = false;
  #ended: LinkEnd | null = null;
  #isTold = false;

  constructor(
    from: MemoryTransport,
    to: MemoryTransport,
    direction: 'outbound' | 'inbound',
    settings: Settings,
    uplink: Uplink,
  ) {
    this.#from = from;
    this.peer = to.peer;
    this.contributor = to.contributor;
    this.direction = direction;
    this.#settings = settings;
    this.#uplink = uplink;
  }

  listen(handlers: LinkHandlers): void {
    this.#handlers = handlers;
    this.#settings.clock.after(0, () => this.#deliver());
  }

  send(frame: Uint8Array): boolean {
    if (this.#ended) return false;
    if (frame.byteLength === 0 || frame.byteLength > limits.shardFrameBytesMax) {
      throw new AtollError('too_large', `A frame has 1 to ${limits.shardFrameBytesMax} bytes.`);
    }
    const { clock, latencyMs, bufferBytes } = this.#settings;
    const uplink = this.#uplink;
    const now = clock.now();
    uplink.freeAt = Math.max(now, uplink.freeAt) + (1000 * frame.byteLength) / uplink.bytesPerSecond;
    this.#sentBytes += frame.byteLength;
    clock.after(uplink.freeAt - now, () => this.#left(frame.byteLength));
    // A copy, as a network makes one: the receiver's bytes are its own.
    const copy = frame.slice();
    clock.after(uplink.freeAt - now + latencyMs, () => {
      if (!this.isFrozen && !this.other.isFrozen) this.other.#arrive(copy);
    });
    const isFull = this.#sentBytes > bufferBytes;
    this.#wasRefused ||= isFull;
    return !isFull;
  }

  #left(count: number): void {
    this.#sentBytes -= count;
    if (!this.#wasRefused || this.#sentBytes > this.#settings.bufferBytes / 2 || this.#ended) return;
    this.#wasRefused = false;
    this.#handlers?.drain();
  }

  #arrive(frame: Uint8Array): void {
    if (this.#ended) return;
    this.#waiting.push(frame);
    this.#waitingBytes += frame.byteLength;
    if (this.#isPaused && this.#waitingBytes > this.#settings.pausedBytesMax) {
      this.end('fault');
      return this.other.end('remote');
    }
    this.#deliver();
  }

  #deliver(): void {
    if (this.#isDelivering || !this.#handlers) return;
    this.#isDelivering = true;
    while (this.#waiting.length > 0 && !this.#isPaused && this.#ended !== 'local') {
      const frame = this.#waiting.shift() as Uint8Array;
      this.#waitingBytes -= frame.byteLength;
      this.#handlers.frame(frame);
    }
    this.#isDelivering = false;
    this.#tellEnd();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#settings.clock.after(0, () => this.#deliver());
  }

  close(): void {
    this.end('local');
    const { clock, latencyMs } = this.#settings;
    clock.after(latencyMs, () => this.other.end('remote'));
  }

  end(reason: LinkEnd): void {
    if (this.#ended) return;
    this.#ended = reason;
    this.#from.links.delete(this.peer);
    if (!this.#isDelivering) this.#tellEnd();
  }

  #tellEnd(): void {
    if (!this.#ended || !this.#handlers || this.#isTold) return;
    this.#isTold = true;
    this.#waiting = [];
    this.#handlers.close(this.#ended);
  }
}

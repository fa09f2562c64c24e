/**
 * The peers of a simulated swarm: those that run the real exchange (honest ones, and leeches, which run it with its hands tied), and scripted liars.
 */
import type { Hex } from 'viem';
import type { Cid } from '#protocol/codec/cid.ts';
import type { ShardFrame } from '#protocol/p2p/frames.ts';
import type {
  Effect,
  ExchangeEvent,
  ExchangeOptions,
  Manifest,
  Offence,
} from '#workers/p2p/exchange/events.ts';
import { Exchange } from '#workers/p2p/exchange/exchange.ts';
import type { Timeline } from '../time.ts';
import type { NetLink, Network, NetPeer } from './network.ts';

export type Kind = 'honest' | 'slow' | 'leech' | 'hider' | 'corrupter' | 'boaster';

/** What a peer asks of what is around it. */
export interface World {
  time: Timeline;
  network: Network;
  file: Manifest;
  /** Asks the origin for a block. */
  origin(peer: SimPeer, cid: Cid): void;
  finished(peer: SimPeer): void;
  reported(by: SimPeer, about: Hex, reason: Offence): void;
  dropped(by: SimPeer, about: SimPeer): void;
}

export interface PeerShape {
  index: number;
  kind: Kind;
  contributor: Hex;
  up: number;
  down: number;
  latencyMs: number;
}

/** Contents that do not matter: right ones and wrong ones, told apart by which they are. */
const rightBytes = new Uint8Array(64 << 10);
const wrongBytes = new Uint8Array(64 << 10);
const isWrong = (bytes: Uint8Array) => bytes.buffer === wrongBytes.buffer;
/** Of hashing a block and putting it away. */
const checkMs = 3;

export abstract class SimPeer implements NetPeer {
  readonly index: number;
  readonly kind: Kind;
  readonly contributor: Hex;
  readonly up: number;
  readonly down: number;
  readonly latencyMs: number;
  isGone = false;
  joinedMs = 0;
  /** When it had everything. */
  doneMs = Infinity;
  readonly links = new Map<number, NetLink>();
  protected readonly world: World;

  constructor(shape: PeerShape, world: World) {
    this.index = shape.index;
    this.kind = shape.kind;
    this.contributor = shape.contributor;
    this.up = shape.up;
    this.down = shape.down;
    this.latencyMs = shape.latencyMs;
    this.world = world;
  }

  get name(): string {
    return `peer-${this.index}`;
  }

  abstract receive(link: NetLink, frame: ShardFrame): void;
  abstract room(link: NetLink): void;
  abstract start(): void;

  linked(link: NetLink): void {
    this.links.set(link.id, link);
  }

  unlinked(link: NetLink): void {
    this.links.delete(link.id);
  }

  protected send(link: NetLink, frame: ShardFrame): boolean {
    return this.world.network.send(link, frame);
  }
}

/** Runs the real exchange. */
export class ExchangePeer extends SimPeer {
  readonly exchange: Exchange;
  #wakeAt = Infinity;
  #queue: ExchangeEvent[] = [];
  #isRunning = false;
  readonly #wrong = new Set<number>();
  readonly #full = new Set<number>();

  constructor(shape: PeerShape, world: World, options: ExchangeOptions) {
    super(shape, world);
    this.exchange = new Exchange(options, world.time.now);
  }

  start(): void {
    const { file } = this.world;
    this.feed({ t: 'expect', ms: 1_500 });
    this.feed({ t: 'want', file });
  }

  override linked(link: NetLink): void {
    super.linked(link);
    this.feed({ t: 'link', link: link.id, contributor: (link.to as SimPeer).contributor });
  }

  override unlinked(link: NetLink): void {
    super.unlinked(link);
    this.#full.delete(link.id);
    this.feed({ t: 'unlink', link: link.id });
  }

  receive(link: NetLink, frame: ShardFrame): void {
    this.feed({ t: 'frame', link: link.id, frame });
  }

  room(link: NetLink): void {
    if (this.#full.delete(link.id)) this.feed({ t: 'room', link: link.id });
  }

  feed(event: ExchangeEvent): void {
    if (this.isGone) return;
    this.#queue.push(event);
    if (this.#isRunning) return;
    this.#isRunning = true;
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      for (const effect of this.exchange.handle(this.world.time.now, next)) this.#run(effect);
    }
    this.#isRunning = false;
    this.#arm();
  }

  #arm(): void {
    const at = this.exchange.wakeAt;
    if (at >= this.#wakeAt || at === Infinity) return;
    this.#wakeAt = at;
    this.world.time.after(at - this.world.time.now, () => {
      // An earlier alarm was set since, and has run.
      if (this.#wakeAt !== at) return;
      this.#wakeAt = Infinity;
      this.feed({ t: 'tick' });
    });
  }

  #run(effect: Effect): void {
    switch (effect.t) {
      case 'send':
        return this.#send(effect.link, effect.frame);
      case 'part':
        return this.#part(effect);
      case 'put':
        if (isWrong(effect.bytes)) this.#wrong.add(effect.download);
        return;
      case 'check':
        return this.#check(effect.download);
      case 'open':
        return this.feed({ t: 'opened', cid: effect.cid, size: this.#sizeOf(effect.cid) });
      case 'origin':
        return this.world.origin(this, effect.cid);
      case 'drop':
        return this.#drop(effect.link);
      case 'report':
        return this.world.reported(this, effect.contributor, effect.reason);
      default:
    }
  }

  #sizeOf(cid: Cid): number {
    const { blocks, sizes } = this.world.file;
    return sizes[blocks.indexOf(cid)] as number;
  }

  #send(id: number, frame: ShardFrame): void {
    const link = this.links.get(id);
    // A leech runs the same program but lets nobody have anything; one that hides says that it has nothing, too.
    const isTaker = this.kind === 'leech' || this.kind === 'hider';
    if (!link || (isTaker && frame.t === 'unchoke')) return;
    if (this.kind === 'hider' && frame.t === 'have') return;
    if (this.send(link, frame) && this.#full.delete(id)) this.feed({ t: 'room', link: id });
  }

  #part({ link, file, index, offset, size, length }: Extract<Effect, { t: 'part' }>): void {
    this.#full.add(link);
    this.#send(link, { t: 'blk', file, index, offset, size, bytes: rightBytes.subarray(0, length) });
  }

  #check(download: number): void {
    const ok = !this.#wrong.delete(download);
    this.world.time.after(checkMs, () => {
      this.feed({ t: 'checked', download, ok });
      this.#look();
    });
  }

  #look(): void {
    if (this.doneMs < Infinity || this.exchange.missing > 0) return;
    this.doneMs = this.world.time.now;
    this.world.finished(this);
  }

  /** The answer of the origin. */
  answered(event: Extract<ExchangeEvent, { t: 'origin' }>): void {
    this.feed(event);
    if (event.outcome === 'ok') this.#look();
  }

  #drop(id: number): void {
    const link = this.links.get(id);
    if (!link) return;
    this.world.dropped(this, link.to as SimPeer);
    this.world.network.close(link, link.from.latencyMs + link.to.latencyMs);
  }
}

/** Says that it has everything. One kind sends garbage when it is asked, the other has nothing after all. */
export class LiarPeer extends SimPeer {
  start(): void {}

  override linked(link: NetLink): void {
    super.linked(link);
    const { id, blocks } = this.world.file;
    const count = blocks.length;
    const bits = new Uint8Array(Math.ceil(count / 8)).fill(255);
    if (count % 8 !== 0) bits[bits.length - 1] = (1 << (count % 8)) - 1;
    this.send(link, { t: 'bits', file: id, ask: true, count, bits });
    this.send(link, { t: 'unchoke' });
  }

  receive(link: NetLink, frame: ShardFrame): void {
    if (frame.t !== 'req') return;
    const { file, index, offset, length } = frame;
    if (this.kind === 'boaster') {
      this.send(link, { t: 'no', file, index, reason: 'unknown' });
      return;
    }
    const size = this.world.file.sizes[index] as number;
    for (let at = offset; at < offset + length; at += 52_000) {
      const bytes = wrongBytes.subarray(0, Math.min(52_000, offset + length - at));
      this.send(link, { t: 'blk', file, index, offset: at, size, bytes });
    }
  }

  room(): void {}
}

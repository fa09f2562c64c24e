/**
 * A contributor's part in the exchange of blocks: opens the transport once the network is known, announces itself, dials the neighbours that the coordinator
 * names, says what it holds and wants, and is the runtime's source of blocks (cache, then peers, then the coordinator).
 *
 * Nothing waits for it: while there is no transport, or none can be had, the same source asks the coordinator alone. Outputs are withheld from the moment they
 * exist and served once their verdict is `agreed` (the cache is told, and this is the cache that is told).
 */
import type { Hex } from 'viem';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError, codeOf, toProblem } from '#protocol/errors.ts';
import type { SwarmAsker } from '#protocol/http/swarm.ts';
import type { File } from '#protocol/messages/file.ts';
import type { Neighbour, PeerFault } from '#protocol/messages/frames.ts';
import { limits } from '#protocol/limits.ts';
import type { SignedPeerRecord } from '#protocol/p2p/record.ts';
import type {
  BlockCache,
  BlockSource,
  Clock,
  Logger,
  OriginSource,
  RuntimePorts,
  SwarmPort,
  SwarmSession,
  SwarmView,
} from '../runtime/ports.ts';
import type { ExchangeOptions, Manifest, Offence } from './exchange/events.ts';
import { manifestOfFiles } from './exchange/manifest.ts';
import { ExchangedCache } from './exchanged-cache.ts';
import type { Link, PeerTransport } from './ports.ts';
import { type ExchangePorts, ShardExchange } from './shard-exchange.ts';

export interface MemberTransport extends PeerTransport {
  /** To be announced; another one when the last is about to end. */
  record(): Promise<SignedPeerRecord>;
}

export interface MemberPorts {
  /** Throws `unavailable` with words for a person. */
  open: (network: Hex) => Promise<MemberTransport>;
  cache: BlockCache;
  /** The coordinator's gateway. */
  origin: OriginSource;
  clock: Clock;
  /** Uniform in [0, 1). */
  random: () => number;
  log: Logger;
  /** What `view` says has changed. */
  changed?: () => void;
  caps?: Caps;
}

/** What goes to other contributors and comes from them at most, in bytes a second; no cap unless given. */
export type Caps = Partial<Pick<ExchangeOptions, 'upBytesPerSecond' | 'downBytesPerSecond'>>;

/** Between looks at record, addresses and links, and between `swarm` frames. */
const tickMs = 1_000;
/** A peer that is no neighbour any more keeps its link for so long: both sides may hear of it at other times. */
const partMs = 5_000;
const expectMs = 800;
/**
 * So long a block may be lent to another peer before it is asked for all the same: that peer may be nobody's neighbour here. What is small is not worth the
 * longer wait, which a slow peer may need.
 */
const leasedMsMax = 4_000;
const leasedMsMaxSmall = 600;
const smallBytes = 64 << 10;
const rootsMax = limits.swarmRootsMax;

const faults: Record<Offence, PeerFault> = {
  'bad-block': 'bad_block',
  'false-have': 'false_have',
  stall: 'stall',
  flood: 'flood',
  'bad-frame': 'bad_frame',
};

export class SwarmMember implements SwarmPort, BlockSource {
  readonly cache: BlockCache;
  readonly exchange: ShardExchange;
  readonly #ports: MemberPorts;
  #transport: MemberTransport | null = null;
  #opening = false;
  #why: string | null = null;
  #session: SwarmSession | null = null;
  #network: Hex | null = null;
  #neighbours = new Map<string, Neighbour>();
  readonly #links = new Map<string, Link>();
  readonly #dialling = new Set<string>();
  readonly #failed = new Set<string>();
  /** Since when a link is to nobody's neighbour. */
  readonly #strangers = new Map<string, number>();
  /** Files by their root and by their blocks, the latest last. */
  readonly #roots = new Map<Cid, { manifest: Manifest; isWhole: boolean }>();
  readonly #files = new Map<Cid, Manifest>();
  /** Since when blocks are lent to others. */
  readonly #leased = new Map<Cid, number>();
  #announced = '';
  #said = '';
  #cancelTick: () => void = () => {};
  /** From `connected` to `stop`. */
  #life = new AbortController();

  constructor(ports: MemberPorts) {
    this.#ports = ports;
    const { cache, clock, random, log } = ports;
    const origin: ExchangePorts['origin'] = {
      fetch: (cid, signal, onPart) => this.#askOrigin(cid, signal, onPart),
    };
    const report: ExchangePorts['report'] = (contributor, offence) => this.#report(contributor, offence);
    this.exchange = new ShardExchange({ shelf: cache, origin, clock, random, log, report }, ports.caps);
    this.cache = new ExchangedCache(cache, this.exchange);
  }

  fetch(cid: Cid, signal: AbortSignal): Promise<Uint8Array> {
    const file = this.#files.get(cid);
    return this.exchange.fetch(cid, signal, file ? { file } : {});
  }

  connected(session: SwarmSession): void {
    this.#session = session;
    this.#network = session.network;
    this.#announced = '';
    this.#said = '';
    if (this.#life.signal.aborted) this.#life = new AbortController();
    if (!this.#transport && !this.#opening) void this.#open(session.network, this.#life.signal);
    this.#cancelTick();
    this.#tick();
  }

  /** Links stay: peers do not need the coordinator to go on. */
  disconnected(): void {
    this.#session = null;
    this.#cancelTick();
  }

  neighbours(peers: readonly Neighbour[]): void {
    this.#neighbours = new Map(peers.map((each) => [each.peer, each]));
    for (const peer of this.#failed) if (!this.#neighbours.has(peer)) this.#failed.delete(peer);
    this.#dial();
  }

  files(root: Cid, files: readonly File[]): void {
    if (files.length === 0) return;
    const manifest = manifestOfFiles(root, files);
    const entry = { manifest, isWhole: false };
    this.#roots.delete(root);
    this.#roots.set(root, entry);
    if (this.#roots.size > rootsMax) this.#forgetOldest();
    for (const cid of manifest.blocks) this.#files.set(cid, manifest);
    // The root came as an input: it and its blocks are public, also where a unit that was given up made the same ones here.
    this.exchange.release(manifest.blocks);
    this.exchange.serve([root]);
    void this.exchange.want(manifest, { urgent: true }).settled.then((isWhole) => {
      entry.isWhole = isWhole;
      this.#say();
    });
    this.#say();
  }

  view(): SwarmView {
    const { downBytes, upBytes, originBytes } = this.exchange.stats();
    return {
      state: this.#transport ? 'on' : this.#opening ? 'starting' : 'off',
      ...(this.#why === null ? {} : { why: this.#why }),
      ...this.#counts(),
      failed: this.#failed.size,
      ...{ peerBytes: downBytes, servedBytes: upBytes, originBytes },
    };
  }

  async stop(): Promise<void> {
    this.#life.abort(new AtollError('cancelled', 'The contributor stops.'));
    this.disconnected();
    const transport = this.#transport;
    this.#transport = null;
    for (const link of [...this.#links.values()]) link.close();
    this.#links.clear();
    this.#neighbours.clear();
    this.#failed.clear();
    await transport?.stop();
  }

  async #open(network: Hex, signal: AbortSignal): Promise<void> {
    this.#opening = true;
    this.#ports.changed?.();
    try {
      const transport = await this.#ports.open(network);
      transport.onLink((link) => this.#onLink(link));
      await transport.start(signal);
      if (signal.aborted) return await transport.stop();
      this.#transport = transport;
      this.#why = null;
    } catch (error) {
      this.#why = toProblem(error).detail;
      this.#ports.log.info({ code: toProblem(error).code }, 'Blocks come from the coordinator alone.');
    } finally {
      this.#opening = false;
      this.#ports.changed?.();
    }
    await this.#announce();
  }

  #onLink(link: Link): void {
    this.#links.set(link.peer, link);
    this.#failed.delete(link.peer);
    this.exchange.addLink(watched(link, () => this.#onLinkClosed(link)));
    this.#say();
  }

  #onLinkClosed(link: Link): void {
    if (this.#links.get(link.peer) !== link) return;
    this.#links.delete(link.peer);
    this.#strangers.delete(link.peer);
    this.#say();
  }

  #dial(): void {
    const transport = this.#transport;
    if (!transport) return;
    for (const { peer, addresses, dial } of this.#neighbours.values()) {
      if (!dial || this.#links.has(peer) || this.#dialling.has(peer) || this.#failed.has(peer)) continue;
      this.#dialling.add(peer);
      this.exchange.expectLinks(expectMs);
      transport
        .dial({ peer, addresses })
        .catch(() => {
          if (this.#links.has(peer)) return;
          this.#failed.add(peer);
          this.#say();
        })
        .finally(() => this.#dialling.delete(peer));
    }
  }

  #tick(): void {
    if (this.#life.signal.aborted) return;
    this.#cancelTick = this.#ports.clock.after(tickMs, () => this.#tick());
    void this.#announce();
    this.#dial();
    this.#part();
    this.#say();
  }

  async #announce(): Promise<void> {
    const [transport, session] = [this.#transport, this.#session];
    if (!transport || !session || transport.addresses.length === 0) return;
    const record = await transport.record();
    const addresses = [...transport.addresses];
    const announced = JSON.stringify([record, addresses]);
    if (announced === this.#announced || this.#session !== session) return;
    this.#announced = announced;
    session.send({ t: 'announce', record, addresses });
    this.#said = '';
    this.#say();
  }

  /** Links to peers that have not been neighbours for a while end. */
  #part(): void {
    const now = this.#ports.clock.now();
    for (const [peer, link] of this.#links) {
      if (this.#neighbours.has(peer)) {
        this.#strangers.delete(peer);
        continue;
      }
      const since = this.#strangers.get(peer) ?? now;
      this.#strangers.set(peer, since);
      if (now - since >= partMs) link.close();
    }
  }

  /** Tells the coordinator where this peer stands, when that has changed. */
  #say(): void {
    this.#ports.changed?.();
    if (!this.#session || this.#announced === '') return;
    const roots = [...this.#roots];
    const ids = (isWhole: boolean) =>
      roots.filter(([, each]) => each.isWhole === isWhole).map(([root]) => root);
    const failed = [...this.#failed].slice(0, limits.neighboursMax);
    const frame = { t: 'swarm' as const, holds: ids(true), wants: ids(false), ...this.#counts(), failed };
    const said = JSON.stringify(frame);
    if (said === this.#said) return;
    this.#said = said;
    this.#session.send(frame);
  }

  async #askOrigin(cid: Cid, signal: AbortSignal, onPart: () => void): Promise<Uint8Array> {
    const { origin, clock } = this.#ports;
    let isLeased = false;
    try {
      return await origin.fetch(cid, signal, this.#asker(cid), onPart);
    } catch (error) {
      isLeased = codeOf(error) === 'leased';
      throw error;
    } finally {
      if (!isLeased) this.#leased.delete(cid);
      else if (!this.#leased.has(cid)) this.#leased.set(cid, clock.now());
    }
  }

  /**
   * Who has somebody to get a block of a file from waits a moment while another peer fetches it. Who is alone does not, and documents, which are small and
   * which the files are named by, are worth no wait.
   */
  #asker(cid: Cid): SwarmAsker | undefined {
    if (!this.#transport || !this.#network || this.#links.size === 0 || !this.#files.has(cid))
      return undefined;
    const since = this.#leased.get(cid);
    if (since !== undefined && this.#ports.clock.now() - since >= this.#leasedMsMax(cid)) return undefined;
    return { swarm: this.#network, peer: this.#transport.peer };
  }

  #leasedMsMax(cid: Cid): number {
    const file = this.#files.get(cid);
    const size = file?.sizes[file.blocks.indexOf(cid)] ?? 0;
    return size > smallBytes ? leasedMsMax : leasedMsMaxSmall;
  }

  #counts(): { direct: number; relayed: number } {
    const relayed = [...this.#links.values()].filter(({ state }) => state === 'relayed').length;
    return { direct: this.#links.size - relayed, relayed };
  }

  #report(contributor: Hex, offence: Offence): void {
    for (const link of this.#links.values()) {
      if (link.contributor !== contributor) continue;
      this.#session?.send({ t: 'report', peer: link.peer, fault: faults[offence] });
    }
  }

  #forgetOldest(): void {
    const [oldest] = this.#roots.keys();
    const manifest = this.#roots.get(oldest as Cid)?.manifest;
    this.#roots.delete(oldest as Cid);
    for (const cid of manifest?.blocks ?? []) {
      this.#leased.delete(cid);
      if (this.#files.get(cid) === manifest) this.#files.delete(cid);
    }
  }
}

/** The same link, whose end is heard of here too. */
function watched(link: Link, onClose: () => void): Link {
  return {
    peer: link.peer,
    contributor: link.contributor,
    state: link.state,
    direction: link.direction,
    listen: (handlers) =>
      link.listen({
        frame: (bytes) => handlers.frame(bytes),
        drain: () => handlers.drain(),
        close: (reason) => {
          onClose();
          handlers.close(reason);
        },
      }),
    send: (frame) => link.send(frame),
    pause: () => link.pause(),
    resume: () => link.resume(),
    close: () => {
      onClose();
      link.close();
    },
  };
}

/** The ports of a contributor that takes part in the exchange: its blocks come from the cache, from peers, and else from where they came before. */
export function exchanging(
  ports: RuntimePorts,
  open: MemberPorts['open'],
  caps: Caps = {},
): RuntimePorts & { swarm: SwarmMember; cache: BlockCache } {
  const { cache, source: origin, clock, log, randomBytes } = ports;
  const random = () => randomBytes(4).reduce((sum, byte) => sum * 256 + byte, 0) / 2 ** 32;
  const swarm = new SwarmMember({ open, cache, origin, clock, random, log, caps });
  return { ...ports, swarm, cache: swarm.cache, source: swarm };
}

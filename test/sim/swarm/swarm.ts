/**
 * A swarm that fetches one file: hundreds of peers on the real exchange and the real tracker, over a made network, from one origin with the real leases. Some
 * leave in the middle, some only take, some lie, some have thin uplinks. Equal seeds replay equal histories.
 */
import type { Hex } from 'viem';
import type { Cid } from '#protocol/codec/cid.ts';
import { OriginLeases } from '#coordinator/p2p/origin-leases.ts';
import { Tracker } from '#coordinator/p2p/tracker.ts';
import { type Defences, defaultOptions, type Manifest } from '#workers/p2p/exchange/events.ts';
import { Dice, Timeline } from '../time.ts';
import { type FluidBounds, type FluidPeer, fluidBounds } from './fluid.ts';
import { Network } from './network.ts';
import { ExchangePeer, type Kind, LiarPeer, type SimPeer, type World } from './peers.ts';

export interface SwarmOptions {
  seed: number;
  peers: number;
  fileBytes: number;
  blockBytes: number;
  /** Megabits a second. */
  upMbps: number;
  downMbps: number;
  slowUpMbps: number;
  originMbps: number;
  /** Shares of all peers. Leeches are half open, half hiding what they have; liars half corrupt, half boast. */
  leaving: number;
  leeches: number;
  liars: number;
  slow: number;
  /** Everybody comes within this time. */
  joinMs: number;
  /** One more honest peer comes so late, to see how a newcomer fares; none unless given. */
  newcomerMs?: number;
  /** What a peer gets before it must give; a block of a real network is four of these. */
  graceBytes: number;
  defences?: Partial<Defences>;
  /** The clock stops here at the latest. */
  untilMs?: number;
}

export const swarmDefaults: SwarmOptions = {
  seed: 1,
  peers: 500,
  fileBytes: 64 << 20,
  blockBytes: 256 << 10,
  upMbps: 5,
  downMbps: 25,
  slowUpMbps: 1,
  originMbps: 50,
  leaving: 0.5,
  leeches: 0,
  liars: 0,
  slow: 0,
  joinMs: 2_000,
  graceBytes: 512 << 10,
};

export interface SwarmReport {
  /** Until 95% of the honest peers that stayed had everything, s; the bounds, s; and the first over the equal-share bound. */
  seconds95: number;
  boundEqual: number;
  boundStrict: number;
  boundStill: number;
  ratio: number;
  ratioStrict: number;
  medianSeconds: number;
  done: number;
  honest: number;
  /** Bytes from the origin over the file's size. */
  originCopies: number;
  /** Bytes that honest peers received over those they needed. */
  received: number;
  /** Liars that a neighbour banned, and liars; honest peers that were reported, by how many reports. */
  liarsBanned: number;
  liars: number;
  honestReported: number;
  /** Share of the file that leeches had from peers on average when 95% were done. */
  leechShare: number;
  /** How long the newcomer took, s. */
  newcomerSeconds: number;
  simulatedSeconds: number;
}

const mbps = 1e6 / 8;
const dialMs = 300;
const noticeMs = 5_000;
/** What the origin queues before it says that it is busy, ms. */
const originBacklogMs = 1_500;
const share = 0.95;

export function simulateSwarm(given: Partial<SwarmOptions> = {}): SwarmReport {
  return new Swarm({ ...swarmDefaults, ...given }).run();
}

const isHonest = ({ kind }: SimPeer) => kind === 'honest' || kind === 'slow';

class Swarm {
  readonly #options: SwarmOptions;
  readonly #time = new Timeline();
  readonly #dice: Dice;
  readonly #network: Network;
  readonly #tracker: Tracker;
  readonly #leases = new OriginLeases(() => this.#time.now);
  readonly #world: World;
  readonly #peers: SimPeer[] = [];
  readonly #byName = new Map<string, SimPeer>();
  readonly #byContributor = new Map<Hex, SimPeer>();
  readonly #leaveAt = new Map<SimPeer, number>();
  readonly #bans = new Map<Hex, number>();
  #originFreeAt = 0;
  #originBytes = 0;
  #waiting = 0;
  #newcomer: SimPeer | null = null;

  constructor(options: SwarmOptions) {
    this.#options = options;
    this.#dice = new Dice(options.seed);
    this.#network = new Network(this.#time);
    this.#tracker = new Tracker(() => this.#dice.fraction());
    const count = Math.ceil(options.fileBytes / options.blockBytes);
    const sizes = Array.from({ length: count }, (_, i) =>
      Math.min(options.blockBytes, options.fileBytes - i * options.blockBytes),
    );
    this.#world = this.#makeWorld({ id: 'the-file', blocks: sizes.map((_, i) => `block-${i}`), sizes });
    this.#populate();
  }

  #makeWorld(file: Manifest): World {
    return {
      time: this.#time,
      network: this.#network,
      file,
      origin: (peer, cid) => this.#origin(peer, cid),
      finished: (peer) => this.#finished(peer),
      reported: (by, about) => this.#reported(by, about),
      dropped: (by, about) => {
        this.#tracker.complain(by.name, about.name, this.#time.now);
        this.#connect();
      },
    };
  }

  #populate(): void {
    const { peers, joinMs, newcomerMs } = this.#options;
    for (let index = 0; index < peers; index++) {
      const peer = this.#make(index, this.#kindOf(index));
      peer.joinedMs = this.#dice.fraction() * joinMs;
    }
    this.#plan();
    if (newcomerMs !== undefined) {
      this.#newcomer = this.#make(peers, 'honest');
      this.#newcomer.joinedMs = newcomerMs;
    }
    for (const peer of this.#peers) this.#time.after(peer.joinedMs, () => this.#join(peer));
    const beat = () => {
      this.#tracker.tick(this.#time.now);
      this.#connect();
      this.#time.after(1_000, beat);
    };
    beat();
  }

  #kindOf(index: number): Kind {
    const { leeches, liars, slow, peers } = this.#options;
    const at = index / peers;
    if (at < leeches) return index % 2 === 0 ? 'leech' : 'hider';
    if (at < leeches + liars) return index % 2 === 0 ? 'corrupter' : 'boaster';
    return at < leeches + liars + slow ? 'slow' : 'honest';
  }

  #make(index: number, kind: Kind): SimPeer {
    const { upMbps, downMbps, slowUpMbps, defences, graceBytes } = this.#options;
    const up = (kind === 'slow' ? slowUpMbps : upMbps) * mbps;
    const contributor = `0x${index.toString(16).padStart(40, '0')}` as Hex;
    const latencyMs = 10 + this.#dice.fraction() * 40;
    const shape = { index, kind, contributor, up, down: downMbps * mbps, latencyMs };
    const dice = new Dice(this.#options.seed, index + 1);
    const options = {
      ...defaultOptions,
      graceBytes,
      random: () => dice.fraction(),
      defences: { ...defaultOptions.defences, ...defences },
    };
    const isLiar = kind === 'corrupter' || kind === 'boaster';
    const peer = isLiar ? new LiarPeer(shape, this.#world) : new ExchangePeer(shape, this.#world, options);
    this.#peers.push(peer);
    this.#byName.set(peer.name, peer);
    this.#byContributor.set(contributor, peer);
    return peer;
  }

  /** Who leaves, and when: at any moment of the time that the fluid swarm takes. */
  #plan(): void {
    const { leaving } = this.#options;
    const loyal = this.#fluid().equalMs;
    const honest = this.#peers.filter(isHonest);
    const leavers = honest.filter((_, i) => Math.floor((i + 1) * leaving) > Math.floor(i * leaving));
    for (const peer of leavers) {
      const at = peer.joinedMs + this.#dice.fraction() * loyal;
      this.#leaveAt.set(peer, at);
      this.#time.after(at, () => this.#leave(peer));
    }
    this.#waiting = honest.length - leavers.length;
  }

  #isCounted(peer: SimPeer): boolean {
    return isHonest(peer) && !this.#leaveAt.has(peer) && peer !== this.#newcomer;
  }

  #fluid(): FluidBounds {
    const { fileBytes, originMbps } = this.#options;
    const peers: FluidPeer[] = this.#peers.map((peer) => {
      return {
        up: isHonest(peer) ? peer.up : 0,
        down: peer.down,
        joinsMs: peer.joinedMs,
        leavesMs: this.#leaveAt.get(peer) ?? Infinity,
        takes: isHonest(peer),
        counts: this.#isCounted(peer),
      };
    });
    return fluidBounds(peers, fileBytes, originMbps * mbps, share);
  }

  #join(peer: SimPeer): void {
    const { now } = this.#time;
    this.#tracker.announce(
      {
        peer: peer.name,
        contributor: peer.contributor,
        owner: peer.contributor,
        region: `region-${this.#dice.below(40)}`,
        addresses: [],
        expires: Infinity,
      },
      now,
    );
    this.#stand(peer, peer instanceof LiarPeer);
    peer.start();
    this.#connect();
  }

  #stand(peer: SimPeer, hasAll: boolean): void {
    const [holds, wants] = hasAll ? [[this.#world.file.id], []] : [[], [this.#world.file.id]];
    const { size } = peer.links;
    this.#tracker.stand(peer.name, { holds, wants, direct: size, relayed: 0, failed: [] }, this.#time.now);
  }

  /** Dials whom the tracker has named; links to others end. */
  #connect(): void {
    for (const { to, peers } of this.#tracker.take()) {
      const peer = this.#byName.get(to.peer) as SimPeer;
      const named = new Set(peers.map((each) => each.peer));
      for (const link of [...peer.links.values()]) {
        const other = link.to as SimPeer;
        if (!named.has(other.name)) this.#network.close(link, 50);
      }
      for (const name of named) {
        const other = this.#byName.get(name) as SimPeer;
        if (peer.index < other.index) this.#time.after(dialMs, () => this.#dialled(peer, other));
      }
    }
  }

  #dialled(a: SimPeer, b: SimPeer): void {
    const isWanted = this.#tracker.member(a.name)?.neighbours.has(this.#tracker.member(b.name) as never);
    const isLinked = [...a.links.values()].some((link) => link.to === b);
    if (!isWanted || isLinked || a.isGone || b.isGone) return;
    const link = this.#network.connect(a, b);
    a.linked(link);
    if (link.isOpen) b.linked(link.other);
  }

  /** Half say goodbye; the others are noticed when nothing comes from them any more. */
  #leave(peer: SimPeer): void {
    if (peer.isGone) return;
    const isPolite = this.#dice.chance(0.5);
    const links = [...peer.links.values()];
    peer.isGone = true;
    for (const link of links) this.#network.close(link, isPolite ? 50 : noticeMs);
    this.#time.after(isPolite ? 50 : noticeMs, () => {
      this.#tracker.leave(peer.name, this.#time.now);
      this.#connect();
    });
  }

  #origin(peer: SimPeer, cid: Cid): void {
    const tripMs = 40 + peer.latencyMs;
    this.#time.after(tripMs, () => {
      const { now } = this.#time;
      const asker = { swarm: 'the-file', peer: peer.name };
      const answer = (event: Parameters<ExchangePeer['answered']>[0], ms: number) =>
        this.#time.after(ms, () => (peer as ExchangePeer).answered(event));
      const isBusy = this.#leases.mustWait(asker, cid) || this.#originFreeAt - now > originBacklogMs;
      if (isBusy) return answer({ t: 'origin', cid, outcome: 'busy', retryMs: 400 }, tripMs);
      this.#leases.take(asker, cid);
      const size = this.#world.file.sizes[this.#world.file.blocks.indexOf(cid)] as number;
      this.#originFreeAt =
        Math.max(now, this.#originFreeAt) + (1000 * size) / (this.#options.originMbps * mbps);
      this.#originBytes += size;
      answer(
        { t: 'origin', cid, outcome: 'ok', size },
        this.#originFreeAt - now + tripMs + (1000 * size) / peer.down,
      );
    });
  }

  /** A peer that has gone without a word is rightly said to have stalled. */
  #reported(by: SimPeer, about: Hex): void {
    if (this.#byContributor.get(about)?.isGone || !isHonest(by)) return;
    this.#bans.set(about, (this.#bans.get(about) ?? 0) + 1);
  }

  #finished(peer: SimPeer): void {
    this.#stand(peer, true);
    if (this.#isCounted(peer)) this.#waiting--;
  }

  run(): SwarmReport {
    const { untilMs = 3_600_000 } = this.#options;
    const counted = this.#peers.filter((peer) => this.#isCounted(peer));
    const enough = Math.floor((1 - share) * counted.length);
    let at95 = Infinity;
    let leechShare = 0;
    for (;;) {
      if (at95 === Infinity && this.#waiting <= enough) {
        at95 = this.#time.now;
        leechShare = this.#leechShare();
      }
      const isOver = this.#waiting <= 0 && (!this.#newcomer || this.#newcomer.doneMs < Infinity);
      if (isOver || this.#time.now > untilMs || !this.#time.step()) break;
    }
    return this.#report(counted, at95, leechShare);
  }

  #leechShare(): number {
    const leeches = this.#peers.filter(({ kind }) => kind === 'leech' || kind === 'hider') as ExchangePeer[];
    const had = leeches.map((peer) => peer.exchange.stats().downBytes / this.#options.fileBytes);
    return had.reduce((sum, each) => sum + each, 0) / Math.max(1, had.length);
  }

  #report(counted: readonly SimPeer[], at95: number, leechShare: number): SwarmReport {
    const bounds = this.#fluid();
    const times = counted.map(({ doneMs }) => doneMs).sort((a, b) => a - b);
    const liars = this.#peers.filter(({ kind }) => kind === 'corrupter' || kind === 'boaster');
    const honest = this.#peers.filter(isHonest);
    const received = counted.reduce((sum, peer) => {
      const { downBytes, originBytes } = (peer as ExchangePeer).exchange.stats();
      return sum + downBytes + originBytes;
    }, 0);
    const round = (value: number) => Math.round(value * 1000) / 1000;
    return {
      seconds95: round(at95 / 1000),
      boundEqual: round(bounds.equalMs / 1000),
      boundStrict: round(bounds.strictMs / 1000),
      boundStill: round(bounds.stillMs / 1000),
      ratio: round(at95 / bounds.equalMs),
      ratioStrict: round(at95 / bounds.strictMs),
      medianSeconds: round((times[times.length >> 1] ?? Infinity) / 1000),
      done: counted.filter(({ doneMs }) => doneMs < Infinity).length,
      honest: counted.length,
      originCopies: round(this.#originBytes / this.#options.fileBytes),
      received: round(received / (counted.length * this.#options.fileBytes)),
      liarsBanned: liars.filter(({ contributor }) => this.#bans.has(contributor)).length,
      liars: liars.length,
      honestReported: honest.reduce((sum, { contributor }) => sum + (this.#bans.get(contributor) ?? 0), 0),
      leechShare: round(leechShare),
      newcomerSeconds: this.#newcomer ? round((this.#newcomer.doneMs - this.#newcomer.joinedMs) / 1000) : 0,
      simulatedSeconds: round(this.#time.now / 1000),
    };
  }
}

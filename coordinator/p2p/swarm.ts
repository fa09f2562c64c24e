/**
 * The tracker at work: takes what announced peers say over their connections, checks whose peer it is, and tells everybody whose neighbours changed.
 *
 * Nobody is told of a proven liar. Of several coordinator processes each has a swarm of its own: neighbours are contributors that are connected to the same
 * one, whose relay carries their signalling too. Peer ids and addresses go to neighbours and into no log.
 */
import { AtollError, toProblem } from '#protocol/errors.ts';
import type { FrameOf, FromContributor, PeerFault } from '#protocol/messages/frames.ts';
import { verifyPeerRecord } from '#protocol/p2p/record.ts';
import type { Hex } from 'viem';
import type { Directory, Peer } from '../service/directory.ts';
import type { Clock, Logger, Random } from '../service/ports.ts';
import { Tracker } from './tracker.ts';

export interface SwarmPorts {
  network: Hex;
  directory: Directory;
  clock: Clock;
  random: Random;
  /** Whether a contributor is a proven liar. */
  isOutlawed: (contributor: Hex) => Promise<boolean>;
  /** A complaint of a peer that counted. */
  complained?: (fault: PeerFault) => void;
  log: Logger;
}

export type SwarmFrame = FrameOf<FromContributor, 'announce' | 'swarm' | 'report'>;

interface Connection {
  peer: string;
  announcedAt: number;
}

/** Frames that change the graph are told together, at most this often. */
const tellMs = 100;
const tickMs = 1_000;
/** Between announcements of one connection: a signature is checked for each. */
const announceMsMin = 1_000;
/** Members whose standing is looked up at a time. */
const lookedUpMax = 32;

export class Swarm {
  readonly #ports: SwarmPorts;
  readonly #tracker: Tracker;
  readonly #connections = new Map<Peer, Connection>();
  readonly #byPeer = new Map<string, Peer>();
  readonly #ticker: NodeJS.Timeout;
  #teller: NodeJS.Timeout | null = null;
  #lookedUpFrom = 0;

  constructor(ports: SwarmPorts) {
    this.#ports = ports;
    this.#tracker = new Tracker(() => ports.random.u32() / 2 ** 32);
    ports.directory.onLeave((peer) => this.#leave(peer));
    this.#ticker = setInterval(() => this.#tick(), tickMs);
    this.#ticker.unref();
  }

  close(): void {
    clearInterval(this.#ticker);
    if (this.#teller) clearTimeout(this.#teller);
    this.#teller = null;
  }

  /** Throws `bad_signature`, `conflict`, `rate_limited`, `forbidden`. */
  async handle(from: Peer, frame: SwarmFrame): Promise<void> {
    if (frame.t === 'announce') await this.#announce(from, frame);
    const connection = this.#connections.get(from);
    if (!connection) throw new AtollError('conflict', 'This connection has not announced a peer.');
    const now = this.#ports.clock.now();
    if (frame.t === 'swarm') this.#tracker.stand(connection.peer, frame, now);
    if (frame.t === 'report' && this.#tracker.complain(connection.peer, frame.peer, now)) {
      this.#ports.complained?.(frame.fault);
      this.#ports.log.debug(
        { contributor: from.contributor, fault: frame.fault },
        'A peer was complained of.',
      );
    }
    this.#tellSoon();
  }

  /** Something spoke against this contributor: it may be a proven liar by now. */
  async suspect(contributor: Hex): Promise<void> {
    if (this.counts(contributor).peers === 0) return;
    try {
      if (!(await this.#ports.isOutlawed(contributor))) return;
    } catch (error) {
      this.#ports.log.warn({ problem: toProblem(error) }, 'The standing of a peer could not be looked up.');
      return;
    }
    this.#tracker.expel(contributor, this.#ports.clock.now());
    this.#tellSoon();
  }

  counts(contributor?: Hex): ReturnType<Tracker['counts']> {
    return this.#tracker.counts(contributor);
  }

  async #announce(from: Peer, { record, addresses }: FrameOf<FromContributor, 'announce'>): Promise<void> {
    const { network, clock } = this.#ports;
    const now = clock.now();
    const known = this.#connections.get(from);
    if (known && now - known.announcedAt < announceMsMin) {
      throw new AtollError('rate_limited', 'A peer is announced once a second at most.');
    }
    const { peer, contributor, expires } = record;
    if (contributor.toLowerCase() !== from.contributor.toLowerCase()) {
      throw new AtollError('bad_signature', 'The peer record is of another contributor than the connection.');
    }
    await verifyPeerRecord(record, { network, peer, now });
    if (await this.#ports.isOutlawed(contributor)) {
      throw new AtollError('forbidden', 'A result of this contributor was proven false.');
    }
    if (!this.#ports.directory.peersOf(from.contributor).includes(from)) return; // it has left meanwhile
    if (known && known.peer !== peer) this.#tracker.leave(known.peer, now);
    const { owner, prefix: region } = from.origin;
    const announced = { peer, contributor: from.contributor, region, addresses, expires };
    this.#tracker.announce({ ...announced, owner: owner ?? from.contributor }, now);
    this.#connections.set(from, { peer, announcedAt: now });
    this.#byPeer.set(peer, from);
  }

  #leave(left: Peer): void {
    const connection = this.#connections.get(left);
    if (!connection) return;
    this.#connections.delete(left);
    if (this.#byPeer.get(connection.peer) !== left) return; // the same peer has connected again
    this.#byPeer.delete(connection.peer);
    this.#tracker.leave(connection.peer, this.#ports.clock.now());
    this.#tellSoon();
  }

  #tick(): void {
    this.#tracker.tick(this.#ports.clock.now());
    this.#tellSoon();
    const all = [...this.#connections.keys()];
    for (let i = 0; i < Math.min(lookedUpMax, all.length); i++) {
      void this.suspect((all[this.#lookedUpFrom++ % all.length] as Peer).contributor);
    }
  }

  #tellSoon(): void {
    this.#teller ??= setTimeout(() => {
      this.#teller = null;
      for (const { to, peers } of this.#tracker.take())
        this.#byPeer.get(to.peer)?.send({ t: 'peers', peers });
    }, tellMs);
    this.#teller.unref();
  }
}

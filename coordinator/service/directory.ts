/**
 * Who is connected. A contributor may have several connections (tabs with one key); what concerns it goes to all of them.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { FromCoordinator } from '#protocol/messages/frames.ts';
import type { Hex } from 'viem';
import type { Origin } from '../record/accounts.ts';
import type { Presence } from '../storage/port.ts';
import type { Clock } from './ports.ts';

/** What is known of a replica whose reveal is still to come; none of it changes. */
export interface CommittedReplica {
  unit: Cid;
  program: string;
  commitment: Hex;
}

/** A greeted connection, as the rest of the service sees it. */
export interface Peer {
  readonly contributor: Hex;
  readonly programs: ReadonlySet<string>;
  /** What it computes on and where it is, as far as that is known. */
  readonly origin: Origin;
  /** Leases this connection was given, and their programs. */
  readonly granted: Map<Hex, string>;
  /** Replicas this connection has committed, until they are revealed: spares the database a question. */
  readonly committed: Map<Hex, CommittedReplica>;
  send(frame: FromCoordinator): void;
}

export class Directory {
  readonly #clock: Clock;
  readonly #peers = new Map<Hex, Set<Peer>>();
  /** Contributors that may hold leases and are not connected, and since when. */
  readonly #awaySince = new Map<Hex, number>();
  readonly #watchers = new Set<() => void>();
  readonly #leavers = new Set<(peer: Peer) => void>();
  #waitingFrom = 0;
  #absent: ((contributor: Hex, frame: FromCoordinator) => void) | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get online(): number {
    return this.#peers.size;
  }

  /** Everybody who is here, with the device of the last connection. */
  presences(): Presence[] {
    return [...this.#peers].map(([contributor, peers]) => {
      const origin = [...peers].at(-1)?.origin;
      return { contributor, device: origin?.device ?? '', prefix: origin?.prefix ?? '' };
    });
  }

  contributors(): Hex[] {
    return [...this.#peers.keys()];
  }

  /** Connections that have committed and not revealed: up to `most`, others each time. */
  waiting(most: number): Peer[] {
    const all = [...this.#peers.values()].flatMap((peers) => [...peers]).filter((p) => p.committed.size > 0);
    if (all.length <= most) return all;
    const from = this.#waitingFrom % all.length;
    this.#waitingFrom += most;
    return [...all.slice(from), ...all.slice(0, from)].slice(0, most);
  }

  isOnline(contributor: Hex): boolean {
    return this.#peers.has(contributor);
  }

  peersOf(contributor: Hex): Peer[] {
    return [...(this.#peers.get(contributor) ?? [])];
  }

  join(peer: Peer): void {
    const peers = this.#peers.get(peer.contributor) ?? new Set();
    this.#peers.set(peer.contributor, peers.add(peer));
    this.#awaySince.delete(peer.contributor);
    for (const changed of this.#watchers) changed();
  }

  leave(peer: Peer): void {
    const peers = this.#peers.get(peer.contributor);
    if (!peers?.delete(peer)) return;
    if (peers.size === 0) {
      this.#peers.delete(peer.contributor);
      this.#awaySince.set(peer.contributor, this.#clock.now());
    }
    for (const left of this.#leavers) left(peer);
    for (const changed of this.#watchers) changed();
  }

  /** Counts a contributor as away from `graceMs` on, unless it is here by then. */
  expect(contributor: Hex, graceMs: number): void {
    if (!this.#peers.has(contributor)) this.#awaySince.set(contributor, this.#clock.now() + graceMs);
  }

  /** Contributors away for longer than `ms`; each is named once. */
  takeAway(ms: number): Hex[] {
    const since = this.#clock.now() - ms;
    const gone = [...this.#awaySince].filter(([, at]) => at < since).map(([contributor]) => contributor);
    for (const contributor of gone) this.#awaySince.delete(contributor);
    return gone;
  }

  /** To every connection of the contributor; nobody is there when it returns false. */
  send(contributor: Hex, frame: FromCoordinator): boolean {
    const peers = this.peersOf(contributor);
    for (const peer of peers) peer.send(frame);
    if (peers.length === 0) this.#absent?.(contributor, frame);
    return peers.length > 0;
  }

  /** Calls back with what could not be sent, since the contributor is not here. */
  onAbsent(absent: (contributor: Hex, frame: FromCoordinator) => void): void {
    this.#absent = absent;
  }

  /** Calls back on every join and leave, until the returned function is called. */
  watch(changed: () => void): () => void {
    this.#watchers.add(changed);
    return () => this.#watchers.delete(changed);
  }

  onLeave(left: (peer: Peer) => void): void {
    this.#leavers.add(left);
  }
}

/**
 * Who exchanges blocks with whom: a graph over the peers that have announced themselves, six to eight neighbours each, chosen for what they hold and want,
 * where they are, and whether they can be reached. Both sides of an edge know of it, so degrees are even.
 *
 * Pure: time and randomness are arguments, and what is to be told is taken with `take`. A choice looks at `sampleMax` candidates at most, so that it costs
 * the same in a large network. What peers say of each other is weak evidence: it parts two neighbours, and rests a peer only when most of its neighbours,
 * of different owners, say the same.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';
import type { FrameOf, FromContributor, Neighbour } from '#protocol/messages/frames.ts';
import type { Hex } from 'viem';
import { Roster } from './roster.ts';

export interface Announced {
  peer: string;
  contributor: Hex;
  /** Who answers for the contributor: one voice in complaints. */
  owner: Hex;
  /** Keyed hash of the network that it comes from; empty where that says nothing. */
  region: string;
  addresses: readonly string[];
  /** Until when its record holds. */
  expires: number;
}

export type Standing = Pick<
  FrameOf<FromContributor, 'swarm'>,
  'holds' | 'wants' | 'direct' | 'relayed' | 'failed'
>;

export interface Member extends Announced {
  holds: ReadonlySet<Cid>;
  wants: ReadonlySet<Cid>;
  direct: number;
  relayed: number;
  failed: number;
  readonly neighbours: Set<Member>;
  /** Peers that it is not to have as neighbours, and until when. */
  readonly avoids: Map<string, number>;
  /** Owners of neighbours that complained of it, and when. */
  readonly complaints: Map<Hex, number>;
  /** No neighbours before then. */
  restsUntil: number;
  /** Complaints that it may still make in this minute. */
  complaintsLeft: number;
  complaintsSince: number;
  swappedAt: number;
}

/** Uniform in [0, 1). */
export type Dice = () => number;

/** Degrees: what is aimed at, and what fills up only when somebody else is short of neighbours. */
export const degreeAim = 6;
export const degreeMax = limits.neighboursMax;
const perContributorMax = 4;
const sampleMax = 48;
const unreachableMs = 60_000;
const complaintMs = 10 * 60_000;
const complaintsPerMinute = 6;
const complainersMin = 3;
const swapMs = 2_000;
/** Neighbours out of one region or of one owner, where there are others. */
const alikeMax = 3;

export class Tracker {
  readonly #dice: Dice;
  readonly #roster = new Roster();
  /** Peers whose neighbours changed since they were last told. */
  readonly #untold = new Set<Member>();

  constructor(dice: Dice) {
    this.#dice = dice;
  }

  get size(): number {
    return this.#roster.size;
  }

  member(peer: string): Member | undefined {
    return this.#roster.get(peer);
  }

  /** A peer is here, or says anew where. One contributor has a few peers at most: an older one of its gives way. */
  announce(announced: Announced, now: number): void {
    const known = this.#roster.get(announced.peer);
    if (known && known.contributor === announced.contributor) {
      Object.assign(known, announced);
      for (const neighbour of known.neighbours) this.#untold.add(neighbour);
      return;
    }
    if (known) return; // somebody else's id: the record of the one who was first stands
    const own = this.#roster.ofContributor(announced.contributor);
    if (own.length >= perContributorMax) this.leave((own[0] as Member).peer, now);
    const member = newMember(announced);
    this.#roster.add(member);
    this.#untold.add(member);
    this.#fill(member, now);
  }

  /** What a peer has, wants and reaches. Neighbours that it could not reach are replaced; so is one of no use when somebody has what is wanted. */
  stand(peer: string, standing: Standing, now: number): void {
    const member = this.#roster.get(peer);
    if (!member) return;
    const { direct, relayed, failed } = standing;
    Object.assign(member, { direct, relayed, failed: failed.length });
    this.#roster.restock(member, new Set(standing.holds), new Set(standing.wants));
    for (const id of failed) {
      member.avoids.set(id, now + unreachableMs);
      const other = this.#roster.get(id);
      if (other) this.#part(member, other, now);
    }
    this.#fill(member, now);
    this.#improve(member, now);
  }

  /** A peer has left: those who had it get others at once. */
  leave(peer: string, now: number): void {
    const member = this.#roster.get(peer);
    if (!member) return;
    this.#roster.remove(member);
    this.#untold.delete(member);
    const bereft = [...member.neighbours];
    for (const neighbour of bereft) this.#unlink(member, neighbour);
    for (const neighbour of bereft) this.#fill(neighbour, now);
  }

  /** All peers of a contributor: it is blocked, or a proven liar. */
  expel(contributor: Hex, now: number): void {
    for (const { peer } of this.#roster.ofContributor(contributor)) this.leave(peer, now);
  }

  /** `from` complains of `about`. Only of a neighbour, and a few times a minute; false when it does not count. */
  complain(from: string, about: string, now: number): boolean {
    const [member, other] = [this.#roster.get(from), this.#roster.get(about)];
    if (!member || !other?.neighbours.has(member) || !mayComplain(member, now)) return false;
    const neighbours = other.neighbours.size;
    other.complaints.set(member.owner, now);
    for (const [owner, at] of other.complaints) if (at < now - complaintMs) other.complaints.delete(owner);
    member.avoids.set(about, now + complaintMs);
    this.#part(member, other, now);
    const enough = Math.max(complainersMin, Math.ceil((neighbours + other.complaints.size) / 2));
    if (other.complaints.size >= enough) this.#rest(other, now);
    this.#fill(member, now);
    return true;
  }

  /** Clock work: records that have ended, peers that are short of neighbours. */
  tick(now: number): void {
    for (const member of [...this.#roster.all()]) {
      if (member.expires <= now) this.leave(member.peer, now);
      else {
        if (member.neighbours.size < degreeAim) this.#fill(member, now);
        this.#improve(member, now);
      }
    }
  }

  /** Whose neighbours changed since the last call, and who they are now. */
  take(): { to: Member; peers: Neighbour[] }[] {
    const told = [...this.#untold].map((to) => ({ to, peers: neighboursOf(to) }));
    this.#untold.clear();
    return told;
  }

  /** Links as peers state them, each counted by both of its ends. */
  counts(contributor?: Hex): { peers: number; direct: number; relayed: number; failed: number } {
    const members = contributor ? this.#roster.ofContributor(contributor) : this.#roster.all();
    const sum = { peers: 0, direct: 0, relayed: 0, failed: 0 };
    for (const { direct, relayed, failed } of members) {
      sum.peers++;
      sum.direct += direct;
      sum.relayed += relayed;
      sum.failed += failed;
    }
    return sum;
  }

  /** Neighbours up to the aim; where everybody is full and it has next to none, in the middle of an edge of others. */
  #fill(member: Member, now: number): void {
    if (member.neighbours.size >= degreeAim || member.restsUntil > now || !this.#isHere(member)) return;
    const candidates = this.#candidates(member, now);
    while (member.neighbours.size < degreeAim) {
      const open = candidates.filter(
        (other) => other.neighbours.size < degreeMax && fits(member, other, now),
      );
      const best = this.#best(member, open);
      if (best) this.#link(member, best);
      else if (!this.#squeezeIn(member, candidates, now)) return;
    }
  }

  /** Takes an edge between two that are full, and stands between them: nobody's degree changes but its own. */
  #squeezeIn(member: Member, candidates: readonly Member[], now: number): boolean {
    const full = candidates.filter((other) => fits(member, other, now));
    for (const one of full) {
      const other = [...one.neighbours].find((each) => each !== member && fits(member, each, now));
      if (!other) continue;
      this.#unlink(one, other);
      this.#link(member, one);
      this.#link(member, other);
      return true;
    }
    return false;
  }

  /** With nobody around who has what is wanted, the least useful neighbour gives way to one who does. */
  #improve(member: Member, now: number): void {
    if (member.wants.size === 0 || now - member.swappedAt < swapMs || member.restsUntil > now) return;
    if ([...member.neighbours].some((other) => meets(member.wants, other.holds))) return;
    const holders = this.#candidates(member, now).filter(
      (other) => meets(member.wants, other.holds) && (other.neighbours.size < degreeMax || idleFor(other)),
    );
    const best = this.#best(member, holders);
    if (!best) return;
    member.swappedAt = now;
    const leavers: Member[] = [];
    const makeRoom = (at: Member, leaver: Member | undefined) => {
      if (!leaver || at.neighbours.size < degreeMax) return;
      this.#unlink(at, leaver);
      leavers.push(leaver);
    };
    makeRoom(member, least(member));
    makeRoom(best, idleFor(best));
    this.#link(member, best);
    for (const leaver of leavers) this.#fill(leaver, now);
  }

  /** Some of those who hold what it wants, who want the same, who want what it holds, of its region, and anybody. */
  #candidates(member: Member, now: number): Member[] {
    const share = sampleMax / 6;
    const found = new Set<Member>();
    const take = (some: Iterable<Member>) => {
      for (const other of some) if (fits(member, other, now)) found.add(other);
    };
    for (const cid of pick([...member.wants], 2, this.#dice)) {
      take(this.#roster.sample('holds', cid, share, this.#dice));
      take(this.#roster.sample('wants', cid, share / 2, this.#dice));
    }
    for (const cid of pick([...member.holds], 2, this.#dice)) {
      take(this.#roster.sample('wants', cid, share / 2, this.#dice));
      take(this.#roster.sample('holds', cid, share / 2, this.#dice));
    }
    if (member.region !== '') take(this.#roster.sample('region', member.region, share, this.#dice));
    take(this.#roster.sample('anybody', '', 2 * share, this.#dice));
    return [...found];
  }

  #best(member: Member, candidates: readonly Member[]): Member | null {
    const alike = (other: Member) => {
      const like = [...member.neighbours].filter((each) => isAlike(each, other)).length;
      return like >= alikeMax ? 4 : 0;
    };
    let best: Member | null = null;
    let most = -Infinity;
    for (const other of candidates) {
      const value =
        worth(member, other) - alike(other) - other.neighbours.size / degreeMax + this.#dice() / 2;
      if (value > most) [best, most] = [other, value];
    }
    return best;
  }

  #rest(member: Member, now: number): void {
    member.restsUntil = now + complaintMs;
    const bereft = [...member.neighbours];
    for (const neighbour of bereft) this.#unlink(member, neighbour);
    for (const neighbour of bereft) this.#fill(neighbour, now);
  }

  #part(one: Member, other: Member, now: number): void {
    if (!one.neighbours.has(other)) return;
    this.#unlink(one, other);
    this.#fill(other, now);
  }

  #link(one: Member, other: Member): void {
    one.neighbours.add(other);
    other.neighbours.add(one);
    this.#untold.add(one).add(other);
  }

  #unlink(one: Member, other: Member): void {
    one.neighbours.delete(other);
    other.neighbours.delete(one);
    for (const each of [one, other]) if (this.#isHere(each)) this.#untold.add(each);
  }

  #isHere(member: Member): boolean {
    return this.#roster.get(member.peer) === member;
  }
}

function newMember(announced: Announced): Member {
  return {
    ...announced,
    holds: new Set(),
    wants: new Set(),
    direct: 0,
    relayed: 0,
    failed: 0,
    neighbours: new Set(),
    avoids: new Map(),
    complaints: new Map(),
    restsUntil: -Infinity,
    complaintsLeft: complaintsPerMinute,
    complaintsSince: -Infinity,
    swappedAt: -Infinity,
  };
}

function mayComplain(member: Member, now: number): boolean {
  if (now - member.complaintsSince >= 60_000) {
    member.complaintsSince = now;
    member.complaintsLeft = complaintsPerMinute;
  }
  if (member.complaintsLeft === 0) return false;
  member.complaintsLeft--;
  return true;
}

/** Whether two may be neighbours at all. */
function fits(one: Member, other: Member, now: number): boolean {
  if (one === other || one.neighbours.has(other) || other.restsUntil > now) return false;
  return !isAvoided(one, other, now) && !isAvoided(other, one, now);
}

function isAvoided(one: Member, other: Member, now: number): boolean {
  const until = one.avoids.get(other.peer);
  if (until === undefined) return false;
  if (until > now) return true;
  one.avoids.delete(other.peer);
  return false;
}

/** What `other` is to `member`: first what it wants, then company in fetching it, then somebody to give to, then a short way. */
function worth(member: Member, other: Member): number {
  const has = meets(member.wants, other.holds) ? 4 : 0;
  const fetches = meets(member.wants, other.wants) || meets(member.holds, other.holds) ? 2 : 0;
  const needs = meets(other.wants, member.holds) ? 2 : 0;
  const near = member.region !== '' && member.region === other.region ? 1 : 0;
  const hard = Math.min(2, other.failed / 3);
  return has + fetches + needs + near - hard;
}

/** Its neighbour of the least use to it. */
function least(member: Member): Member | undefined {
  let found: Member | undefined;
  for (const other of member.neighbours) {
    if (!found || worth(member, other) < worth(member, found)) found = other;
  }
  return found;
}

/** A neighbour that wants nothing of what it holds, if there is one. */
function idleFor(holder: Member): Member | undefined {
  return [...holder.neighbours].find((other) => !meets(other.wants, holder.holds));
}

function isAlike(one: Member, other: Member): boolean {
  return one.owner === other.owner || (one.region !== '' && one.region === other.region);
}

function meets(some: ReadonlySet<Cid>, others: ReadonlySet<Cid>): boolean {
  for (const cid of some) if (others.has(cid)) return true;
  return false;
}

function pick<T>(from: T[], most: number, dice: Dice): T[] {
  if (from.length <= most) return from;
  const start = Math.floor(dice() * from.length);
  return Array.from({ length: most }, (_, i) => from[(start + i) % from.length] as T);
}

/** As told to `to`. The smaller id dials, so that two never dial each other. */
function neighboursOf(to: Member): Neighbour[] {
  return [...to.neighbours].map(({ peer, addresses }) => ({
    peer,
    addresses: [...addresses],
    dial: to.peer < peer,
  }));
}

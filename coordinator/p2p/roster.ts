/**
 * The peers of the tracker with what is looked up of them: who holds a root, who wants it, who is of a region, whose they are. A few of any of these can
 * be drawn at random without looking at all of them.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import type { Dice, Member } from './tracker.ts';

type Kind = 'holds' | 'wants' | 'region' | 'anybody';

/** A set that can be drawn from. */
class Pool {
  readonly #list: Member[] = [];
  readonly #places = new Map<Member, number>();

  get size(): number {
    return this.#list.length;
  }

  get all(): readonly Member[] {
    return this.#list;
  }

  add(member: Member): void {
    if (this.#places.has(member)) return;
    this.#places.set(member, this.#list.length);
    this.#list.push(member);
  }

  delete(member: Member): void {
    const place = this.#places.get(member);
    if (place === undefined) return;
    this.#places.delete(member);
    const last = this.#list.pop() as Member;
    if (last === member) return;
    this.#list[place] = last;
    this.#places.set(last, place);
  }

  /** Up to `most`, drawn with replacement where there are more. */
  sample(most: number, dice: Dice): readonly Member[] {
    if (this.#list.length <= most) return this.#list;
    return Array.from({ length: most }, () => this.#list[Math.floor(dice() * this.#list.length)] as Member);
  }
}

export class Roster {
  readonly #members = new Map<string, Member>();
  readonly #byContributor = new Map<Hex, Set<Member>>();
  readonly #pools = new Map<string, Pool>();

  get size(): number {
    return this.#members.size;
  }

  all(): IterableIterator<Member> {
    return this.#members.values();
  }

  get(peer: string): Member | undefined {
    return this.#members.get(peer);
  }

  /** Oldest first. */
  ofContributor(contributor: Hex): Member[] {
    return [...(this.#byContributor.get(contributor) ?? [])];
  }

  add(member: Member): void {
    this.#members.set(member.peer, member);
    const own = this.#byContributor.get(member.contributor) ?? new Set();
    this.#byContributor.set(member.contributor, own.add(member));
    this.#pool('anybody', '').add(member);
    if (member.region !== '') this.#pool('region', member.region).add(member);
  }

  remove(member: Member): void {
    this.restock(member, new Set(), new Set());
    this.#members.delete(member.peer);
    const own = this.#byContributor.get(member.contributor);
    own?.delete(member);
    if (own?.size === 0) this.#byContributor.delete(member.contributor);
    this.#drop('anybody', '', member);
    if (member.region !== '') this.#drop('region', member.region, member);
  }

  /** It holds and wants other things than before. */
  restock(member: Member, holds: ReadonlySet<Cid>, wants: ReadonlySet<Cid>): void {
    for (const [kind, before, after] of [
      ['holds', member.holds, holds],
      ['wants', member.wants, wants],
    ] as const) {
      for (const cid of before) if (!after.has(cid)) this.#drop(kind, cid, member);
      for (const cid of after) if (!before.has(cid)) this.#pool(kind, cid).add(member);
    }
    member.holds = holds;
    member.wants = wants;
  }

  sample(kind: Kind, key: string, most: number, dice: Dice): readonly Member[] {
    return this.#pools.get(`${kind}/${key}`)?.sample(most, dice) ?? [];
  }

  #pool(kind: Kind, key: string): Pool {
    const name = `${kind}/${key}`;
    const pool = this.#pools.get(name) ?? new Pool();
    this.#pools.set(name, pool);
    return pool;
  }

  #drop(kind: Kind, key: string, member: Member): void {
    const pool = this.#pools.get(`${kind}/${key}`);
    pool?.delete(member);
    if (pool?.size === 0) this.#pools.delete(`${kind}/${key}`);
  }
}

/** What a run is judged by: wrong results, what they cost to find, and whether lying paid. The truth is known here and nowhere else. */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Outcome } from '#protocol/messages/frames.ts';
import type { Strategy } from './adversaries.ts';
import type { Contents } from './contents.ts';
import type { Actor, Submission } from './population.ts';

export interface StrategyReport {
  actors: number;
  /** Keys used; a new one costs nothing. */
  keys: number;
  outlawed: number;
  /** False results that were committed, and those of them still believed at the end. */
  falseResults: number;
  standing: number;
  /** Share of its false results that are not believed at the end. */
  caught: number;
  /** Operations that it did, and credit that it has at the end, both in units of 10^9. */
  work: number;
  credit: number;
  /** Credit, at what an honest contributor gets for its work, minus the work: what lying brought. */
  profit: number;
}

export interface Tally {
  accepted: number;
  wrongEver: number;
  wrongPublished: number;
  overturned: number;
  replicas: number;
  leases: number;
}

interface Falsity {
  falseResults: number;
  outlawed: number;
}

export class Measures {
  readonly total: Tally = emptyTally();
  /** After the first half of the units: what a network costs that knows its contributors. */
  readonly warm: Tally = emptyTally();
  readonly #contents: Contents;
  readonly #warmFrom: number;
  readonly #falsity = new Map<Strategy | 'honest', Falsity>();
  /** Units believed to be something false, units that were overturned, and whose false results are believed. */
  readonly #wrong = new Set<Cid>();
  readonly #again = new Set<Cid>();
  readonly #believed = new Map<Cid, Map<Strategy, number>>();

  constructor(contents: Contents, units: number) {
    this.#contents = contents;
    this.#warmFrom = units / 2;
  }

  #count(name: keyof Tally): void {
    this.total[name]++;
    if (this.total.accepted > this.#warmFrom) this.warm[name]++;
  }

  leased(): void {
    this.#count('leases');
  }

  committed({ actor, isFalse }: Submission): void {
    this.#count('replicas');
    if (isFalse && actor.strategy) this.#of(actor.strategy).falseResults++;
  }

  outlawed({ strategy }: Actor): void {
    this.#of(strategy ?? 'honest').outlawed++;
  }

  accepted(unit: Cid, digest: Cid): void {
    // Once more with another digest, it is the same unit.
    if (!this.#again.delete(unit)) this.#count('accepted');
    this.#wrong.delete(unit);
    if (this.#contents.isHonest(unit, digest)) return;
    this.#count('wrongEver');
    this.#wrong.add(unit);
  }

  /** The verdict on a false result: it is standing when it was found right. */
  judged({ actor, unit, isFalse }: Submission, outcome: Outcome): void {
    if (!isFalse || outcome !== 'agreed' || !actor.strategy) return;
    const liars = this.#believed.get(unit) ?? new Map<Strategy, number>();
    liars.set(actor.strategy, (liars.get(actor.strategy) ?? 0) + 1);
    this.#believed.set(unit, liars);
  }

  overturned(unit: Cid): void {
    this.#count('overturned');
    this.#again.add(unit);
    this.#wrong.delete(unit);
    this.#believed.delete(unit);
  }

  published(units: readonly Cid[]): void {
    for (const unit of units) if (this.#wrong.has(unit)) this.#count('wrongPublished');
  }

  get wrongStanding(): number {
    return this.#wrong.size;
  }

  byStrategy(
    actors: readonly Actor[],
    creditOf: (actor: Actor) => number,
  ): Partial<Record<Strategy | 'honest', StrategyReport>> {
    const sums = new Map<Strategy | 'honest', StrategyReport>();
    for (const actor of actors) {
      if (actor.identity.isReferee) continue;
      const name = actor.strategy ?? 'honest';
      const sum = sums.get(name) ?? emptyReport();
      sum.actors++;
      sum.keys += actor.addresses.length;
      sum.work += actor.work / 1e9;
      sum.credit += creditOf(actor) / 1e9;
      sums.set(name, sum);
    }
    const honest = sums.get('honest');
    const rate = honest && honest.work > 0 ? honest.credit / honest.work : 1;
    for (const [name, sum] of sums) this.#complete(name, sum, rate || 1);
    return Object.fromEntries(sums);
  }

  #complete(name: Strategy | 'honest', sum: StrategyReport, rate: number): void {
    const { falseResults, outlawed } = this.#of(name);
    let standing = 0;
    for (const liars of this.#believed.values()) standing += (name !== 'honest' && liars.get(name)) || 0;
    const caught = falseResults === 0 ? 1 : 1 - standing / falseResults;
    Object.assign(sum, { falseResults, outlawed, standing, caught });
    sum.profit = sum.credit / rate - sum.work;
  }

  #of(strategy: Strategy | 'honest'): Falsity {
    let found = this.#falsity.get(strategy);
    if (!found) this.#falsity.set(strategy, (found = { falseResults: 0, outlawed: 0 }));
    return found;
  }
}

function emptyTally(): Tally {
  return { accepted: 0, wrongEver: 0, wrongPublished: 0, overturned: 0, replicas: 0, leases: 0 };
}

function emptyReport(): StrategyReport {
  return {
    ...{ actors: 0, keys: 0, outlawed: 0, falseResults: 0, standing: 0, caught: 1 },
    ...{ work: 0, credit: 0, profit: 0 },
  };
}

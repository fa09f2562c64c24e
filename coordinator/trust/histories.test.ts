/**
 * Random histories of many units under the whole of trust and consensus: whoever lies, asks, withholds and comes back, what must hold holds.
 * Each seed is a network of its own; a failing one is printed by fast-check and replays the same history.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Hex } from 'viem';
import * as consensus from '../consensus/consensus.ts';
import type { Replica, Step, UnitState } from '../consensus/consensus.ts';
import { benchRules, id } from '../testing/unit-bench.ts';
import { auditUnanimous, decide, mayTake, rechecksAfter, seatOf } from './decide.ts';
import { judge } from './judge.ts';
import { isProven, standingAfter, standingOf, weightOf } from './standing.ts';
import {
  type Climate,
  type ContributorTrust,
  defaultTrustRules as rules,
  type DeviceTrust,
} from './types.ts';

interface Member {
  address: Hex;
  owner: Hex;
  isLiar: boolean;
  contributor: ContributorTrust;
  device: DeviceTrust;
}

const truth = 'honest';
const steps = 1_200;

class Network {
  readonly members: Member[];
  readonly units: UnitState[] = [];
  now = 0;
  #seed: number;
  #assignments = 0;
  readonly #pace: number;

  /** `pace`: how fast time passes; at 40 many leases and reveals run out, at 1 none. */
  constructor(seed: number, size: number, liars: number, pace = 40) {
    this.#seed = seed;
    this.#pace = pace;
    this.members = Array.from({ length: size }, (_, i) => ({
      address: id(`m${i}`),
      // Two machines to an owner, here and there.
      owner: id(`m${i % 5 === 0 && i > 0 ? i - 1 : i}`),
      isLiar: i < liars,
      contributor: {
        ...{ stake: 0n, agreed: 0, rejected: 0, faults: 0, strikes: 0 },
        ...{ lastRejectedAt: null, outlawedAt: null, trustedAt: null },
      },
      device: { verified: 0, streak: 0, alone: 0, faults: 0 },
    }));
    for (let i = 0; i < 12; i++) this.units.push(consensus.newUnit(benchRules));
  }

  random(): number {
    this.#seed = (Math.imul(this.#seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.imul(this.#seed ^ (this.#seed >>> 15), 0x2c1b3c6d) >>> 0;
  }

  below(n: number): number {
    return Math.floor((this.random() / 2 ** 32) * n);
  }

  get climate(): Climate {
    const judged = this.members.filter((m) => m.contributor.agreed + m.contributor.rejected > 0).length;
    const liars = this.members.filter((m) => m.contributor.faults > 0).length;
    const provenOnline = this.members.filter((m) => isProven(this.standing(m), rules)).length;
    return { judged, liars, online: this.members.length, provenOnline, refereesOnline: 0 };
  }

  standing(member: Member) {
    return standingOf(member.contributor, member.device, false);
  }

  step(): void {
    this.now += this.below(this.#pace);
    const at = this.below(this.units.length);
    const unit = this.units[at] as UnitState;
    const open = unit.replicas.filter((r) => r.state === 'leased' || r.state === 'committed');
    const replica = open[this.below(Math.max(1, open.length))];
    switch (this.below(6)) {
      case 0:
      case 1:
      case 2:
        return this.#lease(at, unit);
      case 3:
        if (replica?.state === 'leased')
          this.#apply(
            at,
            consensus.commit(unit, replica.assignment, this.now, benchRules, this.#hints(unit)),
          );
        else if (replica) this.#reveal(at, unit, replica);
        return;
      case 4:
        if (unit.phase === 'agreed') {
          const rechecks = rechecksAfter(unit, false, this.climate, this.random(), rules);
          this.#apply(at, consensus.accept(unit, Math.max(rechecks, this.below(2))));
        } else if (replica?.state === 'committed') this.#reveal(at, unit, replica);
        return;
      default:
        return this.#apply(at, consensus.tick(unit, this.now, benchRules, this.#hints(unit)));
    }
  }

  #hints(unit: UnitState) {
    return { audit: auditUnanimous(unit, this.climate, this.random(), rules, benchRules) };
  }

  #lease(at: number, unit: UnitState): void {
    const member = this.members[this.below(this.members.length)] as Member;
    const standing = this.standing(member);
    const { climate } = this;
    if (!mayTake(seatOf(unit, climate, 0, rules, benchRules), standing, rules)) return;
    const plan = consensus.isUndecided(unit) ? decide(standing, climate, this.random(), rules) : null;
    const assignment = id(`a${this.#assignments++}`);
    const { address: contributor, owner } = member;
    const grant = { assignment, contributor, owner, weight: weightOf(standing, rules) };
    const asked = {
      ...grant,
      deadline: this.now + 400,
      duplicate: this.below(8) === 0,
      ...(plan ? { plan } : {}),
    };
    this.#apply(at, consensus.grantLease(unit, asked, benchRules));
  }

  #reveal(at: number, unit: UnitState, { assignment, contributor }: Replica): void {
    const member = this.#member(contributor);
    const lies = member.isLiar && this.below(3) > 0;
    const digest = lies ? `lie ${this.below(2)}` : truth;
    const hints = this.#hints(unit);
    const step =
      this.below(20) === 0
        ? consensus.withhold(unit, assignment, 'it does not open', this.now, benchRules, hints)
        : consensus.reveal(unit, assignment, digest, this.now, benchRules, hints);
    this.#apply(at, step);
  }

  #member(address: Hex): Member {
    return this.members.find((each) => each.address === address) as Member;
  }

  #apply(at: number, step: Step): void {
    if (!step.ok) {
      expect(step.reason).not.toBe('');
      return;
    }
    const before = this.units[at] as UnitState;
    this.units[at] = step.unit;
    for (const { reason } of step.transitions) expect(reason).not.toBe('');
    const outlawed: Member[] = [];
    for (const { contributor, event } of judge(before, step, this.climate, rules, benchRules)) {
      const member = this.#member(contributor);
      const was = member.contributor.outlawedAt;
      Object.assign(member, standingAfter(member, event, this.now, rules));
      if (was === null && member.contributor.outlawedAt !== null) outlawed.push(member);
    }
    this.#check(before, step.unit);
    for (const liar of outlawed) this.#expel(liar);
  }

  #expel({ address }: Member): void {
    this.units.forEach((unit, at) => {
      if (!unit.replicas.some((r) => r.contributor === address)) return;
      this.#apply(at, consensus.expel(unit, address, 'a liar', this.now, benchRules));
      const next = this.units[at] as UnitState;
      if (next.phase === 'accepted') this.#apply(at, consensus.recheck(next, 1, 'a liar', address));
    });
  }

  #check(before: UnitState, unit: UnitState): void {
    const live = unit.replicas.filter((r) => !consensus.mayTryAgain(r.state) && r.state !== 'void');
    const voters = live.filter((r) => r.digest !== null || r.state !== 'rejected');
    expect(new Set(voters.map((r) => r.owner)).size).toBe(voters.length);
    if (unit.phase !== 'agreed' || before.phase === 'agreed') return;
    const cast = live.filter((r) => r.digest !== null && r.weight > 0);
    const winners = cast.filter((r) => r.digest === unit.digest);
    const alone = unit.quorum === 1 && winners.some((r) => r.weight >= benchRules.provenWeight);
    expect(winners.length).toBeGreaterThanOrEqual(alone ? 1 : 2);
    const honest = cast.filter((r) => r.digest === truth);
    // Where the honest have two thirds, uncapped or by heads, a verdict is theirs.
    if (cast.length > 1 && share(honest, cast) && 3 * honest.length >= 2 * cast.length)
      expect(unit.digest).toBe(truth);
  }
}

function share(some: readonly Replica[], all: readonly Replica[]): boolean {
  const weigh = (replicas: readonly Replica[]) => replicas.reduce((sum, r) => sum + r.weight, 0);
  return 3 * weigh(some) >= 2 * weigh(all);
}

test('no owner votes twice, an outlaw never counts, and an honest two thirds are never outvoted', () => {
  const seeds = fc.record({
    seed: fc.nat(2 ** 31),
    size: fc.integer({ min: 2, max: 40 }),
    share: fc.nat(60),
  });
  fc.assert(
    fc.property(seeds, ({ seed, size, share: percent }) => {
      const network = new Network(seed, size, Math.floor((size * percent) / 100));
      for (let i = 0; i < steps; i++) network.step();
      for (const member of network.members) {
        if (member.contributor.outlawedAt === null) continue;
        expect(weightOf(network.standing(member), rules)).toBe(0);
        const grant = seatOf(consensus.newUnit(benchRules), network.climate, 0, rules, benchRules);
        expect(mayTake(grant, network.standing(member), rules)).toBe(false);
      }
    }),
    { numRuns: 40 },
  );
});

test('without liars nobody is outlawed and nothing false is accepted; all units are decided', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 31), (seed) => {
      const network = new Network(seed, 30, 0, 1);
      const ends: readonly string[] = ['accepted', 'agreed', 'failed'];
      const isOver = () => network.units.every(({ phase }) => ends.includes(phase));
      // Chance may leave one unit behind for a while, never for long.
      for (let i = 0; i < 2 * steps || (i < 20 * steps && !isOver()); i++) network.step();
      expect(network.members.every((m) => m.contributor.faults === 0)).toBe(true);
      for (const unit of network.units) {
        expect(unit.digest ?? truth).toBe(truth);
        // Reveals are withheld now and then, liars or not; only a unit that has run into them is given up.
        if (unit.phase !== 'failed') continue;
        expect(unit.replicas.filter(({ state }) => state === 'withheld').length).toBeGreaterThan(0);
      }
      expect(isOver()).toBe(true);
    }),
    { numRuns: 20 },
  );
});

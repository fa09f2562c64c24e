/**
 * One seeded run: contributors that come, compute, lie, stall and vanish, over a coordinator that is sometimes down. Checks afterwards what must
 * hold whatever happened; a failure names the seed that replays it.
 */
import { type Cid, cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import { defaultRules } from '#coordinator/consensus/consensus.ts';
import { balances, firstBreak, genesis, sealEntries } from '#coordinator/ledger/ledger.ts';
import { floatToBits } from '#coordinator/planner/optimiser.ts';
import { createPlan } from '#coordinator/planner/plan.ts';
import { mix } from '#coordinator/planner/random.ts';
import { defaultSchedulerRules } from '#coordinator/scheduler/scheduler.ts';
import type { Job } from '#protocol/messages/job.ts';
import type { Hex } from 'viem';
import { honestDigest, honestOutputs, type Lease, SimCoordinator, type SimUnit } from './coordinator.ts';
import { Dice, Timeline } from './time.ts';

/** How the dishonest behave. `mixed` deals one of the others to each. */
export const strategies = ['random', 'withholder', 'copycat', 'free-rider', 'colluder'] as const;
export type Strategy = (typeof strategies)[number];

export interface SimOptions {
  contributors: number;
  /** Share of the dishonest, 0..1. */
  liars: number;
  strategy: Strategy | 'mixed';
  rounds: number;
  lanes: number;
  seed: number;
}

export interface SimReport extends SimOptions {
  simulatedSeconds: number;
  events: number;
  unitsAccepted: number;
  /** Accepted with another digest than an honest one. */
  wrongAccepted: number;
  unitsSplit: number;
  replicasUsed: number;
  replicasPerUnit: number;
  leasesLost: number;
  downtimes: number;
  creditHonest: number;
  creditDishonest: number;
  /** What does not hold; empty in a good run. */
  faults: string[];
}

const hourMs = 3_600_000;
/** Simulated time after which a run counts as stuck. */
const patienceMs = 48 * hourMs;
const mean = { latency: 80, away: 300_000, stay: 1_200_000, downtime: 400_000, down: 20_000 };

interface Actor {
  address: Hex;
  strategy: Strategy | null;
  /** Operations a millisecond. */
  speed: number;
  online: boolean;
  /** Grows with every departure: what was under way then is gone. */
  life: number;
  busy: boolean;
  digests: Map<Hex, Cid>;
}

export function simulate(options: SimOptions): SimReport {
  return new Simulation(options).run();
}

class Simulation {
  readonly #options: SimOptions;
  readonly #dice: Dice;
  readonly #time = new Timeline();
  readonly #actors = new Map<Hex, Actor>();
  readonly #initial = cidOfSync(new TextEncoder().encode('initial'), rawCode);
  readonly #plan;
  readonly #coordinator: SimCoordinator;
  #events = 0;
  #assignments = 0;
  #online = 0;
  #isDown = false;
  #downtimes = 0;

  constructor(options: SimOptions) {
    this.#options = options;
    this.#dice = new Dice(options.seed);
    this.#plan = createPlan(jobOf(options), textOf(options));
    const setup = { plan: this.#plan, initial: this.#initial, rounds: options.rounds };
    this.#coordinator = new SimCoordinator(
      { ...setup, rules: defaultRules, scheduling: { ...defaultSchedulerRules, newcomerSpeed: 50 } },
      {
        opened: (assignment, contributor) => this.#opened(assignment, contributor),
        agreed: (unit) => this.#agreed(unit),
      },
    );
  }

  run(): SimReport {
    for (let i = 0; i < this.#options.contributors; i++) this.#addActor(i);
    this.#later(1_000, () => this.#sweep());
    this.#later(this.#dice.wait(mean.downtime), () => this.#goDown());
    while (!this.#coordinator.isDone && this.#time.now < patienceMs && this.#time.step()) this.#events++;
    return this.#report();
  }

  #addActor(index: number): void {
    const { contributors, liars, strategy } = this.#options;
    const dishonest = index < Math.round(contributors * liars);
    const dealt = strategy === 'mixed' ? (strategies[index % strategies.length] as Strategy) : strategy;
    const actor: Actor = {
      address: `0x${(index + 1).toString(16).padStart(40, '0')}`,
      strategy: dishonest ? dealt : null,
      speed: 20 * 8 ** this.#dice.fraction(),
      online: false,
      life: 0,
      busy: false,
      digests: new Map(),
    };
    this.#actors.set(actor.address, actor);
    this.#later(this.#dice.wait(30_000), () => this.#arrive(actor));
  }

  #later(ms: number, run: () => void): void {
    this.#time.after(ms, run);
  }

  #arrive(actor: Actor): void {
    actor.online = true;
    this.#online++;
    this.#later(this.#dice.wait(mean.stay), () => this.#depart(actor));
    this.#ask(actor);
  }

  /** Half of those who leave do so without a word; all come back some time. */
  #depart(actor: Actor): void {
    actor.online = false;
    this.#online--;
    actor.busy = false;
    actor.life++;
    if (this.#dice.chance(0.5)) actor.digests.clear();
    this.#later(this.#dice.wait(mean.away), () => this.#arrive(actor));
  }

  #goDown(): void {
    this.#isDown = true;
    this.#downtimes++;
    this.#later(this.#dice.wait(mean.down), () => {
      this.#isDown = false;
      this.#coordinator.afterDowntime(this.#time.now, 30_000);
      this.#later(this.#dice.wait(mean.downtime), () => this.#goDown());
    });
  }

  #sweep(): void {
    if (!this.#isDown) this.#coordinator.tick(this.#time.now);
    this.#later(1_000, () => this.#sweep());
  }

  /** Sends a message that arrives after some time, unless the sender is gone or the coordinator is down by then: then it is sent again. */
  #send(actor: Actor, deliver: () => void): void {
    const { life } = actor;
    this.#later(this.#dice.wait(mean.latency), () => {
      if (actor.life !== life || !actor.online) return;
      if (this.#isDown) this.#later(2_000, () => this.#send(actor, deliver));
      else deliver();
    });
  }

  #ask(actor: Actor): void {
    if (!actor.online || actor.busy) return;
    this.#send(actor, () => {
      if (actor.busy) return;
      const assignment: Hex = `0x${(++this.#assignments).toString(16).padStart(64, '0')}`;
      const lease = this.#coordinator.lease(
        actor.address,
        assignment,
        this.#dice.u32(),
        this.#time.now,
        this.#online,
      );
      if (!lease) return this.#later(2_000 + this.#dice.wait(3_000), () => this.#ask(actor));
      actor.busy = true;
      this.#compute(actor, lease);
    });
  }

  #compute(actor: Actor, lease: Lease): void {
    const { life } = actor;
    const straggles = this.#dice.chance(0.02) ? 20 : 1;
    const effort = actor.strategy === 'free-rider' || actor.strategy === 'copycat' ? 0.01 : straggles;
    this.#later((lease.unit.operations / actor.speed) * effort, () => {
      if (actor.life !== life) return;
      this.#send(actor, () => {
        actor.busy = false;
        const digest = this.#digestOf(actor, lease);
        if (this.#dice.chance(0.01)) this.#coordinator.release(lease.assignment, this.#time.now);
        else if (this.#coordinator.commit(actor.address, lease.assignment, this.#time.now)) {
          actor.digests.set(lease.assignment, digest);
        }
        this.#ask(actor);
      });
    });
  }

  #digestOf(actor: Actor, { unit, assignment }: Lease): Cid {
    const made = (text: string) => cidOfSync(new TextEncoder().encode(text), rawCode);
    switch (actor.strategy) {
      case 'random':
      case 'free-rider':
        return made(`wrong ${assignment}`);
      case 'colluder':
        return made(`wrong ${unit.cid}`);
      default:
        return honestDigest(unit.cid);
    }
  }

  #opened(assignment: Hex, contributor: Hex): void {
    const actor = this.#actors.get(contributor) as Actor;
    this.#later(this.#dice.wait(mean.latency), () => {
      const digest = actor.digests.get(assignment);
      if (digest === undefined || actor.strategy === 'withholder') return;
      this.#send(actor, () => {
        // A copied commitment is bound to somebody else's name: it opens nothing.
        if (actor.strategy === 'copycat') this.#coordinator.spoil(assignment, this.#time.now);
        else this.#coordinator.reveal(assignment, digest, this.#time.now);
      });
    });
  }

  #agreed(unit: SimUnit): void {
    this.#later(this.#dice.wait(5 * mean.latency), () => this.#coordinator.accept(unit, this.#time.now));
  }

  #report(): SimReport {
    const units = [...this.#coordinator.units.values()];
    const acceptedUnits = units.filter((unit) => unit.state.phase === 'accepted');
    const replicas = units.flatMap((unit) => unit.state.replicas);
    const used = replicas.filter((r) => ['agreed', 'rejected', 'revealed', 'withheld'].includes(r.state));
    const credit = this.#creditByHonesty();
    return {
      ...this.#options,
      simulatedSeconds: Math.round(this.#time.now / 1000),
      events: this.#events,
      unitsAccepted: acceptedUnits.length,
      wrongAccepted: acceptedUnits.filter((unit) => unit.state.digest !== honestDigest(unit.cid)).length,
      unitsSplit: units.filter((unit) => unit.state.splits > 0).length,
      replicasUsed: used.length,
      replicasPerUnit: used.length / Math.max(1, acceptedUnits.length),
      leasesLost: replicas.filter((r) => r.state === 'expired' || r.state === 'released').length,
      downtimes: this.#downtimes,
      ...credit,
      faults: this.#faults(),
    };
  }

  #creditByHonesty(): { creditHonest: number; creditDishonest: number } {
    let [creditHonest, creditDishonest] = [0, 0];
    for (const { contributor, amount } of this.#coordinator.credits) {
      if (this.#actors.get(contributor)?.strategy) creditDishonest += amount;
      else creditHonest += amount;
    }
    return { creditHonest, creditDishonest };
  }

  /** What must hold after any history in which liars do not collude. */
  #faults(): string[] {
    const faults: string[] = [];
    const check = (holds: boolean, fault: string) => {
      if (!holds) faults.push(fault);
    };
    const { strategy, rounds } = this.#options;
    check(this.#coordinator.isDone, 'the job did not finish');
    check(this.#coordinator.checkpoints.length === rounds, 'a round is missing');
    check(this.#ledgerHolds(), 'the ledger does not balance or its chain is broken');
    for (const { address, strategy: own } of this.#actors.values()) {
      const account = this.#coordinator.account(address);
      check(account.leased >= 0 && account.unsettled >= 0, `${address} has a negative count of leases`);
      if (own === 'colluder' || own === null) continue;
      check(account.agreed === 0, `${address}, a ${own}, was paid`);
    }
    if (strategy === 'colluder' || strategy === 'mixed') return faults;
    for (const unit of this.#coordinator.units.values()) {
      const { phase, digest } = unit.state;
      check(
        phase !== 'accepted' || digest === honestDigest(unit.cid),
        `${unit.cid} was accepted with a wrong digest`,
      );
    }
    check(
      this.#honestCheckpoints().join() === this.#coordinator.checkpoints.join(),
      'a checkpoint differs from an honest run',
    );
    return faults;
  }

  #ledgerHolds(): boolean {
    const { credits, units } = this.#coordinator;
    const entries = credits.map((credit, i) => ({ ...credit, seq: i + 1, postedAt: 0 }));
    if (firstBreak(sealEntries({ seq: 0, hash: genesis }, entries)) !== null) return false;
    let owed = 0n;
    for (const { operations, state } of units.values()) {
      owed += BigInt(operations) * BigInt(state.replicas.filter((r) => r.state === 'agreed').length);
    }
    return [...balances(credits).values()].reduce((sum, balance) => sum + balance, 0n) === owed;
  }

  #honestCheckpoints(): Cid[] {
    const checkpoints: Cid[] = [];
    const cidOf = new Map(
      [...this.#coordinator.units.values()].map((unit) => [JSON.stringify(unit.slot), unit.cid]),
    );
    let state = this.#plan.start(this.#initial);
    for (
      let slot = this.#plan.due(state, this.#options.rounds)[0];
      slot;
      slot = this.#plan.due(state, this.#options.rounds)[0]
    ) {
      const cid = cidOf.get(JSON.stringify(slot));
      if (cid === undefined) break;
      state = this.#plan.apply(state, slot, honestOutputs(cid));
      if (slot.kind === 'outer') checkpoints.push(state.checkpoint);
    }
    return checkpoints;
  }
}

function jobOf({ lanes, seed }: SimOptions): Job {
  return {
    v: 1,
    kind: 'train',
    name: 'simulation',
    model: { L: 1, C: 8, NH: 1, T: 8, V: 256 },
    policy: 'i10sr',
    training: {
      ...{ lanes, steps: 4, batch: 2, heldOut: 4, warmup: 4 },
      ...{ lr: floatToBits(1e-3), beta1: floatToBits(0.9), beta2: floatToBits(0.99), eps: floatToBits(1e-8) },
      ...{ weightDecay: floatToBits(0.1), outerLr: floatToBits(1), outerMomentum: floatToBits(0.7) },
    },
    corpus: { size: 0, blocks: [] },
    seed: mix(seed),
  };
}

function textOf({ lanes }: SimOptions): Uint8Array {
  return new TextEncoder().encode('A line of text to be learnt by heart.\n'.repeat(10 * lanes));
}

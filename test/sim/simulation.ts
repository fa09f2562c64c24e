/**
 * One seeded run: contributors that come, compute, lie, stall and vanish, over a coordinator that is sometimes down and partly cut off. Says afterwards
 * what it came to and what does not hold; a failure names the seed that replays it.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Outcome } from '#protocol/messages/frames.ts';
import { defaultRecordRules, type RecordRules } from '#coordinator/record/rules.ts';
import type { Hex } from 'viem';
import {
  type Answer,
  type Intent,
  type Opens,
  createTactic,
  Rings,
  type Sight,
  type Strategy,
  type Task,
} from './adversaries.ts';
import type { Authority, Lease, Sink } from './authority.ts';
import { BoincAuthority } from './boinc.ts';
import { cheapContents, type Contents, exactContents, unbound } from './contents.ts';
import { Feed } from './feed.ts';
import { Measures, type StrategyReport, type Tally } from './measures.ts';
import { type Actor, Population, type Submission } from './population.ts';
import { RecordAuthority } from './record-authority.ts';
import { Dice, Timeline } from './time.ts';
import { Weather } from './weather.ts';

export interface SimOptions {
  contributors: number;
  units: number;
  /** Share of the dishonest, 0..1. */
  liars: number;
  strategy: Strategy | 'mixed';
  seed: number;
  /** Lanes a round. */
  lanes?: number;
  referees?: number;
  /** Real CIDs, commitments and plans; for small runs. */
  exact?: boolean;
  model?: 'ours' | 'boinc';
  /** Accepted results are shown to nobody until the plan goes on from them. */
  isSealed?: boolean;
  /** Commitments are bound to assignment and contributor. */
  isBound?: boolean;
  /** The coordinator tells network prefixes apart. */
  isPrefixed?: boolean;
}

export interface SimReport extends Required<SimOptions> {
  simulatedSeconds: number;
  events: number;
  crashes: number;
  rounds: number;
  unitsAccepted: number;
  /** Accepted with a false digest: ever, when the plan went on with it, and at the end. */
  wrongEver: number;
  wrongPublished: number;
  wrongStanding: number;
  overturned: number;
  /** Checkpoints that honest contributors alone would not have come to. */
  wrongCheckpoints: number;
  /** Committed results of whatever purpose for each accepted unit: over all, and over the second half. */
  replicasPerUnit: number;
  replicasPerUnitWarm: number;
  leasesPerUnit: number;
  strategies: Partial<Record<Strategy | 'honest', StrategyReport>>;
  /** What does not hold; empty in a good run. */
  faults: string[];
}

/** Simulated time without any unit accepted after which a run counts as stuck. */
const patienceMs = 2 * 3_600_000;
const sweepMs = 1_000;
/** How often it is asked whether second looks are still open, once all work is done: that takes a walk over all units. */
const quietMs = 30_000;
/** One in so many computations takes this many times as long. */
const straggler = { chance: 0.02, factor: 10 };
const releaseChance = 0.005;
/** A key that is outlawed is replaced after this long, by those who know how. */
const renewMs = 10 * 60_000;
const renews: ReadonlySet<Strategy | null> = new Set(['sybil', 'free-rider']);
/** A contributor has so many units in hand, busy or held back. */
const handsMax = 4;
/** Half of those who leave forget what they have committed to. */
const forgetChance = 0.5;
const honestIntent: Intent = { effort: 1, holdMs: 0 };
/** Mean time until the agreed outputs are stored. */
const pullMs = 400;
/** Who forges an opening waits this long for others to reveal. */
const listenMs = 5_000;
/** Who listens to others' sockets. */
const listeners: ReadonlySet<Strategy> = new Set(['copycat', 'equivocator']);

class Wire {
  readonly committed = new Map<Cid, Submission>();
  readonly revealed = new Map<Cid, { digest: Cid; salt: Hex }>();

  forget(unit: Cid): void {
    this.committed.delete(unit);
    this.revealed.delete(unit);
  }
}

const defences = { isSealed: true, isBound: true, isPrefixed: true };

export function withDefaults(options: SimOptions): Required<SimOptions> {
  return { lanes: 50, referees: 2, exact: false, model: 'ours', ...defences, ...options };
}

/** `tune` changes the rules: to switch a defence off, and see what it is for. */
export function simulate(options: SimOptions, tune: Tune = (rules) => rules): SimReport {
  return new Simulation(withDefaults(options), tune).run();
}

export type Tune = (rules: RecordRules) => RecordRules;

class Simulation {
  readonly #options: Required<SimOptions>;
  readonly #dice: Dice;
  readonly #time = new Timeline();
  readonly #contents: Contents;
  readonly #population: Population;
  readonly #weather: Weather;
  readonly #feed: Feed;
  readonly #measures: Measures;
  readonly #authority: Authority;
  readonly #submissions = new Map<Hex, Submission>();
  /** The last commitment and reveal for each open unit, for those who listen; kept only when somebody does. */
  readonly #wire: Wire | null;
  #events = 0;
  #assignments = 0;
  #acceptedAt = 0;
  #isQuiet = false;
  #quietAt = 0;

  constructor(options: Required<SimOptions>, tune: Tune) {
    this.#options = options;
    this.#dice = new Dice(options.seed, 1);
    const contents = options.exact ? exactContents : cheapContents;
    this.#contents = options.isBound ? contents : unbound(contents);
    this.#measures = new Measures(this.#contents, options.units);
    this.#population = new Population(options, new Dice(options.seed, 2), this.#contents);
    this.#weather = new Weather(this.#time, new Dice(options.seed, 3), this.#population, {
      arrived: (actor) => this.#arrived(actor),
      departed: (actor) => this.#departed(actor),
      left: (actor) => this.#authority.leave(actor.identity.address, this.#time.now),
      restarted: (graceMs) => this.#authority.resume(this.#time.now, graceMs),
    });
    this.#authority = this.#createAuthority(tune);
    const jobs = Math.max(1, Math.ceil((4 * options.contributors) / options.lanes));
    this.#feed = new Feed(
      { ...options, jobs: Math.min(jobs, Math.ceil(options.units / options.lanes)) },
      this.#contents,
      {
        plan: (units) => this.#authority.add(units, this.#time.now),
        publish: (units) => {
          this.#measures.published(units);
          this.#authority.publish(units, this.#time.now);
        },
      },
    );
    this.#wire = this.#population.actors.some(({ strategy }) => strategy && listeners.has(strategy))
      ? new Wire()
      : null;
    const sight = this.#sight();
    const rings = new Rings();
    for (const actor of this.#population.actors) {
      if (actor.strategy) actor.tactic = createTactic(actor.strategy, sight, rings);
    }
  }

  #createAuthority(tune: Tune): Authority {
    const sink: Sink = {
      opened: (assignment) => this.#opened(assignment),
      agreed: (unit, attempt) => this.#agreed(unit, attempt),
      accepted: (unit, digest) => {
        this.#measures.accepted(unit, digest);
        this.#acceptedAt = this.#time.now;
        this.#wire?.forget(unit);
      },
      overturned: (unit) => this.#measures.overturned(unit),
      settled: (unit, digest) => this.#feed.settled(unit, digest),
      verdict: (assignment, _contributor, outcome) => this.#verdict(assignment, outcome),
      outlawed: (contributor) => this.#outlawed(this.#actorOf(contributor)),
    };
    if (this.#options.model === 'boinc') return new BoincAuthority(sink);
    const scheduling = { ...defaultRecordRules.scheduling, newcomerSpeed: 50 };
    const referees = this.#population.actors.filter(({ identity }) => identity.isReferee);
    const known = new Set(referees.map(({ identity }) => identity.address));
    const rules = tune({ ...defaultRecordRules, scheduling, referees: known });
    const dice = new Dice(this.#options.seed, 5);
    const { isSealed } = this.#options;
    return new RecordAuthority(sink, this.#contents, { rules, isSealed, random: () => dice.u32() });
  }

  #sight(): Sight {
    return {
      contents: this.#contents,
      dice: new Dice(this.#options.seed, 4),
      now: () => this.#time.now,
      look: (unit) => this.#authority.look(unit),
      overheard: (unit) => this.#wire?.committed.get(unit)?.commitment ?? null,
      revealed: (unit) => this.#wire?.revealed.get(unit) ?? null,
    };
  }

  #actorOf(address: Hex): Actor {
    return this.#population.byAddress.get(address) as Actor;
  }

  run(): SimReport {
    this.#feed.begin();
    this.#weather.begin();
    this.#time.after(sweepMs, () => this.#sweep());
    const isStuck = () => this.#time.now - this.#acceptedAt > patienceMs;
    const isOver = () => this.#feed.open === 0 && this.#isQuiet;
    while (!isOver() && !isStuck() && this.#time.step()) this.#events++;
    return this.#report();
  }

  #sweep(): void {
    if (!this.#weather.isDown) this.#authority.tick(this.#time.now, () => this.#population.online());
    // All work is done: second looks that are still open are waited for.
    if (this.#feed.open === 0 && this.#time.now >= this.#quietAt) {
      this.#isQuiet = this.#authority.isQuiet();
      this.#quietAt = this.#time.now + quietMs;
    }
    this.#time.after(sweepMs, () => this.#sweep());
  }

  #arrived(actor: Actor): void {
    this.#weather.send(actor, () => {
      if (actor.isOutlawed) return;
      this.#authority.greet(actor.identity, this.#time.now);
      for (const submission of actor.open.values()) if (submission.isOpened) this.#reveal(submission);
      this.#ask(actor);
    });
  }

  #departed(actor: Actor): void {
    actor.inHand = 0;
    actor.isAsking = false;
    if (!this.#dice.chance(forgetChance)) return;
    for (const submission of actor.open.values()) this.#forget(submission, false);
  }

  #ask(actor: Actor, afterMs = 0): void {
    if (!actor.isOnline || actor.isAsking || actor.isOutlawed || actor.inHand >= handsMax) return;
    actor.isAsking = true;
    this.#weather.send(actor, () => this.#lease(actor), afterMs);
  }

  #lease(actor: Actor): void {
    actor.isAsking = false;
    const assignment = this.#contents.assignment(++this.#assignments);
    const [random, now, { online }] = [this.#dice.u32(), this.#time.now, this.#weather];
    const asked = this.#authority.lease(actor.identity, assignment, random, now, online);
    if (asked.type === 'lease') this.#begin(actor, asked.lease);
    else if (asked.outlawed) this.#outlawed(actor);
    // Who holds all that one may hold has time; who has nothing to do asks sooner.
    else
      this.#ask(actor, Math.max(actor.inHand > 0 ? 20_000 : 4_000, asked.retryMs) + this.#dice.wait(4_000));
  }

  /** Works on a lease, then commits and asks for the next; an honest contributor does one at a time. */
  #begin(actor: Actor, { assignment, unit, ms }: Lease): void {
    this.#measures.leased();
    const { tactic } = actor;
    const operations = this.#feed.operationsOf(unit);
    const computeMs = operations / actor.speed;
    const task = { assignment, unit, leaseMs: ms, computeMs };
    const { effort, holdMs } = tactic ? tactic.begin(task) : honestIntent;
    const slow = this.#dice.chance(straggler.chance) ? straggler.factor : 1;
    actor.inHand++;
    const deliver = () => {
      actor.work += operations * effort;
      actor.inHand--;
      this.#finish(actor, task);
      if (!actor.isAsking && !actor.isOutlawed) this.#lease(actor);
    };
    const lost = () => tactic?.over(task, false);
    this.#weather.send(actor, deliver, computeMs * effort * slow + holdMs, lost);
    if (effort === 0) this.#ask(actor);
  }

  /** The result arrives: as a commitment, or the lease is given back, or nothing comes at all. */
  #finish(actor: Actor, task: Task): void {
    const { tactic, identity } = actor;
    const { assignment, unit } = task;
    const contributor = identity.address;
    const answer: Answer | null = tactic ? tactic.answer(task) : { digest: this.#contents.honest(unit) };
    if (answer === null) return tactic?.over(task, false);
    if (!tactic && this.#dice.chance(releaseChance)) {
      return this.#authority.release(assignment, contributor, this.#time.now);
    }
    const { digest, copied } = answer;
    const salt = this.#contents.salt(this.#dice.u32());
    const commitment = copied ?? this.#contents.commitment(assignment, contributor, salt, digest);
    const isFalse = !this.#contents.isHonest(unit, digest);
    const made = { ...task, actor, contributor, digest, salt, commitment, isFalse, isOpened: false };
    this.#commit(made);
  }

  #commit(submission: Submission): void {
    const { actor, assignment, contributor, commitment, digest, unit } = submission;
    // Known before the coordinator answers: with one replica wanted, the open frame comes at once.
    this.#submissions.set(assignment, submission);
    actor.open.set(assignment, submission);
    this.#wire?.committed.set(unit, submission);
    if (this.#authority.commit({ assignment, contributor, commitment, digest }, this.#time.now)) {
      this.#measures.committed(submission);
    } else {
      this.#submissions.delete(assignment);
      this.#forget(submission, false);
    }
  }

  #opened(assignment: Hex): void {
    const submission = this.#submissions.get(assignment);
    if (!submission) return;
    submission.isOpened = true;
    this.#reveal(submission);
  }

  /** The open frame is on its way to a contributor that is there; the opening comes back. */
  #reveal(submission: Submission): void {
    const { actor, assignment } = submission;
    if (!actor.isOnline || !actor.open.has(assignment)) return;
    const opens = actor.tactic?.opens(submission) ?? 'reveal';
    if (opens === 'never') return;
    const deliver = () => this.#open(submission, opens);
    this.#weather.send(actor, deliver, opens === 'reveal' ? 0 : listenMs);
  }

  #open(submission: Submission, opens: Opens): void {
    const { assignment, contributor, unit } = submission;
    const now = this.#time.now;
    let { digest, salt } = submission;
    const heard = opens === 'reveal' ? undefined : this.#wire?.revealed.get(unit);
    if (heard) ({ digest, salt } = heard);
    if (heard && opens === 'equivocate') {
      const commitment = this.#contents.commitment(assignment, contributor, salt, digest);
      this.#authority.commit({ assignment, contributor, commitment, digest }, now);
    }
    if (!this.#authority.reveal({ assignment, contributor, salt, digest }, now)) return;
    submission.isFalse = !this.#contents.isHonest(unit, digest);
    if (this.#wire && !this.#wire.revealed.has(unit)) this.#wire.revealed.set(unit, { digest, salt });
  }

  #agreed(unit: Cid, attempt: number): void {
    const pull = () => {
      if (this.#weather.isDown) this.#time.after(pullMs, pull);
      else this.#authority.accept(unit, attempt, this.#time.now);
    };
    this.#time.after(this.#dice.wait(pullMs), pull);
  }

  #verdict(assignment: Hex, outcome: Outcome): void {
    const submission = this.#submissions.get(assignment);
    if (!submission) return;
    const { actor, contributor } = submission;
    this.#measures.judged(submission, outcome);
    const isAgreed = outcome === 'agreed';
    this.#forget(submission, isAgreed);
    this.#submissions.delete(assignment);
    if (isAgreed && contributor === actor.identity.address) actor.tactic?.told(++actor.agreed);
  }

  /** The contributor has it no more; the coordinator's verdict may still come. */
  #forget(submission: Submission, isAgreed: boolean): void {
    if (submission.actor.open.delete(submission.assignment))
      submission.actor.tactic?.over(submission, isAgreed);
  }

  #outlawed(actor: Actor): void {
    if (actor.isOutlawed) return;
    actor.isOutlawed = true;
    this.#measures.outlawed(actor);
    if (!renews.has(actor.strategy)) return;
    this.#time.after(renewMs, () => {
      this.#population.renew(actor);
      actor.tactic?.told(0);
      if (actor.isOnline) this.#arrived(actor);
    });
  }

  #report(): SimReport {
    const { total, warm } = this.#measures;
    const per = (name: 'replicas' | 'leases', tally: Tally) => tally[name] / Math.max(1, tally.accepted);
    const creditOf = (actor: Actor) =>
      actor.addresses.reduce((sum, address) => sum + this.#authority.credit(address), 0);
    return {
      ...this.#options,
      simulatedSeconds: Math.round(this.#time.now / 1000),
      events: this.#events,
      crashes: this.#weather.crashes,
      rounds: this.#feed.rounds,
      unitsAccepted: total.accepted,
      wrongEver: total.wrongEver,
      wrongPublished: total.wrongPublished,
      wrongStanding: this.#measures.wrongStanding,
      overturned: total.overturned,
      wrongCheckpoints: this.#feed.wrongCheckpoints(),
      replicasPerUnit: per('replicas', total),
      replicasPerUnitWarm: per('replicas', warm),
      leasesPerUnit: per('leases', total),
      strategies: this.#measures.byStrategy(this.#population.actors, creditOf),
      faults: this.#faults(),
    };
  }

  #faults(): string[] {
    const faults = this.#authority.faults();
    if (this.#feed.open > 0) faults.push(`the work did not finish: ${this.#feed.open} units are open`);
    else if (!this.#isQuiet) faults.push('second looks did not finish');
    return faults;
  }
}

/**
 * The work: jobs side by side, each of rounds as the real planner makes them (lanes of train.steps, train.outer over them, eval.loss beside the next
 * round), until enough units are planned. A round's next step follows when what it builds on is settled: accepted, and not under a second look.
 */
import { type Cid, cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import { workunitId } from '#protocol/messages/workunit.ts';
import { floatToBits } from '#coordinator/planner/optimiser.ts';
import { createPlan, type Plan, type PlanState, type Slot, slotKey } from '#coordinator/planner/plan.ts';
import { mix } from '#coordinator/planner/random.ts';
import type { Job } from '#protocol/messages/job.ts';
import type { PlannedUnit } from './authority.ts';
import { type Contents, outputsOf } from './contents.ts';

export interface FeedOptions {
  jobs: number;
  lanes: number;
  /** No further round begins once so many are planned. */
  units: number;
  seed: number;
  /** Units by the real planner, with real CIDs; otherwise of the same kinds with names that only count. */
  exact: boolean;
}

interface JobState {
  index: number;
  plan: Plan;
  state: PlanState;
  planned: Set<string>;
  /** Of the rounds that are not closed. */
  slots: Map<Cid, { slot: Slot; digest: Cid | null; isPublished: boolean }>;
  checkpoints: { round: number; checkpoint: Cid; outer: Cid }[];
}

export interface FeedEvents {
  plan(units: PlannedUnit[]): void;
  /** The plan builds on these now: what they came to is public. */
  publish(units: Cid[]): void;
}

/** Operations of a cheap unit, by what it is. */
const operations = { first: 400_000, train: 2_000_000, outer: 500_000, eval: 400_000 };
const programs = { first: 'eval.loss', train: 'train.steps', outer: 'train.outer', eval: 'eval.loss' };
const noBytes = new Uint8Array();
const initial = cidOfSync(new TextEncoder().encode('initial'), rawCode);

export class Feed {
  planned = 0;
  readonly operations = new Map<Cid, number>();
  readonly #options: FeedOptions;
  readonly #contents: Contents;
  readonly #events: FeedEvents;
  readonly #jobs: JobState[];
  readonly #jobOf = new Map<Cid, JobState>();

  constructor(options: FeedOptions, contents: Contents, events: FeedEvents) {
    this.#options = options;
    this.#contents = contents;
    this.#events = events;
    const shared = options.exact ? null : createPlan(jobOf(options, 0), textOf(options));
    this.#jobs = Array.from({ length: options.jobs }, (_, index) => {
      const plan = shared ?? createPlan(jobOf(options, index), textOf(options));
      const state = plan.start(initial);
      return { index, plan, state, planned: new Set(), slots: new Map(), checkpoints: [] };
    });
  }

  begin(): void {
    for (const job of this.#jobs) this.#planDue(job);
  }

  /** Units that are planned and not settled. */
  get open(): number {
    return this.#open;
  }
  #open = 0;

  operationsOf(unit: Cid): number {
    return this.#options.exact
      ? (this.operations.get(unit) as number)
      : operations[kinds[unit.charAt(0)] as keyof typeof operations];
  }

  /** The unit is accepted with this digest, and no recheck of it is open. */
  settled(unit: Cid, digest: Cid): void {
    const job = this.#jobOf.get(unit);
    const place = job?.slots.get(unit);
    if (!job || !place || place.digest !== null) return;
    place.digest = digest;
    this.#open--;
    const before = job.state;
    job.state = job.plan.apply(before, place.slot, outputsOf(digest, this.#contents));
    if (place.slot.kind === 'outer') {
      job.checkpoints.push({ round: place.slot.round, checkpoint: job.state.checkpoint, outer: unit });
    }
    const isStep = place.slot.kind !== 'train' || job.state.updates.every((update) => update !== null);
    if (isStep) this.#advance(job);
  }

  #advance(job: JobState): void {
    const done: Cid[] = [];
    for (const [unit, place] of job.slots) {
      const { slot, digest } = place;
      if (digest === null) continue;
      if (slot.kind === 'train' && slot.round === job.state.round && job.state.updates.includes(null))
        continue;
      if (!place.isPublished) done.push(unit);
      place.isPublished = true;
      if (slot.round < job.state.round || slot.kind !== 'train') this.#drop(job, unit, slot);
    }
    if (done.length > 0) this.#events.publish(done);
    this.#planDue(job);
  }

  #drop(job: JobState, unit: Cid, slot: Slot): void {
    job.slots.delete(unit);
    job.planned.delete(slotKey(slot));
    this.#jobOf.delete(unit);
  }

  #planDue(job: JobState): void {
    const units: PlannedUnit[] = [];
    const isOver = this.planned >= this.#options.units;
    for (const slot of job.plan.due(job.state, isOver ? job.state.round - 1 : Infinity)) {
      const key = slotKey(slot);
      if (job.planned.has(key)) continue;
      units.push(this.#build(job, slot));
      job.planned.add(key);
    }
    // A round that has begun is finished.
    if (isOver && job.state.updates.every((update) => update !== null)) {
      const slot: Slot = { round: job.state.round, kind: 'outer', lane: 0 };
      if (!job.planned.has(slotKey(slot))) {
        units.push(this.#build(job, slot));
        job.planned.add(slotKey(slot));
      }
    }
    if (units.length > 0) this.#events.plan(units);
  }

  #build(job: JobState, slot: Slot): PlannedUnit {
    this.planned++;
    this.#open++;
    let made: PlannedUnit;
    if (this.#options.exact) {
      const { unit, operations: exact } = job.plan.build(job.state, slot);
      const cid = workunitId(unit);
      made = { cid, bytes: noBytes, program: unit.program, operations: exact, job: job.index };
      this.operations.set(cid, exact);
    } else {
      const cid = `${slot.kind.charAt(0)}${this.planned.toString(36)}`;
      const { [slot.kind]: program } = programs;
      made = { cid, bytes: noBytes, program, operations: operations[slot.kind], job: job.index };
    }
    job.slots.set(made.cid, { slot, digest: null, isPublished: false });
    this.#jobOf.set(made.cid, job);
    return made;
  }

  /** Rounds of all jobs whose checkpoint is not what honest contributors alone would have come to; only for exact units. */
  wrongCheckpoints(): number {
    return this.#jobs.flatMap((job) =>
      job.checkpoints.filter(({ outer, checkpoint }) => {
        const honest = this.#contents.honest(outer);
        return checkpoint !== outputsOf(honest, this.#contents)['checkpoint'];
      }),
    ).length;
  }

  get rounds(): number {
    return this.#jobs.reduce((sum, job) => sum + job.checkpoints.length, 0);
  }
}

const kinds: Record<string, string> = { f: 'first', t: 'train', o: 'outer', e: 'eval' };

function jobOf({ lanes, seed }: FeedOptions, index: number): Job {
  return {
    v: 1,
    kind: 'train',
    name: `simulation ${index}`,
    model: { L: 1, C: 8, NH: 1, T: 8, V: 256 },
    policy: 'i10sr',
    training: {
      ...{ lanes, steps: 4, batch: 2, heldOut: 4, warmup: 4 },
      ...{ lr: floatToBits(1e-3), beta1: floatToBits(0.9), beta2: floatToBits(0.99), eps: floatToBits(1e-8) },
      ...{ weightDecay: floatToBits(0.1), outerLr: floatToBits(1), outerMomentum: floatToBits(0.7) },
    },
    corpus: { size: 0, blocks: [] },
    seed: mix(seed, index),
  };
}

function textOf({ lanes }: FeedOptions): Uint8Array {
  return new TextEncoder().encode('A line of text to be learnt by heart.\n'.repeat(10 * lanes));
}

/**
 * How the dishonest behave, each as cleverly as what it can know allows. Nobody sees the coordinator's dice, the wanted number of replicas, sealed
 * results or others' salts; everybody sees the code, the public API and what reaches its own sockets. Rings talk to each other at once and for free.
 *
 *   liar            computes nothing, tells a lie of its own every time
 *   free-rider      a popular cheating client: computes nothing; every copy of it makes up the same result for a unit
 *   sleeper         honest until ten of its results were found right, false ever after; sleepers tell the same lie
 *   occasional      a sleeper that lies in one unit of ten, to stay unnoticed
 *   sybil           one operator with many keys in few network prefixes; a ring (see colluder) that returns under a new key when outlawed
 *   colluder        a ring over many prefixes. Each member waits for another to get the same unit, and lies when two hold it; who gets a unit that
 *                   the ring has lied about (a replay) repeats the lie; honest otherwise, so that all of them earn trust. One whose fellow has
 *                   left withholds the lie rather than reveal it alone
 *   copycat         computes nothing: copies what the public API shows of the unit, else a commitment it overheard
 *   withholder      commits to nothing in particular and never opens it
 *   equivocator     commits to anything, overhears what others reveal, then sends a second commitment and opens that
 *   slow-loris      holds every lease to the last moment and gives nothing
 *   canary-hunter   a sleeper that looks every unit up first: copies the digest of one that is shown as accepted, and is honest where a replay is likely,
 *                   that is, where the unit is older than is usual
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import type { PublicUnit } from './authority.ts';
import type { Contents } from './contents.ts';
import type { Dice } from './time.ts';

export const strategies = [
  'liar',
  'free-rider',
  'sleeper',
  'occasional',
  'sybil',
  'colluder',
  'copycat',
  'withholder',
  'equivocator',
  'slow-loris',
  'canary-hunter',
] as const;
export type Strategy = (typeof strategies)[number];

/** A lease in the hands of a dishonest contributor. */
export interface Task {
  assignment: Hex;
  unit: Cid;
  leaseMs: number;
  /** How long computing it honestly takes. */
  computeMs: number;
}

/** What a dishonest contributor is able to see. */
export interface Sight {
  contents: Contents;
  dice: Dice;
  now(): number;
  look(unit: Cid): PublicUnit;
  /** Another's commitment for the unit, from a wire that it listens to. */
  overheard(unit: Cid): Hex | null;
  /** A digest that another has revealed for the unit, from the same wire. */
  revealed(unit: Cid): { digest: Cid; salt: Hex } | null;
}

/** What it does with a lease: computes for a share of the honest time, and holds back what it has for some more. */
export interface Intent {
  effort: number;
  holdMs: number;
}

/** `honest`: it had to compute for it. A commitment of its own stands where it has copied one. */
export interface Answer {
  digest: Cid;
  copied?: Hex;
}

export type Opens = 'reveal' | 'never' | 'forge' | 'equivocate';

export interface Tactic {
  /** Decides what to do with a lease. */
  begin(task: Task): Intent;
  /** What it commits to when the time has come; null: nothing at all. */
  answer(task: Task): Answer | null;
  opens(task: Task): Opens;
  /** Own results found right, under the present key. */
  told(agreed: number): void;
  /** The task is over, whatever came of it. */
  over(task: Task, isAgreed: boolean): void;
}

const honestWork: Intent = { effort: 1, holdMs: 0 };
const noWork: Intent = { effort: 0, holdMs: 0 };
/** Own results found right after which a sleeper wakes. */
export const sleepsUntil = 10;

export function createTactic(strategy: Strategy, sight: Sight, rings: Rings): Tactic {
  const { contents } = sight;
  const lies = (tag: (task: Task) => string, opens: Opens = 'reveal'): Tactic => ({
    begin: () => noWork,
    answer: (task) => ({ digest: contents.lie(task.unit, tag(task)) }),
    opens: () => opens,
    told: () => undefined,
    over: () => undefined,
  });
  switch (strategy) {
    case 'liar':
      return lies(({ assignment }) => assignment);
    case 'free-rider':
      return lies(() => 'free');
    case 'withholder':
      return lies(({ assignment }) => assignment, 'never');
    case 'equivocator':
      return lies(({ assignment }) => assignment, 'equivocate');
    case 'slow-loris':
      return {
        ...lies(() => ''),
        begin: ({ leaseMs }) => ({ effort: 0, holdMs: leaseMs * 0.99 }),
        answer: () => null,
      };
    case 'copycat':
      return copycat(sight);
    case 'sleeper':
      return sleeper(sight, () => true);
    case 'occasional':
      return sleeper(sight, () => sight.dice.chance(0.1));
    case 'canary-hunter':
      return canaryHunter(sight);
    case 'sybil':
      return colluder(sight, rings.of(strategy), 0);
    case 'colluder':
      return colluder(sight, rings.of(strategy), gambleChance);
  }
}

function sleeper({ contents }: Sight, wants: (task: Task) => boolean): Tactic {
  let agreed = 0;
  const lying = new Set<Hex>();
  return {
    begin(task) {
      if (agreed < sleepsUntil || !wants(task)) return honestWork;
      lying.add(task.assignment);
      return noWork;
    },
    answer: ({ assignment, unit }) => ({
      digest: lying.has(assignment) ? contents.lie(unit, 'sleeper') : contents.honest(unit),
    }),
    opens: () => 'reveal',
    told: (count) => void (agreed = count),
    over: ({ assignment }) => void lying.delete(assignment),
  };
}

function canaryHunter(sight: Sight): Tactic {
  const { look, now } = sight;
  const copied = new Map<Hex, Cid>();
  let usualAge: number | null = null;
  const base = sleeper(sight, ({ unit }) => {
    const age = now() - look(unit).plannedAt;
    const isUsual = usualAge === null || age <= 1.5 * usualAge;
    usualAge = usualAge === null ? age : usualAge + 0.1 * (age - usualAge);
    return isUsual;
  });
  return {
    ...base,
    begin(task) {
      const { digest } = look(task.unit);
      if (digest === null) return base.begin(task);
      copied.set(task.assignment, digest);
      return noWork;
    },
    answer(task) {
      const digest = copied.get(task.assignment);
      return digest === undefined ? base.answer(task) : { digest };
    },
    over(task, isAgreed) {
      copied.delete(task.assignment);
      base.over(task, isAgreed);
    },
  };
}

/** Waits as long as it can: somebody's result may become public meanwhile. */
function copycat({ contents, look, overheard }: Sight): Tactic {
  return {
    begin: ({ leaseMs }) => ({ effort: 0, holdMs: leaseMs * 0.8 }),
    answer({ unit, assignment }) {
      const { digest } = look(unit);
      if (digest !== null) return { digest };
      const copied = overheard(unit);
      const made = { digest: contents.lie(unit, assignment) };
      return copied === null ? made : { ...made, copied };
    },
    opens: () => 'forge',
    told: () => undefined,
    over: () => undefined,
  };
}

interface RingNote {
  /** Tasks of members that have not committed yet. */
  waiting: number;
  /** Members whose commitment, honest or not, may still be counted. */
  honest: number;
  lying: number;
}

/** What the members of a ring tell each other. */
export class Ring {
  readonly tag: string;
  readonly notes = new Map<Cid, RingNote>();
  /** Units of which a lie of the ring was believed. */
  readonly believed = new Set<Cid>();

  constructor(tag: string) {
    this.tag = tag;
  }
}

export class Rings {
  readonly #rings = new Map<string, Ring>();

  of(name: string): Ring {
    let ring = this.#rings.get(name);
    if (!ring) this.#rings.set(name, (ring = new Ring(name)));
    return ring;
  }
}

/** A member that is alone with a unit lies all the same so often, and takes it back if it stays alone: where seats are given one by one nobody waits beside it. */
const gambleChance = 0.03;

function colluder({ contents, dice }: Sight, ring: Ring, gamble: number): Tactic {
  /** What each open task is: not yet committed, or committed honestly, or to the lie. */
  const stages = new Map<Hex, 'waiting' | 'honest' | 'lied'>();
  const noteOf = (unit: Cid) => {
    let note = ring.notes.get(unit);
    if (!note) ring.notes.set(unit, (note = { waiting: 0, honest: 0, lying: 0 }));
    return note;
  };
  const wouldLie = (unit: Cid, { waiting, honest, lying }: RingNote) =>
    ring.believed.has(unit) || lying > 0 || (waiting >= 2 && honest === 0);
  return {
    begin({ assignment, unit, computeMs }) {
      const note = noteOf(unit);
      note.waiting++;
      stages.set(assignment, 'waiting');
      // Alone with the unit: computes, and then gives another member some time to get it too.
      return wouldLie(unit, note) ? noWork : { effort: 1, holdMs: computeMs };
    },
    answer({ assignment, unit }) {
      const note = noteOf(unit);
      const lie = wouldLie(unit, note) || (gamble > 0 && note.honest === 0 && dice.chance(gamble));
      note.waiting--;
      if (lie) note.lying++;
      else note.honest++;
      stages.set(assignment, lie ? 'lied' : 'honest');
      return { digest: lie ? contents.lie(unit, ring.tag) : contents.honest(unit) };
    },
    opens: ({ assignment, unit }) => {
      const isAlone = stages.get(assignment) === 'lied' && noteOf(unit).lying < 2 && !ring.believed.has(unit);
      return isAlone ? 'never' : 'reveal';
    },
    told: () => undefined,
    over({ assignment, unit }, isAgreed) {
      const note = noteOf(unit);
      const stage = stages.get(assignment);
      stages.delete(assignment);
      if (stage === 'waiting') note.waiting--;
      else if (stage === 'honest') note.honest--;
      else if (stage === 'lied') note.lying--;
      // The ring may see this unit again as a replay: then a lie that was believed stands alone safely.
      if (stage === 'lied' && isAgreed) ring.believed.add(unit);
      if (note.waiting + note.honest + note.lying === 0) ring.notes.delete(unit);
    },
  };
}

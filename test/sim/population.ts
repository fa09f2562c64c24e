/**
 * Who takes part: contributors of all speeds, half of whom vanish within minutes and come back some time; liars among them by lot; a few referees
 * that the operator runs. An actor may have had several keys, one after the other.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import type { Strategy, Tactic, Task } from './adversaries.ts';
import { strategies } from './adversaries.ts';
import type { Identity } from './authority.ts';
import type { Contents } from './contents.ts';
import type { Dice } from './time.ts';

export interface Submission extends Task {
  actor: Actor;
  contributor: Hex;
  digest: Cid;
  salt: Hex;
  commitment: Hex;
  isFalse: boolean;
  isOpened: boolean;
}

export interface Actor {
  readonly index: number;
  readonly strategy: Strategy | null;
  /** Operations a millisecond. */
  readonly speed: number;
  /** Stays for hours; the others leave within minutes. */
  readonly isSteady: boolean;
  identity: Identity;
  /** Every key that it has had. */
  readonly addresses: Hex[];
  tactic: Tactic | null;
  isOnline: boolean;
  /** Cut off from the coordinator until then. */
  cutUntil: number;
  /** Grows with every departure: what was under way then is gone. */
  life: number;
  inHand: number;
  isAsking: boolean;
  isOutlawed: boolean;
  agreed: number;
  /** Operations that it really did. */
  work: number;
  /** What it has committed to and not heard of again. */
  readonly open: Map<Hex, Submission>;
}

export interface PopulationOptions {
  contributors: number;
  /** Share of the dishonest, 0..1. */
  liars: number;
  strategy: Strategy | 'mixed';
  referees: number;
  isPrefixed: boolean;
}

/** Networks of the one who runs the sybils. */
const sybilPrefixes = 3;
const vendors = ['nvidia', 'amd', 'intel', 'apple', 'arm'];

export class Population {
  readonly actors: Actor[] = [];
  readonly byAddress = new Map<Hex, Actor>();
  readonly #dice: Dice;
  readonly #contents: Contents;
  readonly #isPrefixed: boolean;
  #keys = 0;

  constructor(options: PopulationOptions, dice: Dice, contents: Contents) {
    this.#dice = dice;
    this.#contents = contents;
    this.#isPrefixed = options.isPrefixed;
    const { contributors, liars, strategy, referees } = options;
    const dishonest = Math.round(contributors * liars);
    for (let index = 0; index < contributors + referees; index++) {
      const dealt = strategy === 'mixed' ? (strategies[index % strategies.length] as Strategy) : strategy;
      const isReferee = index >= contributors;
      this.#add(index, index < dishonest ? dealt : null, isReferee);
    }
  }

  #add(index: number, strategy: Strategy | null, isReferee: boolean): void {
    const actor: Actor = {
      index,
      strategy,
      speed: isReferee ? 2_000 : 20 * 8 ** this.#dice.fraction(),
      isSteady: isReferee || this.#dice.chance(0.5),
      identity: this.#identity(index, strategy, isReferee),
      addresses: [],
      tactic: null,
      isOnline: false,
      cutUntil: 0,
      life: 0,
      inHand: 0,
      isAsking: false,
      isOutlawed: false,
      agreed: 0,
      work: 0,
      open: new Map(),
    };
    this.actors.push(actor);
    this.#register(actor);
  }

  /** A new key of the same machine: it costs nothing, and nobody knows it. */
  renew(actor: Actor): void {
    actor.identity = this.#identity(actor.index, actor.strategy, false);
    actor.isOutlawed = false;
    actor.agreed = 0;
    this.#register(actor);
  }

  *online(): Iterable<Identity> {
    for (const actor of this.actors) if (actor.isOnline) yield actor.identity;
  }

  #register(actor: Actor): void {
    actor.addresses.push(actor.identity.address);
    this.byAddress.set(actor.identity.address, actor);
  }

  #identity(index: number, strategy: Strategy | null, isReferee: boolean): Identity {
    const address = this.#contents.address(++this.#keys);
    const known = strategy === 'sybil' ? `sybil${index % sybilPrefixes}` : `net${index}`;
    const prefix = this.#isPrefixed ? known : '';
    const vendor = vendors[this.#dice.below(vendors.length)] as string;
    return { address, owner: address, prefix, device: `d${index}`, vendor, isReferee };
  }
}

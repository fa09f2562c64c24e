/** One unit under test: applies steps of consensus by name, keeps the transitions, and throws on a refusal. */
import type { Hex } from 'viem';
import * as consensus from '../consensus/consensus.ts';
import type { Grant, Hints, Rules, Step, Transition, UnitState } from '../consensus/consensus.ts';

export const benchRules: Rules = { ...consensus.defaultRules, revealMs: 100, retryMs: 1_000 };

/** The assignment of a name; its contributor is `by(name)`. */
export const id = (name: string): Hex => `0x${Buffer.from(name).toString('hex')}`;
export const by = (name: string): Hex => id(`by ${name}`);

export class UnitBench {
  unit: UnitState;
  log: Transition[] = [];
  readonly rules: Rules;

  constructor(rules: Rules = benchRules) {
    this.rules = rules;
    this.unit = consensus.newUnit(rules);
  }

  do(step: Step): this {
    if (!step.ok) throw new Error(`${step.code}: ${step.reason}`);
    this.unit = step.unit;
    this.log.push(...step.transitions);
    return this;
  }

  tryLease(name: string, more: Partial<Grant> = {}): Step {
    const grant = { assignment: id(name), contributor: by(name), weight: 1, deadline: 50, ...more };
    return consensus.grantLease(this.unit, grant, this.rules);
  }

  lease(name: string, more: Partial<Grant> = {}): this {
    return this.do(this.tryLease(name, more));
  }

  commit(name: string, now = 10): this {
    return this.do(consensus.commit(this.unit, id(name), now, this.rules));
  }

  reveal(name: string, digest: string, now = 20, hints: Hints = {}): this {
    return this.do(consensus.reveal(this.unit, id(name), digest, now, this.rules, hints));
  }

  tick(now: number): this {
    return this.do(consensus.tick(this.unit, now, this.rules));
  }

  accept(rechecks = 0): this {
    return this.do(consensus.accept(this.unit, rechecks));
  }

  /** Leases, commits and reveals for each name; what they may be told apart by comes from `grants`. */
  round(votes: Record<string, string>, grants: Partial<Grant> = {}, hints: Hints = {}): this {
    for (const name of Object.keys(votes)) this.lease(name, grants);
    for (const name of Object.keys(votes)) this.commit(name);
    for (const [name, digest] of Object.entries(votes)) this.reveal(name, digest, 20, hints);
    return this;
  }

  states(): string[] {
    return this.unit.replicas.map((replica) => replica.state);
  }

  /** The last transition of a type. */
  last<T extends Transition['type']>(type: T): Extract<Transition, { type: T }> | undefined {
    return this.log.findLast((each) => each.type === type) as Extract<Transition, { type: T }> | undefined;
  }
}

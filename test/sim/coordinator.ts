/**
 * The coordinator of the simulation: the real planner, scheduler, consensus and ledger around state in memory. What the storage adapter does
 * with rows is done here with maps; durability is not simulated here (the kill tests do that), but downtime is.
 */
import { type Cid, cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import { workunitId } from '#protocol/messages/workunit.ts';
import {
  accept,
  afterDowntime,
  commit,
  dueAt,
  grantLease,
  mayTryAgain,
  newUnit,
  release,
  reveal,
  type Rules,
  type Step,
  tick,
  type UnitState,
  wanted,
  withhold,
} from '#coordinator/consensus/consensus.ts';
import { type Credit, creditsFor } from '#coordinator/ledger/ledger.ts';
import type { Plan, PlanState, Slot } from '#coordinator/planner/plan.ts';
import {
  admit,
  choose,
  leaseMs,
  type SchedulerRules,
  speedAfter,
  windowSize,
} from '#coordinator/scheduler/scheduler.ts';
import type { Hex } from 'viem';

export interface SimUnit {
  cid: Cid;
  slot: Slot;
  program: string;
  operations: number;
  state: UnitState;
}

export interface Account {
  strikes: number;
  lastRejectedAt: number | null;
  speed: number | null;
  leased: number;
  unsettled: number;
  agreed: number;
  rejected: number;
}

export interface SimEvents {
  opened(assignment: Hex, contributor: Hex): void;
  agreed(unit: SimUnit): void;
}

export interface Lease {
  assignment: Hex;
  unit: SimUnit;
  ms: number;
}

/** What an honest contributor computes for a unit. */
export function honestOutputs(unit: Cid): Record<string, Cid> {
  const made = (name: string) => cidOfSync(new TextEncoder().encode(`${unit}/${name}`), rawCode);
  return {
    update: made('update'),
    checkpoint: made('checkpoint'),
    loss: made('loss'),
    losses: made('losses'),
  };
}

export function honestDigest(unit: Cid): Cid {
  return cidOfSync(new TextEncoder().encode(JSON.stringify(honestOutputs(unit))), rawCode);
}

export class SimCoordinator {
  readonly units = new Map<Cid, SimUnit>();
  readonly accounts = new Map<Hex, Account>();
  readonly credits: Credit[] = [];
  readonly checkpoints: Cid[] = [];
  /** Not accepted yet. */
  readonly open = new Map<Cid, SimUnit>();
  readonly #leasedAt = new Map<Hex, { unit: SimUnit; at: number }>();
  readonly #plan: Plan;
  readonly #rounds: number;
  readonly #rules: Rules;
  readonly #scheduling: SchedulerRules;
  readonly #events: SimEvents;
  #state: PlanState;
  #planned = new Set<string>();

  constructor(
    setup: { plan: Plan; initial: Cid; rounds: number; rules: Rules; scheduling: SchedulerRules },
    events: SimEvents,
  ) {
    this.#plan = setup.plan;
    this.#rounds = setup.rounds;
    this.#rules = setup.rules;
    this.#scheduling = setup.scheduling;
    this.#events = events;
    this.#state = setup.plan.start(setup.initial);
    this.#planDue();
  }

  get isDone(): boolean {
    return this.#state.round > this.#rounds && this.open.size === 0;
  }

  lease(contributor: Hex, assignment: Hex, random: number, now: number, online: number): Lease | null {
    const account = this.account(contributor);
    const programs = new Set([...this.open.values()].map((unit) => unit.program));
    if (admit({ ...account, programs }, now, this.#scheduling).type === 'refused') return null;
    const wanting = [...this.open.values()].filter((unit) => wanted(unit.state) > 0);
    const candidates = wanting.slice(0, windowSize(online)).flatMap((unit) => {
      const own = unit.state.replicas.filter((r) => r.contributor === contributor);
      if (own.some((r) => !mayTryAgain(r.state))) return [];
      return [
        { unit: unit.cid, program: unit.program, operations: unit.operations, lostBefore: own.length > 0 },
      ];
    });
    const pick = choose(candidates, programs, random);
    if (!pick) return null;
    const unit = this.open.get(pick.unit) as SimUnit;
    const ms = leaseMs(unit.operations, account.speed, this.#scheduling);
    const step = grantLease(
      unit.state,
      { assignment, contributor, weight: 1, deadline: now + ms },
      this.#rules,
    );
    if (!this.#apply(unit, step)) return null;
    this.#leasedAt.set(assignment, { unit, at: now });
    account.leased++;
    account.unsettled++;
    return { assignment, unit, ms };
  }

  commit(contributor: Hex, assignment: Hex, now: number): boolean {
    const leased = this.#leasedAt.get(assignment);
    if (!leased || !this.#apply(leased.unit, commit(leased.unit.state, assignment, now, this.#rules)))
      return false;
    const account = this.account(contributor);
    account.leased--;
    account.speed = speedAfter(account.speed, leased.unit.operations, now - leased.at);
    return true;
  }

  reveal(assignment: Hex, digest: Cid, now: number): boolean {
    const unit = this.#leasedAt.get(assignment)?.unit;
    return unit !== undefined && this.#apply(unit, reveal(unit.state, assignment, digest, now, this.#rules));
  }

  spoil(assignment: Hex, now: number): boolean {
    const unit = this.#leasedAt.get(assignment)?.unit;
    if (!unit) return false;
    return this.#apply(
      unit,
      withhold(unit.state, assignment, 'it does not open the commitment', now, this.#rules),
    );
  }

  release(assignment: Hex, now: number): boolean {
    const unit = this.#leasedAt.get(assignment)?.unit;
    return (
      unit !== undefined && this.#apply(unit, release(unit.state, assignment, 'given back', now, this.#rules))
    );
  }

  tick(now: number): void {
    for (const unit of this.open.values()) {
      const due = dueAt(unit.state);
      if (due !== null && due < now) this.#apply(unit, tick(unit.state, now, this.#rules));
    }
  }

  /** The outputs have been pulled and stored. */
  accept(unit: SimUnit, now: number): void {
    const step = accept(unit.state);
    if (!this.#apply(unit, step)) return;
    this.open.delete(unit.cid);
    for (const replica of unit.state.replicas) {
      const account = this.account(replica.contributor);
      if (replica.state === 'agreed') {
        account.agreed++;
        account.strikes = Math.max(0, account.strikes - 1);
      } else if (replica.state === 'rejected') {
        account.rejected++;
        account.strikes++;
        account.lastRejectedAt = now;
      }
    }
    this.credits.push(...creditsFor(unit.cid, unit.operations, unit.state.replicas));
    this.#state = this.#plan.apply(this.#state, unit.slot, honestOutputs(unit.cid));
    if (unit.slot.kind === 'outer') this.checkpoints.push(this.#state.checkpoint);
    this.#planDue();
  }

  afterDowntime(now: number, graceMs: number): void {
    for (const unit of this.open.values()) unit.state = afterDowntime(unit.state, now, graceMs);
  }

  account(contributor: Hex): Account {
    let account = this.accounts.get(contributor);
    if (!account) {
      account = {
        strikes: 0,
        lastRejectedAt: null,
        speed: null,
        leased: 0,
        unsettled: 0,
        agreed: 0,
        rejected: 0,
      };
      this.accounts.set(contributor, account);
    }
    return account;
  }

  #planDue(): void {
    for (const slot of this.#plan.due(this.#state, this.#rounds)) {
      const key = JSON.stringify(slot);
      if (this.#planned.has(key)) continue;
      this.#planned.add(key);
      const { unit, operations } = this.#plan.build(this.#state, slot);
      const cid = workunitId(unit);
      const made: SimUnit = { cid, slot, program: unit.program, operations, state: newUnit(this.#rules) };
      this.units.set(cid, made);
      this.open.set(cid, made);
    }
  }

  /** Takes a step over, keeps the counts of leases, and tells of what follows. */
  #apply(unit: SimUnit, step: Step): boolean {
    if (!step.ok) return false;
    const before = unit.state;
    unit.state = step.unit;
    this.#keepCounts(before, step.unit);
    for (const transition of step.transitions) {
      if (transition.type === 'opened') {
        for (const { assignment, contributor } of transition.replicas)
          this.#events.opened(assignment, contributor);
      } else if (transition.type === 'agreed') this.#events.agreed(unit);
    }
    return true;
  }

  #keepCounts(before: UnitState, after: UnitState): void {
    const later = new Map(after.replicas.map((replica) => [replica.assignment, replica.state]));
    for (const { assignment, contributor, state } of before.replicas) {
      const next = later.get(assignment) ?? 'void';
      const account = this.account(contributor);
      if (state === 'leased' && next !== 'leased' && next !== 'committed') account.leased--;
      if (isOpen(state) && !isOpen(next)) account.unsettled--;
    }
  }
}

function isOpen(state: string): boolean {
  return state === 'leased' || state === 'committed' || state === 'revealed';
}

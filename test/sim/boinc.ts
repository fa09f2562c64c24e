/**
 * BOINC's adaptive replication, as its wiki describes it (AdaptiveReplication), behind the same port: a host whose last 10 or more checked results were
 * all right is trusted alone with probability 1 - 1/CV, where CV counts them; otherwise the unit goes to two hosts, and to further ones until two
 * agree. A wrong result sets CV to 0. No commitments, no floor, no canaries, no clawback; one result per user and unit, as projects set it. Wrong
 * results delay a host's next offer as ours do, which stands for BOINC's daily quotas.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Outcome } from '#protocol/messages/frames.ts';
import { backOffMs, defaultSchedulerRules, windowSize } from '#coordinator/scheduler/scheduler.ts';
import type { Hex } from 'viem';
import type { Asked, Authority, Identity, Opening, PlannedUnit, PublicUnit, Sink } from './authority.ts';

interface BoincResult {
  assignment: Hex;
  host: Hex;
  deadline: number;
  state: 'leased' | 'reported' | 'lost' | 'done';
  digest: Cid | null;
}

interface BoincUnit {
  cid: Cid;
  operations: number;
  target: number;
  results: BoincResult[];
  digest: Cid | null;
  isAccepted: boolean;
  plannedAt: number;
}

interface Host {
  consecutiveValid: number;
  credit: number;
  strikes: number;
  lastRejectedAt: number;
  leased: Set<Hex>;
}

const trustedFrom = 10;
const leaseMs = 15 * 60_000;
const candidatesMax = 16;
const inProgressMax = 2;

export class BoincAuthority implements Authority {
  readonly #sink: Sink;
  readonly #units = new Map<Cid, BoincUnit>();
  readonly #hosts = new Map<Hex, Host>();
  readonly #results = new Map<Hex, { unit: BoincUnit; result: BoincResult }>();
  /** Units that want another result, oldest first. */
  readonly #queue = new Set<BoincUnit>();
  #window: BoincUnit[] = [];
  #windowAt = -Infinity;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  add(units: readonly PlannedUnit[], now: number): void {
    for (const { cid, operations } of units) {
      const unit: BoincUnit = {
        ...{ cid, operations, target: 1, results: [], digest: null, isAccepted: false, plannedAt: now },
      };
      this.#units.set(cid, unit);
      this.#queue.add(unit);
    }
  }

  greet({ address }: Identity): void {
    if (!this.#hosts.has(address)) {
      const blank = { consecutiveValid: 0, credit: 0, strikes: 0, lastRejectedAt: -Infinity };
      this.#hosts.set(address, { ...blank, leased: new Set() });
    }
  }

  lease({ address }: Identity, assignment: Hex, random: number, now: number, online: number): Asked {
    const host = this.#hosts.get(address) as Host;
    const wait = host.lastRejectedAt + backOffMs(host, defaultSchedulerRules) - now;
    if (wait > 0) return { type: 'none', retryMs: wait, outlawed: false };
    const unit = host.leased.size < inProgressMax ? this.#pick(address, random, now, online) : null;
    if (!unit) return { type: 'none', retryMs: 5_000, outlawed: false };
    if (unit.target === 1 && !this.#trusts(host, random)) unit.target = 2;
    const result: BoincResult = {
      ...{ assignment, host: address, deadline: now + leaseMs, state: 'leased', digest: null },
    };
    unit.results.push(result);
    this.#results.set(assignment, { unit, result });
    host.leased.add(assignment);
    this.#requeue(unit);
    return { type: 'lease', lease: { assignment, unit: unit.cid, ms: leaseMs } };
  }

  #trusts({ consecutiveValid }: Host, random: number): boolean {
    const fraction = (Math.imul(random, 0x9e3779b1) >>> 0) / 2 ** 32;
    return consecutiveValid >= trustedFrom && fraction >= 1 / consecutiveValid;
  }

  #pick(address: Hex, random: number, now: number, online: number): BoincUnit | null {
    if (now - this.#windowAt > 1_000 || this.#window.length < candidatesMax) {
      this.#window = [];
      const size = windowSize(online);
      for (const unit of this.#queue) if (this.#window.push(unit) >= size) break;
      this.#windowAt = now;
    }
    const from = Math.floor((random / 2 ** 32) * this.#window.length);
    for (let i = 0; i < Math.min(candidatesMax, this.#window.length); i++) {
      const unit = this.#window[(from + i) % this.#window.length] as BoincUnit;
      if (!this.#queue.has(unit)) continue;
      if (!unit.results.some((result) => result.host === address)) return unit;
    }
    return null;
  }

  #requeue(unit: BoincUnit): void {
    const counting = unit.results.filter(({ state }) => state !== 'lost').length;
    const isWanted = unit.digest === null && counting < unit.target;
    if (isWanted) this.#queue.add(unit);
    else this.#queue.delete(unit);
  }

  commit({ assignment, digest }: { assignment: Hex; contributor: Hex; digest: Cid }): boolean {
    const found = this.#results.get(assignment);
    if (found?.result.state !== 'leased') return false;
    found.result.state = 'reported';
    found.result.digest = digest;
    this.#hosts.get(found.result.host)?.leased.delete(assignment);
    this.#validate(found.unit);
    return true;
  }

  #validate(unit: BoincUnit): void {
    if (unit.digest !== null) return;
    const reported = unit.results.filter(({ state }) => state === 'reported');
    if (reported.length < unit.target) return;
    const quorum = unit.target === 1 ? 1 : 2;
    const counts = new Map<Cid, number>();
    for (const { digest } of reported) counts.set(digest as Cid, (counts.get(digest as Cid) ?? 0) + 1);
    const leading = [...counts].find(([, count]) => count >= quorum);
    if (leading) {
      unit.digest = leading[0];
      this.#sink.agreed(unit.cid, 1);
    } else unit.target++;
    this.#requeue(unit);
  }

  accept(cid: Cid, _attempt: number, now: number): void {
    const unit = this.#units.get(cid) as BoincUnit;
    const digest = unit.digest as Cid;
    unit.isAccepted = true;
    const isReplicated = unit.target > 1;
    for (const result of unit.results) {
      if (result.state !== 'reported') this.#lose(result);
      else this.#judge(unit, result, isReplicated, now);
      this.#results.delete(result.assignment);
    }
    unit.results = [];
    this.#sink.accepted(cid, digest);
    this.#sink.settled(cid, digest);
  }

  #judge(unit: BoincUnit, result: BoincResult, isReplicated: boolean, now: number): void {
    const host = this.#hosts.get(result.host) as Host;
    const outcome: Outcome = result.digest === unit.digest ? 'agreed' : 'rejected';
    if (outcome === 'rejected') {
      host.consecutiveValid = 0;
      host.strikes++;
      host.lastRejectedAt = now;
    } else {
      host.strikes = Math.max(0, host.strikes - 1);
      host.credit += unit.operations;
      if (isReplicated) host.consecutiveValid++;
    }
    this.#sink.verdict(result.assignment, result.host, outcome);
  }

  #lose(result: BoincResult): void {
    if (result.state !== 'leased') return;
    result.state = 'lost';
    this.#hosts.get(result.host)?.leased.delete(result.assignment);
  }

  release(assignment: Hex): void {
    const found = this.#results.get(assignment);
    if (!found || found.result.state !== 'leased') return;
    this.#lose(found.result);
    this.#requeue(found.unit);
  }

  leave(contributor: Hex): void {
    for (const assignment of this.#hosts.get(contributor)?.leased ?? []) this.release(assignment);
  }

  tick(now: number): void {
    for (const { leased } of this.#hosts.values()) {
      for (const assignment of leased) {
        if ((this.#results.get(assignment)?.result.deadline ?? 0) < now) this.release(assignment);
      }
    }
  }

  /** There is nothing to reveal. */
  reveal(opening: Opening): boolean {
    return this.#results.has(opening.assignment);
  }

  publish(units: readonly Cid[]): void {
    for (const unit of units) this.#units.delete(unit);
  }

  resume(): void {
    // Deadlines are long enough.
  }

  look(cid: Cid): PublicUnit {
    const unit = this.#units.get(cid);
    return {
      isAccepted: unit?.isAccepted ?? true,
      digest: unit?.isAccepted ? unit.digest : null,
      plannedAt: unit?.plannedAt ?? 0,
    };
  }

  isQuiet(): boolean {
    return true;
  }

  credit(address: Hex): number {
    return this.#hosts.get(address)?.credit ?? 0;
  }

  faults(): string[] {
    return [];
  }
}

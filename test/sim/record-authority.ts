/**
 * Our coordinator: the real operations of coordinator/record (consensus, trust, scheduler, ledger) over the memory store, and what the service does
 * around them: checking openings, telling of transitions, keeping the figures of the network.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { createOperations, type Operations } from '#coordinator/record/record.ts';
import type { RecordRules } from '#coordinator/record/rules.ts';
import { isJudged } from '#coordinator/trust/climate.ts';
import { hasAnchors } from '#coordinator/trust/decide.ts';
import { isProven, standingOf } from '#coordinator/trust/standing.ts';
import { plannedRow } from '#coordinator/record/units.ts';
import { calm } from '#coordinator/record/view.ts';
import { MemoryStore } from '#coordinator/storage/memory/memory-store.ts';
import type { Attempted, Change } from '#coordinator/storage/port.ts';
import type { Hex } from 'viem';
import type { Asked, Authority, Identity, Opening, PlannedUnit, PublicUnit, Sink } from './authority.ts';
import type { Contents } from './contents.ts';

/** Climate figures are of this age at the most; a large network changes slowly, and counting it is dear. */
const climateMs = { small: 10_000, large: 30_000 };
const largeFrom = 2_500;
const transfersMax = 100_000;
const signature: Hex = '0x';
const result = Uint8Array.of();

export interface RecordSetup {
  rules: RecordRules;
  isSealed: boolean;
  /** 32 bits. */
  random: () => number;
}

export class RecordAuthority implements Authority {
  readonly store = new MemoryStore();
  readonly #sink: Sink;
  readonly #contents: Contents;
  readonly #rules: RecordRules;
  readonly #isSealed: boolean;
  readonly #operations: Operations;
  readonly #programs = new Set<string>();
  readonly #outlawed = new Set<Hex>();
  /** The plan went on from these while they were being looked at again. */
  readonly #unpublished = new Set<Cid>();
  /** Proven liars whose results are still to be looked at again. */
  readonly #reviews: Hex[] = [];
  #climateAt = -Infinity;
  #queue = 0;

  constructor(sink: Sink, contents: Contents, { rules, isSealed, random }: RecordSetup) {
    this.#sink = sink;
    this.#contents = contents;
    this.#rules = rules;
    this.#isSealed = isSealed;
    this.#operations = createOperations(rules, random);
  }

  add(units: readonly PlannedUnit[], now: number): void {
    const slot = { round: 1, kind: 'train', lane: 0 } as const;
    for (const { cid, bytes, program, operations, job } of units) {
      this.#programs.add(program);
      const unit = { slot, cid, bytes, program, operations, blocks: [] };
      this.store.put('units', plannedRow(`job${job}`, unit, ++this.#queue, now, this.#rules.consensus));
    }
  }

  greet(identity: Identity, now: number): void {
    this.store.runNow(this.#operations.greet(identity.address, now, originOf(identity)));
  }

  lease(identity: Identity, assignment: Hex, random: number, now: number, online: number): Asked {
    const { address: contributor } = identity;
    const request = { contributor, programs: this.#programs, assignment, random, now, online, held: null };
    const leased = this.store.runNow(this.#operations.lease({ ...request, origin: originOf(identity) }));
    if (leased.type === 'lease') {
      return { type: 'lease', lease: { assignment, unit: leased.unit, ms: leased.leaseMs } };
    }
    if (leased.change) this.#follow(leased.change);
    const outlawed = (this.store.contributor(contributor)?.outlawedAt ?? null) !== null;
    return { type: 'none', retryMs: leased.retryMs, outlawed };
  }

  commit(message: { assignment: Hex; contributor: Hex; commitment: Hex }, now: number): boolean {
    return this.#tell(this.store.runNow(this.#operations.commit({ ...message, signature, now })));
  }

  /** As the service does it: an opening that does not match is a reveal withheld. */
  reveal({ assignment, contributor, salt, digest }: Opening, now: number): boolean {
    const expected = this.#contents.commitment(assignment, contributor, salt, digest);
    if (this.store.replica(assignment)?.commitment !== expected) {
      const why = 'it does not open the commitment';
      this.#tell(this.store.runNow(this.#operations.withhold(assignment, contributor, why, now)));
      return false;
    }
    const message = { assignment, contributor, salt, digest, result, signature, now };
    return this.#tell(this.store.runNow(this.#operations.reveal(message)));
  }

  release(assignment: Hex, contributor: Hex, now: number): void {
    this.#tell(this.store.runNow(this.#operations.release(assignment, contributor, 'given back', now)));
  }

  leave(contributor: Hex, now: number): void {
    for (const change of this.store.runNow(this.#operations.releaseAll(contributor, 'it left', now))) {
      this.#follow(change);
    }
  }

  tick(now: number, online: () => Iterable<Identity>): void {
    this.store.now = now;
    // Balances say all that is measured: a million units' transfers would fill the memory.
    if (this.store.transfers.length > transfersMax) this.store.transfers.length = 0;
    const { small, large } = climateMs;
    const age = this.store.contributors.size < largeFrom ? small : large;
    if (now - this.#climateAt >= age) this.#lookAround(now, online());
    for (const change of this.store.runNow(this.#operations.tick(now))) this.#follow(change);
    for (const liar of this.#reviews.splice(0)) this.#review(liar, now);
  }

  #review(liar: Hex, now: number): void {
    for (;;) {
      const from = this.store.contributor(liar)?.reviewFrom ?? null;
      if (from === null) return;
      const { changes, more } = this.store.runNow(this.#operations.review(liar, from, now));
      for (const change of changes) this.#follow(change);
      if (!more) return;
    }
  }

  #lookAround(now: number, present: Iterable<Identity>): void {
    this.#climateAt = now;
    const climate = { ...calm };
    for (const row of this.store.contributors.values()) {
      if (!isJudged(row, now)) continue;
      climate.judged++;
      if (row.faults > 0) climate.liars++;
    }
    const prefixes = new Set<string>();
    for (const { address, device, prefix, isReferee } of present) {
      prefixes.add(prefix);
      climate.online++;
      if (isReferee) climate.refereesOnline++;
      const [row, machine] = [this.store.contributor(address), this.store.device(address, device)];
      if (!row || !machine) continue;
      if (isProven(standingOf(row, machine, isReferee), this.#rules.trust)) climate.provenOnline++;
    }
    climate.prefixesOnline = prefixes.size;
    this.store.climate = climate;
  }

  accept(unit: Cid, attempt: number, now: number): void {
    this.#tell(this.store.runNow(this.#operations.accept(unit, attempt, [], now)));
  }

  publish(units: readonly Cid[]): void {
    for (const unit of units) this.#publish(unit);
  }

  /** What is being checked is shown once that is over; what is shown, and not marked for a late look, is put away. */
  #publish(unit: Cid): void {
    if (!this.store.runNow(this.#operations.unseal([unit]))) this.#unpublished.add(unit);
    else if (this.store.unit(unit)?.dueAt === null) this.store.archive(unit);
  }

  resume(now: number, graceMs: number): void {
    while (this.store.runNow(this.#operations.resume(now, graceMs)));
  }

  look(cid: Cid): PublicUnit {
    const row = this.store.unit(cid);
    if (!row) return { isAccepted: false, digest: null, plannedAt: 0 };
    const isShown = row.phase === 'accepted' && !(row.sealed && this.#isSealed);
    return { isAccepted: isShown, digest: isShown ? row.digest : null, plannedAt: row.plannedAt };
  }

  isQuiet(): boolean {
    if (this.#reviews.length > 0) return false;
    // What has been put away is over. Late looks wait for proven contributors; where there are none, they wait for ever.
    const areLooksOpen = hasAnchors(this.store.climate, this.#rules.trust);
    for (const { phase, rechecks, until } of this.store.atHand()) {
      if (phase !== 'accepted' || rechecks > 0 || (until !== null && areLooksOpen)) return false;
    }
    return true;
  }

  credit(address: Hex): number {
    const balance = (account: string) => this.store.account(`${account}:${address}`)?.balance ?? 0n;
    return Number(balance('credit') + balance('escrow'));
  }

  faults(): string[] {
    const faults: string[] = [];
    let sum = 0n;
    for (const { id, balance } of this.store.accounts.values()) {
      sum += balance;
      if (balance < 0n && id !== 'issued') faults.push(`the account ${id} is overdrawn by ${-balance}`);
    }
    if (sum !== 0n) faults.push(`the ledger is out of balance by ${sum}`);
    return faults;
  }

  #tell(attempted: Attempted): boolean {
    if (attempted.ok) this.#follow(attempted);
    else if (attempted.change) this.#follow(attempted.change);
    return attempted.ok;
  }

  #follow({ unit, transitions, verdicts }: Change): void {
    for (const transition of transitions) {
      switch (transition.type) {
        case 'opened':
          for (const { assignment, contributor } of transition.replicas) {
            this.#sink.opened(assignment, contributor);
          }
          break;
        case 'agreed':
          this.#sink.agreed(unit, this.store.unit(unit)?.attempt as number);
          break;
        case 'overturned':
          this.#sink.overturned(unit, transition.was);
          this.#sink.agreed(unit, this.store.unit(unit)?.attempt as number);
          break;
        case 'equivocated':
          this.#noteOutlaw(transition.contributor);
          break;
        case 'accepted':
          this.#sink.accepted(unit, this.store.unit(unit)?.digest as Cid);
          break;
        default:
      }
    }
    for (const { assignment, contributor, outcome } of verdicts) {
      this.#sink.verdict(assignment, contributor, outcome);
      if (outcome === 'rejected') this.#noteOutlaw(contributor);
    }
    const row = this.store.unit(unit);
    if (row?.phase !== 'accepted' || row.rechecks > 0) return;
    this.#sink.settled(unit, row.digest as Cid);
    if (this.#unpublished.delete(unit) || !row.sealed) this.#publish(unit);
  }

  #noteOutlaw(contributor: Hex): void {
    if (this.#outlawed.has(contributor)) return;
    if ((this.store.contributor(contributor)?.outlawedAt ?? null) === null) return;
    this.#outlawed.add(contributor);
    this.#reviews.push(contributor);
    this.#sink.outlawed(contributor);
  }
}

function originOf({ owner, prefix, device, vendor }: Identity) {
  return { owner, prefix, device, vendor, memoryBytes: null };
}

/** The record over the memory store with everything in the test's hands: time, chance, climate, and contributors by name. */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import { createOperations, type Operations } from '../record/record.ts';
import { defaultRecordRules, type RecordRules } from '../record/rules.ts';
import type { ReplicaRow, UnitRow } from '../record/rows.ts';
import { plannedRow } from '../record/units.ts';
import { calm, type Climate } from '../record/view.ts';
import { MemoryStore } from '../storage/memory/memory-store.ts';
import type { Attempted, Change, LeaseOutcome, LeaseRequest } from '../storage/port.ts';

export const program = 'p@1';
export const job: Cid = 'job';
/** As likely as can be, and not at all: 32 bits. */
export const surely = 0;
export const never = 0xffffffff;

export const addressOf = (name: string): Hex => `0x${Buffer.from(name).toString('hex').padStart(40, '0')}`;

/** A network of so many, with enough proven ones for one in every vote, and few liars. */
export function climateOf(change: Partial<Climate> = {}): Climate {
  return { ...calm, judged: 1_000, online: 100, provenOnline: 50, ...change };
}

export class RecordBench {
  readonly store = new MemoryStore();
  readonly rules: RecordRules;
  readonly operations: Operations;
  now = 1_000_000;
  /** What the record draws besides the requests' own numbers. */
  random = never;
  #assignments = 0;
  #units = 0;

  constructor(rules: Partial<RecordRules> = {}, climate: Climate = climateOf()) {
    const ledger = { ...defaultRecordRules.ledger, growthPerDoubling: 0 };
    this.rules = { ...defaultRecordRules, ledger, ...rules };
    this.operations = createOperations(this.rules, () => this.random);
    this.store.climate = climate;
  }

  plan(change: Partial<UnitRow> = {}): Cid {
    const n = ++this.#units;
    const cid = `unit${String(n).padStart(4, '0')}`;
    const slot = { round: 1, kind: 'train', lane: n } as const;
    const unit = { slot, cid, bytes: Uint8Array.of(n), program, operations: 1_000, blocks: [] };
    this.store.put('units', { ...plannedRow(job, unit, n, this.now, this.rules.consensus), ...change });
    return cid;
  }

  /** A contributor with a record of so many confirmed results. */
  person(name: string, verified = 0, origin: Partial<LeaseRequest['origin']> = {}): Hex {
    const address = addressOf(name);
    const from = { prefix: '', device: 'd', vendor: '', memoryBytes: null, ...origin };
    this.store.runNow(this.operations.greet(address, this.now, from));
    const device = this.store.device(address, from.device);
    if (device) this.store.put('devices', { ...device, verified, streak: verified });
    return address;
  }

  /** As if it had been proven a liar elsewhere. */
  outlaw(contributor: Hex): void {
    const row = this.store.contributor(contributor);
    if (row) this.store.put('contributors', { ...row, outlawedAt: 1, reviewFrom: '' });
  }

  lease(contributor: Hex, change: Partial<LeaseRequest> = {}): LeaseOutcome {
    const assignment: Hex = `0x${(++this.#assignments).toString(16).padStart(64, '0')}`;
    const programs = new Set([program]);
    const request = { contributor, programs, assignment, random: never, now: this.now, online: 100 };
    return this.store.runNow(this.operations.lease({ ...request, held: null, ...change }));
  }

  /** The assignment of a lease that must be given. */
  leased(contributor: Hex, change: Partial<LeaseRequest> = {}): Hex {
    const outcome = this.lease(contributor, change);
    if (outcome.type === 'none') throw new Error(outcome.reason);
    return outcome.assignment;
  }

  commit(assignment: Hex, commitment: Hex = '0xc0'): Attempted {
    const { contributor } = this.replica(assignment);
    const message = { assignment, contributor, commitment, signature: '0x' as const, now: this.now };
    return this.store.runNow(this.operations.commit(message));
  }

  reveal(assignment: Hex, digest: Cid): Attempted {
    const { contributor } = this.replica(assignment);
    const result = new TextEncoder().encode(digest);
    const signed = { salt: '0x', signature: '0x', now: this.now } as const;
    return this.store.runNow(this.operations.reveal({ assignment, contributor, digest, result, ...signed }));
  }

  /** Leases, commits and, where that is possible by then, reveals. */
  work(contributor: Hex, digest: Cid, change: Partial<LeaseRequest> = {}): Hex {
    const assignment = this.leased(contributor, change);
    this.commit(assignment);
    this.reveal(assignment, digest);
    return assignment;
  }

  accept(unit: Cid, blocks: readonly Cid[] = [`${unit} output`]): Change {
    const { attempt } = this.unit(unit);
    const accepted = this.store.runNow(this.operations.accept(unit, attempt, blocks, this.now));
    if (!accepted.ok) throw new Error(accepted.reason);
    return accepted;
  }

  tick(ms = 0): Change[] {
    this.now += ms;
    return this.store.runNow(this.operations.tick(this.now));
  }

  unseal(...units: Cid[]): boolean {
    return this.store.runNow(this.operations.unseal(units));
  }

  /** All steps of a review. */
  review(contributor: Hex): Change[] {
    const changes: Change[] = [];
    for (;;) {
      const from = this.store.contributor(contributor)?.reviewFrom ?? null;
      if (from === null) return changes;
      changes.push(...this.store.runNow(this.operations.review(contributor, from, this.now)).changes);
    }
  }

  unit(cid: Cid): UnitRow {
    return this.store.unit(cid) as UnitRow;
  }

  replica(assignment: Hex): ReplicaRow {
    return this.store.replica(assignment) as ReplicaRow;
  }

  /** Of all accounts of a contributor. */
  creditOf(contributor: Hex): bigint {
    const balance = (kind: string) => this.store.account(`${kind}:${contributor}`)?.balance ?? 0n;
    return balance('credit') + balance('escrow');
  }
}

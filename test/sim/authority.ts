/**
 * What the simulated network needs of a coordinator. Two stand behind it: ours (`record-authority.ts`: the real operations over the memory store) and
 * BOINC's adaptive replication (`boinc.ts`), so that both face the same contributors, the same liars and the same weather.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Outcome } from '#protocol/messages/frames.ts';
import type { Hex } from 'viem';

export interface Identity {
  address: Hex;
  owner: Hex;
  /** Stands for the keyed hash of a /24 or /48. */
  prefix: string;
  device: string;
  vendor: string;
  isReferee: boolean;
}

export interface PlannedUnit {
  cid: Cid;
  bytes: Uint8Array;
  program: string;
  operations: number;
  job: number;
}

export interface Lease {
  assignment: Hex;
  unit: Cid;
  ms: number;
}

/** `outlawed`: there will never be work for this key again. */
export type Asked = { type: 'lease'; lease: Lease } | { type: 'none'; retryMs: number; outlawed: boolean };

export interface Opening {
  assignment: Hex;
  contributor: Hex;
  salt: Hex;
  digest: Cid;
}

/** What `/v1/units`, `/v1/consensus` and the events of a job show to anybody about a unit. */
export interface PublicUnit {
  isAccepted: boolean;
  digest: Cid | null;
  plannedAt: number;
}

export interface Sink {
  /** Every replica wanted has committed: these may reveal. */
  opened(assignment: Hex, contributor: Hex): void;
  /** The outputs of the agreed digest are to be pulled; `accept` follows. */
  agreed(unit: Cid, attempt: number): void;
  accepted(unit: Cid, digest: Cid): void;
  overturned(unit: Cid, digest: Cid): void;
  /** Accepted, and no recheck of it is open: the plan may go on. */
  settled(unit: Cid, digest: Cid): void;
  verdict(assignment: Hex, contributor: Hex, outcome: Outcome): void;
  outlawed(contributor: Hex): void;
}

export interface Authority {
  add(units: readonly PlannedUnit[], now: number): void;
  greet(identity: Identity, now: number): void;
  lease(identity: Identity, assignment: Hex, random: number, now: number, online: number): Asked;
  /** Whether it counts. `digest` is for a coordinator that knows no commitments. */
  commit(message: { assignment: Hex; contributor: Hex; commitment: Hex; digest: Cid }, now: number): boolean;
  reveal(opening: Opening, now: number): boolean;
  release(assignment: Hex, contributor: Hex, now: number): void;
  leave(contributor: Hex, now: number): void;
  tick(now: number, online: () => Iterable<Identity>): void;
  accept(unit: Cid, attempt: number, now: number): void;
  /** The plan went on: what was sealed of these units is public. */
  publish(units: readonly Cid[], now: number): void;
  resume(now: number, graceMs: number): void;
  look(unit: Cid): PublicUnit;
  /** No accepted unit is under a second look. */
  isQuiet(): boolean;
  /** Credit that an address has at the end, escrow included. */
  credit(address: Hex): number;
  /** What must hold of its books; empty when all does. */
  faults(): string[];
}

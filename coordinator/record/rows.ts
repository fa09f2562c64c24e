/**
 * What the coordinator remembers, as rows: the types that the pure operations work on and that every database stores.
 *
 * Rows are values: an operation never changes one, it puts a new one. Times are milliseconds since the epoch, sizes bytes, amounts of credit
 * bigints. A column that is added here is added to `tables.ts` and to a migration, and nowhere else.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import type { Phase, Purpose, ReplicaState } from '../consensus/consensus.ts';

export interface UnitRow {
  cid: Cid;
  /** The job that planned it first, and whose pool pays for it. */
  job: Cid;
  /** Canonical bytes of the `Workunit`. */
  bytes: Uint8Array;
  program: string;
  /** Exact operations. */
  operations: number;
  /** Quality of the job's data in permille, 0 to 1000: what its work earns of its operations. */
  quality: number;
  /** Memory that computing it takes. */
  memoryBytes: number;
  /** The checkpoint it reads; who has it at hand is asked first. */
  checkpoint: Cid | null;
  phase: Phase;
  attempt: number;
  /** Replicas that must have committed before the reveals open; nobody outside knows it. */
  target: number;
  /** Equal digests that decide: 1 for a unit that a proven contributor computes alone. */
  quorum: number;
  splits: number;
  until: number | null;
  digest: Cid | null;
  /** Canonical bytes of the accepted result. */
  result: Uint8Array | null;
  reason: string;
  /** Replicas still to be leased, for whatever purpose: kept for the queue's index. */
  wanted: number;
  dueAt: number | null;
  /** The order in which units are offered: the tag of a fair queue (scheduler/fairness.ts), a fraction. */
  queue: number;
  paused: boolean;
  /** A lease is late: one more than the unit wants is offered to those who have nothing else to do. */
  spare: boolean;
  /** Accepted, and yet to be told to nobody: a replay of it cannot be told from a unit that is open. */
  sealed: boolean;
  /** Replays still wanted of an accepted unit: canaries, samples, second looks at what a proven liar has touched. */
  rechecks: number;
  /** A later check found the accepted digest false. */
  overturned: boolean;
  plannedAt: number;
  acceptedAt: number | null;
}

export interface ReplicaRow {
  assignment: Hex;
  unit: Cid;
  attempt: number;
  purpose: Purpose;
  contributor: Hex;
  /** Who answers for the contributor: its linked wallet, or itself. */
  owner: Hex;
  /** Keyed hash of the network prefix (/24, /48) it came from; empty where prefixes say nothing (loopback, private networks). */
  prefix: string;
  device: string;
  vendor: string;
  weight: number;
  state: ReplicaState;
  leasedAt: number;
  deadline: number;
  commitment: Hex | null;
  commitSignature: Hex | null;
  salt: Hex | null;
  digest: Cid | null;
  result: Uint8Array | null;
  revealSignature: Hex | null;
  /** What it has earned and not lost again: 0 before acceptance. The verdict names it, a clawback takes it. */
  credit: bigint;
  settledAt: number | null;
}

export type Tier = 'mobile' | 'participant' | 'miner' | 'whale';

export interface ContributorRow {
  address: Hex;
  owner: Hex;
  prefix: string;
  /** What it computes on at present: the key of its `DeviceRow`. */
  device: string;
  vendor: string;
  tier: Tier;
  stake: bigint;
  agreed: number;
  rejected: number;
  /** False results proven, over all devices. */
  faults: number;
  /** Rejected results, withheld reveals and leases let go that good results have not made up for. */
  strikes: number;
  lastRejectedAt: number | null;
  /** A proven liar gets no work and has no weight from then on. */
  outlawedAt: number | null;
  /** Released from escrow once (see trust/): earned trust. */
  trustedAt: number | null;
  /** A proven liar whose results are being looked at again, in the order of their units: the last one so far, '' at first. */
  reviewFrom: Cid | null;
  firstSeenAt: number;
  lastSeenAt: number;
}

/** Reliability and speed belong to a device: a new one of a proven contributor starts over. */
export interface DeviceRow {
  contributor: Hex;
  device: string;
  /** Results that an independent one has confirmed, in all and since the last false one. */
  verified: number;
  streak: number;
  /** Results accepted on its word alone since one was last confirmed. */
  alone: number;
  faults: number;
  /** Operations a millisecond, a moving average; null for a newcomer. */
  speed: number | null;
}

/** The balance of one ledger account; the transfers are the truth, this is their sum. */
export interface AccountRow {
  id: string;
  balance: bigint;
}

/** One movement between two accounts; append-only. */
export interface Transfer {
  /** From 1, without gaps once sealed; the storage counts. */
  seq: number;
  kind: 'funded' | 'earned' | 'released' | 'voided' | 'clawback' | 'fine' | 'bonus';
  debit: string;
  credit: string;
  amount: bigint;
  job: Cid | null;
  unit: Cid | null;
  assignment: Hex | null;
  reason: string;
  at: number;
}
export type NewTransfer = Omit<Transfer, 'seq' | 'at'>;

export interface Rows {
  units: UnitRow;
  replicas: ReplicaRow;
  contributors: ContributorRow;
  devices: DeviceRow;
  accounts: AccountRow;
}
export type TableName = keyof Rows;

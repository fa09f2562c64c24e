/**
 * What the coordinator needs of a database, in its own words. Each method that changes something is one transaction, and its promise resolves
 * only once that is durable; expected refusals are values, and a failing database is `storage_failed`.
 *
 * The adapter runs the pure consensus and scheduler functions inside its transaction, so that no decision is made on state another process
 * has changed meanwhile.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { ErrorCode } from '#protocol/errors.ts';
import type { RoundSummary } from '#protocol/http/api.ts';
import type { Outcome } from '#protocol/messages/frames.ts';
import type { Hex } from 'viem';
import type { Phase, Purpose, ReplicaState, Transition } from '../consensus/consensus.ts';
import type { Slot, SlotKind } from '../planner/plan.ts';
import type { Origin } from '../record/accounts.ts';
import type { Reviewed } from '../record/review.ts';
import type { RecordRules } from '../record/rules.ts';
import type { Climate } from '../record/view.ts';
import type { RoundGain } from '../ledger/bonus.ts';
import type { SealedTransfer, Tip } from '../ledger/chain.ts';
import type { Earned, Funding } from '../ledger/postings.ts';
import type { LineageSource } from '../lineage/lineage.ts';
import type { Transfer } from '../record/rows.ts';
import type { Shelf } from './shelf.ts';

/** What every adapter is opened with, besides where its database is. */
export interface StorageOptions {
  /** The id a new database gets: 32 random bytes. An old one keeps its own. */
  network: Hex;
  rules?: Partial<RecordRules>;
  /** 32 bits that nobody outside can foresee. */
  random?: () => number;
  now?: () => number;
  flushMs?: number;
  batchMax?: number;
  onBatch?: (size: number, ms: number) => void;
}

export interface JobRecord {
  id: Cid;
  bytes: Uint8Array;
  initial: Cid;
  active: boolean;
  /** Ended by whoever started it: what only it needs may be collected. */
  cancelled?: boolean;
  unigramEntropy: number;
  sourceEntropy: number | null;
  createdAt: number;
  /** Its share of the network among other jobs; 1 unless given. */
  weight?: number;
}

/** What may be changed of a job. One that is no longer active rests, or has been cancelled. */
export interface JobChange {
  active?: boolean;
  cancelled?: true;
  weight?: number;
}

export interface NewUnit {
  slot: Slot;
  cid: Cid;
  bytes: Uint8Array;
  program: string;
  operations: number;
  /** Of the job's data, in permille; 1000 unless given. */
  quality?: number;
  /** Memory that computing it takes; 0 when unknown. */
  memoryBytes?: number;
  /** The checkpoint it reads. */
  checkpoint?: Cid;
  /** Input blocks that come with it and may be served from now on. */
  blocks: readonly Cid[];
}

/** A slot with what became of its unit. */
export interface SlotRecord {
  slot: Slot;
  unit: Cid;
  program: string;
  phase: Phase;
  splits: number;
  /** Nobody may see yet what has become of it. */
  sealed: boolean;
  /** Checks of its accepted result that are still to come. */
  rechecks: number;
  /** Replicas of this attempt that are leased or further. */
  replicas: number;
  leased: number;
  plannedAt: number;
  acceptedAt: number | null;
  /** Canonical bytes of the accepted result; of one that has been shown, also while it is disputed. */
  result: Uint8Array | null;
}

export interface ReplicaRecord {
  assignment: Hex;
  unit: Cid;
  attempt: number;
  contributor: Hex;
  state: ReplicaState;
  deadline: number;
  commitment: Hex | null;
  digest: Cid | null;
  /** Canonical bytes of the revealed result. */
  result: Uint8Array | null;
}

export interface UnitRecord {
  cid: Cid;
  bytes: Uint8Array;
  program: string;
  operations: number;
  phase: Phase;
  attempt: number;
  splits: number;
  digest: Cid | null;
  /** Nobody may see yet what has become of it. */
  sealed: boolean;
  /** A later check found what had been shown false. */
  overturned: boolean;
  reason: string;
  result: Uint8Array | null;
  job: Cid;
  round: number;
  /** Of all attempts, oldest first. */
  replicas: ReplicaRecord[];
}

/** What fetching the outputs of an agreed unit takes. */
export type AgreedUnit = Pick<UnitRecord, 'cid' | 'attempt' | 'digest' | 'replicas'>;

export interface ContributorRecord {
  contributor: Hex;
  agreed: number;
  rejected: number;
  /** Exact operations of all agreed replicas. */
  credit: bigint;
}

export interface RoundRecord {
  job: Cid;
  round: number;
  root: Hex;
  checkpoint: Cid;
  /** With its anchor, once there is one. */
  summary: RoundSummary;
}

export interface Verdict {
  assignment: Hex;
  contributor: Hex;
  unit: Cid;
  outcome: Outcome;
  credit: number;
  reason: string;
}

/** A change of one unit: what the service has to tell whom. */
export interface Change {
  unit: Cid;
  transitions: Transition[];
  verdicts: Verdict[];
}

export type Attempted =
  | ({ ok: true } & Change)
  /** `change`: what follows for others from a message that proves its sender false. */
  | { ok: false; code: ErrorCode; reason: string; change?: Change };

export interface LeaseRequest {
  contributor: Hex;
  programs: ReadonlySet<string>;
  /** The id of the lease, should there be one: 32 random bytes. */
  assignment: Hex;
  /** 32 random bits. */
  random: number;
  now: number;
  online: number;
  /** Leases that this connection already has; null when another connection of the contributor may be at work on the rest. */
  held: ReadonlySet<Hex> | null;
  /** Of the connection that asks; as greeted unless given. */
  origin?: Origin;
  /** Checkpoints that it has at hand. */
  holds?: readonly Cid[];
  /** From a referee: only what others cannot decide by themselves. */
  duty?: boolean;
}

export type LeaseOutcome =
  | {
      type: 'lease';
      assignment: Hex;
      unit: Cid;
      program: string;
      bytes: Uint8Array;
      leaseMs: number;
      transitions: Transition[];
    }
  /** `change`: a unit now makes do with fewer replicas. */
  | { type: 'none'; reason: string; retryMs: number; change?: Change };

export interface Suspect {
  contributor: Hex;
  from: Cid;
}

/** A contributor that is connected now. */
export interface Presence {
  contributor: Hex;
  device: string;
  prefix: string;
}

/** A place in the order of published units: newest round first, then by kind and lane. */
export interface Place {
  round: number;
  kind: SlotKind;
  lane: number;
}

export interface PublishedReplica {
  attempt: number;
  purpose: Purpose;
  contributor: Hex;
  owner: Hex;
  weight: number;
  state: ReplicaState;
  digest: Cid | null;
  credit: bigint;
  leasedAt: number;
  settledAt: number | null;
}

/** A unit whose result the world may see, with the replicas that are settled. */
export interface PublishedUnit extends Place {
  job: Cid;
  unit: Cid;
  program: string;
  operations: number;
  phase: Phase;
  attempt: number;
  splits: number;
  quorum: number;
  digest: Cid | null;
  /** Canonical bytes. */
  result: Uint8Array | null;
  reason: string;
  overturned: boolean;
  plannedAt: number;
  acceptedAt: number | null;
  replicas: PublishedReplica[];
}

export interface StandingRecord {
  contributor: Hex;
  owner: Hex;
  agreed: number;
  rejected: number;
  outlawed: boolean;
  trusted: boolean;
}

/** What may be shown of units and contributors. */
export interface RecordReads {
  published(job: Cid, page: { kind?: SlotKind; after?: Place; most: number }): Promise<PublishedUnit[]>;
  /** Null for a unit that is not published. */
  publishedUnit(cid: Cid): Promise<PublishedUnit | null>;
  contributorsOf(owner: Hex, page: { after?: Hex; most: number }): Promise<StandingRecord[]>;
  standing(address: Hex): Promise<StandingRecord | null>;
  /** What of a contributor's record belongs to results that are not published yet. */
  unpublished(contributor: Hex): Promise<{ agreed: number; rejected: number; credit: bigint }>;
  /** The first sealed transfer that names a unit which is not published; null when there is none. */
  firstUnpublished(): Promise<number | null>;
}

export interface Counts {
  unitsAccepted: number;
  unitsSplit: number;
  /** Replicas that committed: work that was done. */
  replicasUsed: number;
}

export interface Balances {
  posted: bigint;
  escrowed: bigint;
}

export interface Reward {
  contributor: Hex;
  amount: bigint;
}

/** The ledger; what is sealed can be checked by anybody, see ledger/chain.ts. */
export interface LedgerReads {
  /** The chain's last transfer; before the first, the chain's beginning. */
  tip(): Promise<Tip>;
  /** Sealed transfers after a place of the chain, in its order. */
  transfersAfter(seq: number, most: number): Promise<SealedTransfer[]>;
  /** A contributor's transfers, newest first, sealed or not yet (`seq` 0); `before` is the `id` of the last one seen. */
  transfersOf(contributor: Hex, most: number, before?: number | null): Promise<(Transfer & { id: number })[]>;
  balancesOf(contributor: Hex): Promise<Balances>;
  /** What a job has left to spend; null for one without a pool, which the network pays for. */
  poolOf(job: Cid): Promise<bigint | null>;
  /** What every contributor has, at the chain's tip. */
  rewards(): Promise<{ tip: Tip; rewards: Reward[] }>;
  /** What of a job's model is whose, in the order of addresses, after one of them. */
  sharesOf(job: Cid, page: { after?: string; most: number }): Promise<Reward[]>;
}

/** Blocks that the database speaks of; what they link to is needed too. */
export interface BlockRoots {
  roots: Cid[];
  /** Outputs of agreed units, which may still be on their way here. */
  pending: Cid[];
}

export interface Storage {
  /** The random id of this network, made once. */
  readonly network: Hex;
  /** A random secret of this network, made once and shown to nobody: the key of hashed network prefixes. */
  readonly secret: Hex;
  /** Small records of the HTTP side. */
  readonly shelf: Shelf;
  readonly ledger: LedgerReads;
  readonly records: RecordReads;
  /** Closed rounds and what they were made of. */
  readonly lineage: LineageSource;

  addJob(job: Omit<JobRecord, 'active' | 'cancelled'>, blocks: readonly Cid[]): Promise<void>;
  /** Exactly these jobs go on; the units of others rest. */
  setActiveJobs(ids: readonly Cid[]): Promise<void>;
  /** One job alone. Its units go on, or are offered to nobody unless another job that is active has them too. */
  changeJob(id: Cid, change: JobChange): Promise<void>;
  jobs(): Promise<JobRecord[]>;
  addUnits(job: Cid, units: readonly NewUnit[], now: number): Promise<void>;
  /** Slots of the rounds after `round`, in plan order. */
  slotsAfter(job: Cid, round: number): Promise<SlotRecord[]>;
  slotsOfRound(job: Cid, round: number): Promise<SlotRecord[]>;
  slotsOfUnit(unit: Cid): Promise<{ job: Cid; record: SlotRecord }[]>;
  counts(job: Cid, round: number): Promise<Counts>;
  contributorsOfRound(job: Cid, round: number): Promise<number>;

  /** Closing a round twice changes nothing. */
  closeRound(record: RoundRecord, now: number): Promise<void>;
  anchorRound(job: Cid, round: number, tx: Hex, blockNumber: number): Promise<void>;
  rounds(job: Cid, last?: number): Promise<RoundRecord[]>;
  round(job: Cid, round: number): Promise<RoundRecord | null>;

  /** Looks at the network as a whole: every decision goes by this until the next look. Referees are those of the rules. */
  survey(online: readonly Presence[], now: number): Promise<Climate>;
  /** Nobody could reach the coordinator while it was down: no open deadline is nearer than `graceMs`. */
  resume(now: number, graceMs: number): Promise<void>;
  greet(contributor: Hex, now: number, origin?: Origin): Promise<ContributorRecord>;
  lease(request: LeaseRequest): Promise<LeaseOutcome>;
  commit(message: {
    assignment: Hex;
    contributor: Hex;
    commitment: Hex;
    signature: Hex;
    now: number;
  }): Promise<Attempted>;
  reveal(message: {
    assignment: Hex;
    contributor: Hex;
    salt: Hex;
    digest: Cid;
    result: Uint8Array;
    signature: Hex;
    now: number;
  }): Promise<Attempted>;
  /** A signed reveal that cannot count. */
  withhold(assignment: Hex, contributor: Hex, why: string, now: number): Promise<Attempted>;
  release(assignment: Hex, contributor: Hex, why: string, now: number): Promise<Attempted>;
  /** Gives back all uncommitted leases of a contributor that went away. */
  releaseAll(contributor: Hex, why: string, now: number): Promise<Change[]>;
  tick(now: number): Promise<Change[]>;
  /** Proven liars whose results are still to be looked at again, with where their review stands. */
  suspects(most: number): Promise<Suspect[]>;
  /** One step of a review; to be called until there is no more. */
  review(contributor: Hex, from: Cid, now: number): Promise<Reviewed>;
  /** The outputs are stored: verdicts and credit. The results stay sealed: nothing of them is shown or served. */
  accept(unit: Cid, attempt: number, blocks: readonly Cid[], now: number): Promise<Attempted>;
  reissue(unit: Cid, attempt: number, why: string, now: number): Promise<Attempted>;
  /** The outputs of an accepted unit are gone and wanted again: one replica that finds its digest brings them back. */
  restore(unit: Cid, why: string, now: number): Promise<Attempted>;
  /** Nobody wants this unit of a cancelled job any more: leases and commitments of it are void. */
  withdraw(unit: Cid, why: string, now: number): Promise<Attempted>;
  /** From now on these results are shown and their blocks served. False, and nothing is, while one of them is not accepted or is being checked. */
  unseal(units: readonly Cid[]): Promise<boolean>;
  /** What lowering the loss is worth, paid to those who did; once a round, however often it is asked for. */
  bonus(gain: RoundGain): Promise<Earned[]>;
  /** Pays into a job's pool, once for each reference. False: that was done before. */
  fund(funding: Funding): Promise<boolean>;
  agreedUnits(): Promise<Cid[]>;

  /** Null unless it is agreed. */
  agreed(cid: Cid): Promise<AgreedUnit | null>;
  unit(cid: Cid): Promise<UnitRecord | null>;
  /** With the program of its unit. */
  replica(assignment: Hex): Promise<(ReplicaRecord & { program: string }) | null>;
  contributor(address: Hex): Promise<ContributorRecord | null>;
  /** Contributors that hold an uncommitted lease. */
  lessees(): Promise<Hex[]>;
  /** Commitments that wait for a reveal: of units that are revealing, and of checks, which open at once. */
  openReveals(contributor: Hex): Promise<Hex[]>;
  recentVerdicts(contributor: Hex, most: number): Promise<Verdict[]>;

  isPublic(cid: Cid): Promise<boolean>;
  /** A job, workunit or accepted result, by its CID. */
  document(cid: Cid): Promise<Uint8Array | null>;

  /** What must be kept: of each job also the units of its last closed rounds. */
  blockRoots(lastRounds: number): Promise<BlockRoots>;
  /** These blocks are about to go: nobody is told any more that they are here. */
  forgetBlocks(cids: readonly Cid[]): Promise<void>;

  /** Chains up to `most` ledger entries; resolves with how many there were. */
  seal(most: number): Promise<number>;
  /** Fails with `storage_failed` when nothing can be written. */
  check(now: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * What trust is about: what is known of a contributor on a device, what is known of the network, and the rules with their reasons.
 *
 * Pure: rows, figures and random numbers come in as arguments. The switches under `defences` exist for the simulation, which shows what
 * each of them is for by turning it off.
 */
import type { Hex } from 'viem';

/** The columns of a contributor's row that trust reads and writes (record/rows.ts). */
export interface ContributorTrust {
  stake: bigint;
  agreed: number;
  rejected: number;
  faults: number;
  strikes: number;
  lastRejectedAt: number | null;
  outlawedAt: number | null;
  trustedAt: number | null;
}

/** The columns of a device's row that trust reads and writes. */
export interface DeviceTrust {
  verified: number;
  streak: number;
  alone: number;
  faults: number;
}

/** A contributor on one device, as it stands when it asks for work. */
export interface Standing {
  /** One of the operator's referees: its word is final. */
  referee: boolean;
  outlawed: boolean;
  /** Results of this device that an independent one has confirmed, in all and since the last false one. */
  verified: number;
  streak: number;
  /** Results accepted on its word alone since one was last confirmed. */
  alone: number;
  /** False results proven, over all devices. */
  faults: number;
  stake: bigint;
}

/** What is known of the network as a whole; a figure of the last second, not of this moment. */
export interface Climate {
  /** Contributors that have had a result judged, and those with a false one (`faults` above 0); of the last 30 days. */
  judged: number;
  liars: number;
  /** Contributors online, the proven among them, and referees. */
  online: number;
  provenOnline: number;
  refereesOnline: number;
}

/** Who stands behind a confirmation. `peer`: one other newcomer; `peers`: two or more of them. */
export type Confirmation = 'referee' | 'proven' | 'peers' | 'peer';

/** `strong`: by a referee, by two proven ones, by five of any kind, or by the liar's own signatures. */
export type Proof = 'strong' | 'weak';

export type TrustEvent =
  /** A result was accepted; `by` says who confirms it, null when it was accepted on its word alone. */
  | { type: 'agreed'; by: Confirmation | null }
  /** A later check agrees with a result that had been accepted. */
  | { type: 'confirmed'; by: Confirmation }
  /** A false result. */
  | { type: 'rejected'; proof: Proof }
  /** A result that had been accepted is false. */
  | { type: 'overturned'; proof: Proof }
  /** A result that had been rejected was right. */
  | { type: 'exonerated'; by: Confirmation | null }
  /** A commitment was not opened. */
  | { type: 'withheld' }
  /** A lease ran out without a commitment. */
  | { type: 'lapsed' }
  /** Its own signatures contradict each other. */
  | { type: 'equivocated' };

/** What follows for one contributor from a step of consensus. */
export interface Judgement {
  assignment: Hex;
  contributor: Hex;
  event: TrustEvent;
}

export interface TrustRules {
  /** Results confirmed in a row, on this device, from which on a contributor is proven. */
  provenStreak: number;
  /** Confirmed results from which on credit is paid out at once. */
  trustedVerified: number;
  /** A single is checked with probability max(floor, slope / verified, what the climate asks for). */
  samplingFloor: number;
  samplingSlope: number;
  /** Probability that an accepted unit is replayed later, as a canary. */
  canaryChance: number;
  /** A vote of strangers is looked at again after this time, once there are proven contributors to do it. */
  strangersMs: number;
  /** Probability that a single is looked at after `goneMs`, if its contributor has gone by then and had nothing confirmed since. */
  goneChance: number;
  goneMs: number;
  /** Probability that a unanimous vote without a referee is looked at once more, times the climate's level 1..4. */
  auditChance: number;
  /** Liars and judged contributors assumed before anything is known. */
  priorLiars: number;
  priorJudged: number;
  /** Shares of liars from which on the climate is fair, poor and bad. */
  levels: readonly [fair: number, poor: number, bad: number];
  /** Networks smaller than this decide by two replicas, whatever else is known: there is no choice. */
  smallOnline: number;
  /** Proven contributors online from which on every vote needs one of them. */
  anchorsMin: number;
  /** Without anchors: contributors online for each replica of a unit. */
  onlinePerReplica: number;
  /** A seat of a vote kept for a proven contributor or a referee is given to anybody after this time, so that nothing stands still. */
  seatMs: number;
  /** False results on weak proof that outlaw, plus one for each `faultsPerAgreed` good ones. */
  weakFaultsMax: number;
  faultsPerAgreed: number;
  /** Weight of a proven contributor, at least and at most. */
  provenWeight: number;
  weightMax: number;
  /** Stake that adds one to a weight, once a contributor is proven. */
  stakeUnit: bigint;
  defences: {
    /** The proven work alone, checked by samples; otherwise every unit has at least two replicas. Not a defence, but what the others pay for. */
    adaptive: boolean;
    /** The share of proven liars sets replicas, quorum and sampling. */
    climate: boolean;
    /** Votes of newcomers need a proven one among them. */
    anchors: boolean;
    /** The seats of a vote are given one by one. */
    serial: boolean;
    /** Accepted units are replayed. */
    canaries: boolean;
    /** What strangers decided, or one that left unchecked, is looked at later. */
    lateLooks: boolean;
    /** Unanimous votes are sampled before they count. */
    audits: boolean;
    /** All that a proven liar has touched is looked at again. */
    secondLooks: boolean;
    /** A proven liar gets no more work and has no weight. */
    outlaw: boolean;
    /** Only what an independent result has confirmed makes a contributor proven. */
    independent: boolean;
    /** Credit waits until trust is earned, and is lost with it. */
    escrow: boolean;
  };
}

export const defaultTrustRules: TrustRules = {
  // BOINC's figure: below ten in a row a broken device is not told from a good one.
  provenStreak: 10,
  trustedVerified: 20,
  samplingFloor: 0.02,
  samplingSlope: 1,
  canaryChance: 0.02,
  strangersMs: 60_000,
  // Three quarters of those who leave after five results that nobody has looked at leave one that is looked at then.
  goneChance: 0.25,
  goneMs: 30 * 60_000,
  auditChance: 0.02,
  // One in ten until something is known: a new network of strangers votes in larger groups.
  priorLiars: 2,
  priorJudged: 20,
  // Of a third that lie, one in thirteen of the judged is known when the first are proven (10,000 contributors): nobody may work alone by then.
  levels: [0.03, 0.05, 0.15],
  smallOnline: 8,
  anchorsMin: 12,
  onlinePerReplica: 3,
  seatMs: 60_000,
  weakFaultsMax: 3,
  faultsPerAgreed: 50,
  provenWeight: 4,
  weightMax: 8,
  stakeUnit: 10n ** 18n,
  defences: {
    ...{
      adaptive: true,
      climate: true,
      anchors: true,
      serial: true,
      canaries: true,
      lateLooks: true,
      audits: true,
    },
    ...{ secondLooks: true, outlaw: true, independent: true, escrow: true },
  },
};

/**
 * What `/v1` says of who is here, what was decided and what it came to: peers, wallets, consensus, training deltas, figures of the network. Amounts of credit are
 * decimal text. Nothing here names a result before it is published.
 */
import * as v from 'valibot';
import { cidSchema } from '../codec/cid.ts';
import { addressSchema } from '../messages/hex.ts';
import { nextSchema } from './endpoint.ts';
import { amountSchema } from './api.ts';

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const time = v.pipe(v.string(), v.isoTimestamp());
const slotKind = v.picklist(['first', 'train', 'outer', 'eval']);

/** Peers that exchange blocks, and their links as each end states them: straight, by way of a TURN server, and those that could not be made. */
export const swarmSchema = v.object({ peers: count, direct: count, relayed: count, failed: count });

export const peerSchema = v.object({
  contributor: addressSchema,
  connections: count,
  vendor: v.string(),
  /** What it can compute. */
  programs: v.array(v.string()),
  /** Not there for a contributor that takes no part in the exchange of blocks. */
  swarm: v.optional(swarmSchema),
});
/** Contributors connected to the process that was asked, by address. */
export const peerListSchema = v.object({
  peers: v.array(peerSchema),
  next: nextSchema,
  /** Of all of them together. */
  swarm: v.optional(swarmSchema),
});
export type PeerList = v.InferOutput<typeof peerListSchema>;

export const standingSchema = v.object({
  contributor: addressSchema,
  online: v.boolean(),
  agreed: count,
  rejected: count,
  /** Credit that is its own, and credit that waits until it is trusted. */
  posted: amountSchema,
  escrowed: amountSchema,
  trusted: v.boolean(),
  /** A proven liar: it gets no work, and its word has no weight. */
  outlawed: v.boolean(),
});
export type Standing = v.InferOutput<typeof standingSchema>;
/** A wallet and the contributors it answers for, by address. A contributor without a wallet is its own. */
export const walletSchema = v.object({
  wallet: addressSchema,
  contributors: v.array(standingSchema),
  next: nextSchema,
});
export type WalletInfo = v.InferOutput<typeof walletSchema>;

const decided = {
  unit: cidSchema,
  job: cidSchema,
  round: count,
  kind: slotKind,
  lane: count,
  program: v.string(),
  /** Exact operations of one replica. */
  operations: count,
  digest: v.nullable(cidSchema),
  /** In the words of the transition that decided it. */
  reason: v.string(),
  attempt: count,
  splits: count,
  /** Equal digests that were enough. */
  quorum: count,
  replicas: count,
  /** A later check found false what had been published. */
  overturned: v.boolean(),
  plannedAt: time,
  acceptedAt: v.nullable(time),
};
export const decisionSchema = v.object(decided);
/** Published decisions of a job, newest round first. */
export const decisionListSchema = v.object({
  job: v.nullable(cidSchema),
  decisions: v.array(decisionSchema),
  next: nextSchema,
});
export type DecisionList = v.InferOutput<typeof decisionListSchema>;

export const tallySchema = v.object({
  digest: cidSchema,
  /** Who revealed it, and what their word weighed together. */
  contributors: v.array(addressSchema),
  weight: count,
});
/** One step of a replica's way, with why. */
export const stepSchema = v.object({
  at: time,
  attempt: count,
  step: v.picklist(['leased', 'agreed', 'rejected', 'expired', 'released', 'withheld', 'void']),
  /** vote: counts towards the decision; recheck: replays what was accepted; referee: its word is final. */
  purpose: v.picklist(['vote', 'recheck', 'referee']),
  contributor: addressSchema,
  owner: addressSchema,
  weight: count,
  digest: v.nullable(cidSchema),
  credit: amountSchema,
});
/** How a unit was decided. `steps` and `tally` are empty, and `decision` null, until its result is published. */
export const consensusSchema = v.object({
  unit: cidSchema,
  published: v.boolean(),
  decision: v.nullable(decisionSchema),
  tally: v.array(tallySchema),
  steps: v.array(stepSchema),
});
export type Consensus = v.InferOutput<typeof consensusSchema>;

/** What a lane of a round added to the model. */
export const deltaSchema = v.object({
  job: cidSchema,
  round: count,
  lane: count,
  unit: cidSchema,
  update: cidSchema,
  /** The block of the losses of its local steps, where there is one. */
  losses: v.nullable(cidSchema),
  operations: count,
  contributors: v.array(addressSchema),
  overturned: v.boolean(),
  acceptedAt: v.nullable(time),
});
export const deltaListSchema = v.object({
  job: v.nullable(cidSchema),
  deltas: v.array(deltaSchema),
  next: nextSchema,
});
export type DeltaList = v.InferOutput<typeof deltaListSchema>;

/** Figures of the network; of results only what is published, so up to a round old. */
export const figuresSchema = v.object({
  contributorsOnline: count,
  eventStreams: count,
  jobs: count,
  jobsRunning: count,
  rounds: count,
  unitsAccepted: count,
  unitsSplit: count,
  replicasUsed: count,
  /** What certainty costs: replicas computed for one accepted unit; null before the first round. */
  replicasPerUnit: v.nullable(v.number()),
  tokens: count,
  /** Of the last closed rounds of the jobs that are running, together. */
  tokensPerSecond: v.number(),
});
export type Figures = v.InferOutput<typeof figuresSchema>;

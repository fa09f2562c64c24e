/**
 * What the HTTP API says of the ledger, of rewards and of lineage. Amounts are decimal text, since they outgrow what JSON's numbers hold.
 *
 * `transferSchema` has every column that the chain's hash covers, so that a client can compute the chain from the answers of `/v1/ledger` alone.
 */
import * as v from 'valibot';
import { amountSchema, tipSchema } from './api.ts';
import { cidSchema } from '../codec/cid.ts';
import { addressSchema, bytes32Schema } from '../messages/hex.ts';
import { dataSchema } from '../messages/job.ts';

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

export const transferSchema = v.object({
  /** Its place in the chain, from 1. */
  seq: count,
  kind: v.picklist(['funded', 'earned', 'released', 'voided', 'clawback', 'fine', 'bonus']),
  debit: v.string(),
  credit: v.string(),
  amount: amountSchema,
  job: v.nullable(cidSchema),
  unit: v.nullable(cidSchema),
  assignment: v.nullable(bytes32Schema),
  reason: v.string(),
  /** Milliseconds since the epoch. */
  at: count,
  hash: bytes32Schema,
});
export type TransferInfo = v.InferOutput<typeof transferSchema>;

/** `GET /v1/ledger?after=SEQ`: sealed transfers in the order of the chain. */
export const ledgerPageSchema = v.object({ transfers: v.array(transferSchema), tip: tipSchema });
export type LedgerPage = v.InferOutput<typeof ledgerPageSchema>;

/** What a contributor has in all, with its proof against a root over everybody's. */
export const rewardProofSchema = v.object({
  contributor: addressSchema,
  amount: amountSchema,
  root: bytes32Schema,
  siblings: v.array(bytes32Schema),
  /** The place in the ledger's chain that the root belongs to. */
  tip: tipSchema,
});
export type RewardProof = v.InferOutput<typeof rewardProofSchema>;

export const shareSchema = v.object({ contributor: addressSchema, amount: amountSchema });
export type ShareInfo = v.InferOutput<typeof shareSchema>;

const work = {
  unit: cidSchema,
  /** The digest that stands today. */
  digest: v.nullable(cidSchema),
  /** A later check found false what had been used already. */
  overturned: v.boolean(),
  /** Whose results agreed, and what each has earned by it. */
  contributors: v.array(shareSchema),
};

export const lineageLaneSchema = v.object({
  ...work,
  lane: count,
  /** What the round's checkpoint was made of, even when the unit was overturned. */
  update: cidSchema,
  /** The shard of the data that it read. */
  tokens: cidSchema,
  /** Tokens that were trained on. */
  count,
  /** Which time over the data it belongs to; 1 is the first. */
  pass: count,
});

export const lineageRoundSchema = v.object({
  round: count,
  checkpoint: cidSchema,
  /** The checkpoint before. */
  parent: cidSchema,
  outer: v.object(work),
  lanes: v.array(lineageLaneSchema),
});

/** `GET /v1/data-lineage/{checkpoint}`: where a checkpoint comes from, newest round first. */
export const lineageSchema = v.object({
  checkpoint: cidSchema,
  job: cidSchema,
  name: v.string(),
  data: v.object({
    /** Null where the job does not say. */
    origin: v.nullable(dataSchema),
    sizeBytes: count,
    blocks: count,
    /** Pieces that the text is cut into, of one more byte than the model's context. */
    windows: count,
    /** Windows read up to this checkpoint, each as often as it was read. */
    windowsConsumed: count,
    /** How often the data has been consumed, on average: windowsConsumed / windows. */
    timesConsumed: v.number(),
  }),
  rounds: v.array(lineageRoundSchema),
  /** Rounds of this page with an overturned unit. */
  overturned: v.array(count),
  /** What of the whole model is whose, the largest first; of all rounds until now, fines aside. */
  shares: v.array(shareSchema),
  /** Where to go on: the checkpoint before the oldest round of this page; null at a beginning. */
  next: v.nullable(cidSchema),
});
export type Lineage = v.InferOutput<typeof lineageSchema>;
export type LineageRound = v.InferOutput<typeof lineageRoundSchema>;

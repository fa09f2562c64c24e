/**
 * The JSON that `/v1` speaks: schemas, types, route table. The coordinator serves exactly these shapes and the page and the tools parse them.
 * Losses are nats per byte.
 */
import * as v from 'valibot';
import { cidSchema } from '../codec/cid.ts';
import { addressSchema, bytes32Schema } from '../messages/hex.ts';
import { modelConfigSchema, policySchema } from '../messages/model.ts';

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const seconds = v.number();

export const chainSchema = v.object({
  chainId: count,
  rpcUrl: v.string(),
  /** RoundAnchor's address. */
  contract: addressSchema,
  /** The block it was deployed in, where that is known: no event is older. */
  fromBlock: v.optional(count),
});
export type ChainInfo = v.InferOutput<typeof chainSchema>;

export const networkSchema = v.object({
  network: bytes32Schema,
  version: v.string(),
  chain: v.nullable(chainSchema),
  contributorsOnline: count,
  /** What contributors know the coordinator by: the address of the key that it signs its welcomes with. */
  identity: v.optional(addressSchema),
});
export type NetworkInfo = v.InferOutput<typeof networkSchema>;

export const anchorSchema = v.object({
  root: bytes32Schema,
  tx: bytes32Schema,
  blockNumber: count,
});

/** Amounts of credit are decimal text, since they outgrow what JSON's numbers hold. */
export const amountSchema = v.pipe(v.string(), v.maxLength(80), v.regex(/^\d+$/, 'expected a whole number'));

/** A place in the ledger's chain. */
export const tipSchema = v.object({ seq: count, hash: bytes32Schema });

/** The root over everybody's rewards as they were at a place of the ledger's chain. */
export const rewardsRootSchema = v.object({
  root: bytes32Schema,
  tip: tipSchema,
  contributors: count,
  total: amountSchema,
});
export type RewardsRoot = v.InferOutput<typeof rewardsRootSchema>;

export const roundSchema = v.object({
  round: count,
  /** Held-out loss after the round. */
  loss: v.number(),
  /** Mean loss of the lanes' last local steps. */
  trainLoss: v.number(),
  checkpoint: cidSchema,
  lanes: count,
  tokens: count,
  seconds,
  tokensPerSecond: v.number(),
  contributors: count,
  unitsAccepted: count,
  unitsSplit: count,
  replicasUsed: count,
  /** Units that a later check found false after they had been used; not there while there are none. */
  overturned: v.optional(count),
  /** Everybody's rewards when the round closed; null, or not there, while nobody had one. */
  rewards: v.optional(v.nullable(rewardsRootSchema)),
  anchor: v.nullable(anchorSchema),
});
export type RoundSummary = v.InferOutput<typeof roundSchema>;

export const laneStateSchema = v.object({
  unit: cidSchema,
  program: v.string(),
  /** Rounds overlap: one is still measured while the next is trained. */
  round: count,
  lane: v.nullable(count),
  /** Measures the checkpoint that training began with; not there for others. */
  initial: v.optional(v.boolean()),
  state: v.picklist(['ready', 'leased', 'revealing', 'split', 'accepted', 'failed']),
  replicas: count,
  /** 0..1, of the replica that is furthest. */
  progress: v.number(),
});

export const jobStatusSchema = v.object({
  id: cidSchema,
  name: v.string(),
  model: modelConfigSchema,
  parameters: count,
  policy: policySchema,
  lanes: count,
  stepsPerRound: count,
  batch: count,
  state: v.picklist(['running', 'done', 'stalled']),
  /** Its share of the network among other jobs. */
  weight: v.optional(v.number()),
  /** Credit that its work may still earn; null where the network pays. */
  pool: v.optional(v.nullable(amountSchema)),
  /** It is stalled because its owner has it rest, or has cancelled it. */
  paused: v.optional(v.boolean()),
  cancelled: v.optional(v.boolean()),
  /** The round that is being computed; round 1 is the first. */
  round: count,
  lossFirst: v.nullable(v.number()),
  lossLast: v.nullable(v.number()),
  unigramEntropy: v.number(),
  /** True entropy per byte of the generated corpus; null for a user's text. */
  sourceEntropy: v.nullable(v.number()),
  checkpoint: v.nullable(cidSchema),
  unitsAccepted: count,
  unitsSplit: count,
  replicasUsed: count,
  units: v.array(laneStateSchema),
  rounds: v.array(roundSchema),
});
export type JobStatus = v.InferOutput<typeof jobStatusSchema>;

/** The cursor of the next page; null on the last one. */
const next = v.optional(v.nullable(v.string()));

/** `GET /v1/jobs`: newest first. A server may send more fields, up to the whole status. */
export const jobListSchema = v.object({
  next,
  jobs: v.array(
    v.object({
      id: cidSchema,
      name: v.string(),
      state: jobStatusSchema.entries.state,
      round: count,
      lossLast: v.nullable(v.number()),
    }),
  ),
});
export type JobList = v.InferOutput<typeof jobListSchema>;

/** `GET /v1/jobs/{id}/rounds`: oldest first. */
export const roundListSchema = v.object({ rounds: v.array(roundSchema), next });
export type RoundList = v.InferOutput<typeof roundListSchema>;

export const contributorSchema = v.object({
  contributor: addressSchema,
  online: v.boolean(),
  agreed: count,
  rejected: count,
  credit: count,
});
export type ContributorInfo = v.InferOutput<typeof contributorSchema>;

/** One accepted workunit with what an auditor needs; bytes are base64 of canonical DAG-CBOR. */
export const unitSchema = v.object({
  unit: cidSchema,
  unitBytes: v.string(),
  job: cidSchema,
  round: count,
  state: v.string(),
  resultBytes: v.nullable(v.string()),
  digest: v.nullable(cidSchema),
  replicas: v.array(
    v.object({ contributor: addressSchema, state: v.string(), digest: v.nullable(cidSchema) }),
  ),
  /** Merkle proof of (unit, digest) against the round's anchored root; null until the round is closed. */
  proof: v.nullable(v.object({ root: bytes32Schema, siblings: v.array(bytes32Schema) })),
  anchor: v.nullable(anchorSchema),
});
export type UnitInfo = v.InferOutput<typeof unitSchema>;

/** Events of `/v1/jobs/{id}/events`; SSE `id` is the sequence number, `event` is `type`. */
export const jobEventSchema = v.variant('type', [
  v.object({ type: v.literal('round'), round: roundSchema }),
  v.object({ type: v.literal('unit'), unit: laneStateSchema }),
  v.object({ type: v.literal('anchor'), round: count, anchor: anchorSchema }),
  v.object({ type: v.literal('contributors'), online: count }),
]);
export type JobEvent = v.InferOutput<typeof jobEventSchema>;

/** The paths. What each takes and answers is in `table.ts`, which the page does not load. */
export const routes = {
  contribute: '/v1/contribute',
  network: '/v1/network',
  jobs: '/v1/jobs',
  job: '/v1/jobs/:id',
  jobPool: '/v1/jobs/:id/pool',
  jobRounds: '/v1/jobs/:id/rounds',
  jobEvents: '/v1/jobs/:id/events',
  unit: '/v1/units/:cid',
  contributor: '/v1/contributors/:address',
  files: '/v1/files',
  signIn: '/v1/siwe',
  keys: '/v1/keys',
  key: '/v1/keys/:id',
  links: '/v1/links',
  peers: '/v1/peers',
  ice: '/v1/ice',
  wallet: '/v1/wallet/:address',
  decisions: '/v1/consensus',
  consensus: '/v1/consensus/:unit',
  deltas: '/v1/training-deltas',
  ledger: '/v1/ledger',
  rewards: '/v1/rewards',
  reward: '/v1/rewards/:address',
  shares: '/v1/jobs/:id/shares',
  figures: '/v1/metrics',
  lineage: '/v1/data-lineage/:checkpoint',
  block: '/ipfs/:cid',
  openapi: '/openapi.json',
  docs: '/docs',
  health: '/healthz',
  ready: '/readyz',
  metrics: '/metrics',
} as const;

/** A route with its one parameter filled in. */
export function routePath(route: string, parameter: string): string {
  return route.replace(/:[a-z]+/, encodeURIComponent(parameter));
}

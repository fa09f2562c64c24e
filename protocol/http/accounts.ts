/**
 * What clients and wallets say and hear: sign-in (EIP-4361), API keys, links between a wallet and its contributors, files and jobs.
 *
 * The server writes the text that a wallet signs, so that there is nothing in it to be checked but that it is the same; a nonce is good for one use.
 */
import * as v from 'valibot';
import { cidSchema } from '../codec/cid.ts';
import { limits } from '../limits.ts';
import { addressSchema, signatureSchema } from '../messages/hex.ts';
import { modelConfigSchema, policySchema, within } from '../messages/model.ts';
import { dataSchema } from '../messages/job.ts';

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const time = v.pipe(v.string(), v.isoTimestamp());
/** Wallets show checksummed addresses; inside, all are lower-case. */
export const anyAddressSchema = v.pipe(v.string(), v.maxLength(42), v.toLowerCase(), addressSchema);
const nonce = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'expected 64 hex digits'));
/** A wallet may write v as 0 or 1 and digits in capitals. */
const walletSignature = v.pipe(v.string(), v.maxLength(132), v.toLowerCase(), signatureSchema);

export const keyNameSchema = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}$/, 'expected 1 to 60 letters, digits, spaces, . _ -'),
);
export const scopeSchema = v.picklist(['jobs', 'operate']);
export type Scope = v.InferOutput<typeof scopeSchema>;

export const signInRequestSchema = v.object({
  /** The wallet that is going to sign. */
  address: anyAddressSchema,
  action: v.variant('type', [
    v.object({ type: v.literal('key'), name: keyNameSchema }),
    v.object({ type: v.literal('link'), contributor: anyAddressSchema }),
  ]),
});
export type SignInRequest = v.InferOutput<typeof signInRequestSchema>;

export const signInSchema = v.object({
  nonce,
  /** EIP-4361 text, to be signed as it is (`personal_sign`). */
  message: v.string(),
  expiresAt: time,
});
export type SignIn = v.InferOutput<typeof signInSchema>;

export const newKeySchema = v.object({ nonce, signature: walletSignature });

export const keySchema = v.object({
  id: v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/)),
  name: v.string(),
  /** The wallet that made it; null for a key of the operator's. */
  owner: v.nullable(addressSchema),
  scopes: v.array(scopeSchema),
  createdAt: time,
  expiresAt: v.nullable(time),
});
export type KeyInfo = v.InferOutput<typeof keySchema>;
/** The one time that the key itself is shown. */
export const madeKeySchema = v.object({ ...keySchema.entries, key: v.string() });
export type MadeKey = v.InferOutput<typeof madeKeySchema>;
export const keyListSchema = v.object({ keys: v.array(keySchema), next: v.nullable(v.string()) });

export const newLinkSchema = v.object({
  nonce,
  /** The wallet's, of the sign-in text. */
  signature: walletSignature,
  /** The contributor's, of the typed data `Link { contributor, wallet, nonce }`. */
  contributorSignature: signatureSchema,
});
export const linkSchema = v.object({ contributor: addressSchema, wallet: addressSchema });
export type LinkInfo = v.InferOutput<typeof linkSchema>;

/** A stored file: what a job's `corpus` is. */
export const fileInfoSchema = v.object({
  size: count,
  blocks: v.pipe(v.array(cidSchema), v.maxLength(limits.fileBlocksMax)),
});
export type FileInfo = v.InferOutput<typeof fileInfoSchema>;

const real = (min: number, max: number, otherwise: number) =>
  v.optional(v.pipe(v.number(), v.finite(), v.minValue(min), v.maxValue(max)), otherwise);

/** Credit, as decimal text. */
export const positiveAmountSchema = v.pipe(
  v.string(),
  v.regex(/^[1-9]\d{0,29}$/, 'expected a whole number from 1, of at most 30 digits'),
);
export const jobWeightSchema = v.pipe(v.number(), v.finite(), v.minValue(0.01), v.maxValue(100));

/** Real numbers are decimals here; the job holds the f32 nearest to each. */
export const newJobSchema = v.object({
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(120)),
  model: modelConfigSchema,
  policy: v.optional(policySchema, 'i10sr'),
  training: v.object({
    lanes: within(1, 60),
    steps: within(1, 1000),
    batch: within(1, 1024),
    lr: real(0, 1, 0.003),
    warmup: v.optional(within(0, 100_000), 100),
    beta1: real(0, 0.9999, 0.9),
    beta2: real(0, 0.99999, 0.99),
    eps: real(1e-12, 1e-2, 1e-8),
    weightDecay: real(0, 1, 0.01),
    clipNorm: v.optional(v.pipe(v.number(), v.finite(), v.minValue(1e-6), v.maxValue(1e6))),
    outerLr: real(0, 10, 1),
    outerMomentum: real(0, 0.9999, 0.7),
    heldOut: v.optional(within(1, 65_536), 64),
  }),
  /** As `POST /v1/files` answered it. */
  corpus: fileInfoSchema,
  /** Where the text comes from and what it is worth. */
  data: v.exactOptional(dataSchema),
  seed: v.optional(within(0, 0xffffffff), 1),
  /** Rounds to compute in all. */
  rounds: within(1, 1_000_000),
  /** Its share of the network among other jobs; above 1 for the operator alone. */
  weight: v.exactOptional(jobWeightSchema),
  /** All the credit that its work may earn; without, the network pays for it. Counts when the job is new. */
  budget: v.exactOptional(positiveAmountSchema),
});
export type NewJob = v.InferOutput<typeof newJobSchema>;

export const startedJobSchema = v.object({ id: cidSchema });

/** What the owner of a job changes: at least one of them. */
export const jobChangeSchema = v.pipe(
  v.object({
    /** Its share of the network among other jobs, from the next units on; above 1 for the operator alone. */
    weight: v.exactOptional(jobWeightSchema),
    /** While it rests its units are offered to nobody; what has been leased is finished. */
    paused: v.exactOptional(v.boolean()),
  }),
  v.check((change) => Object.keys(change).length > 0, 'expected a weight or whether it is paused'),
);
export type JobChangeOrder = v.InferOutput<typeof jobChangeSchema>;

export const fundingSchema = v.object({
  amount: positiveAmountSchema,
  /** Names the payment: sent again with the same one, it is not made again. */
  reference: v.pipe(v.string(), v.regex(/^[A-Za-z0-9._-]{1,64}$/, 'expected 1 to 64 letters, digits, . _ -')),
});
export const fundedSchema = v.object({
  id: cidSchema,
  /** False when a payment of this reference had been made before. */
  paid: v.boolean(),
  /** What the job has left to spend. */
  pool: v.string(),
});

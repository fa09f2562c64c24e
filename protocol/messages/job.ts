/**
 * A training job as a canonical document; its id is its CID. Everything that decides a bit of the outcome is in here, and beside it only
 * its name and the origin of its text.
 * Real numbers are f32 bits (u32), because a decimal is not portable.
 */
import * as v from 'valibot';
import { encodeCanonical, parseExact } from '../codec/cbor.ts';
import { type Cid, cborCode, cidOfSync } from '../codec/cid.ts';
import { limits } from '../limits.ts';
import { fileSchema, fileToLinks } from './file.ts';
import { modelConfigSchema, policySchema, within } from './model.ts';
import { u32Schema } from './workunit.ts';

export { type ModelConfig, modelConfigSchema, type Policy, policySchema } from './model.ts';

export const trainingSchema = v.strictObject({
  /** Data-parallel lanes a round. */
  lanes: within(1, 64),
  /** H, local optimiser steps a lane takes in a round. */
  steps: within(1, 1000),
  /** B, sequences of T tokens in one step. */
  batch: within(1, 1024),
  /** The same of each lane, where lanes differ: small ones for small devices. An outer step weighs all lanes alike. */
  batches: v.exactOptional(v.pipe(v.array(within(1, 1024)), v.minLength(1), v.maxLength(64))),
  /** Peak learning rate, f32 bits. */
  lr: u32Schema,
  /** Steps of linear warm-up. */
  warmup: within(0, 100_000),
  beta1: u32Schema,
  beta2: u32Schema,
  eps: u32Schema,
  weightDecay: u32Schema,
  /** Largest norm of all gradients together, f32 bits; gradients are not clipped unless given. */
  clipNorm: v.exactOptional(u32Schema),
  outerLr: u32Schema,
  outerMomentum: u32Schema,
  /** Held-out sequences of T tokens that `eval.loss` averages over. */
  heldOut: within(1, 65_536),
});
export type Training = v.InferOutput<typeof trainingSchema>;

/** Where the text comes from and what it is worth. It decides no bit of the outcome, but belongs to what a model is made of. */
export const dataSchema = v.strictObject({
  /** Where it can be had, or what it is called. */
  source: v.pipe(v.string(), v.minLength(1), v.maxLength(limits.reasonCharsMax)),
  /** An SPDX identifier where there is one. */
  licence: v.pipe(v.string(), v.minLength(1), v.maxLength(limits.labelCharsMax)),
  /** What work on it earns of its operations, in permille. */
  quality: within(0, 1000),
});
export type DataOrigin = v.InferOutput<typeof dataSchema>;

export const jobSchema = v.strictObject({
  v: v.literal(1),
  kind: v.literal('train'),
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(120)),
  model: modelConfigSchema,
  policy: policySchema,
  training: trainingSchema,
  /** UTF-8 text, as bytes; one byte is one token. */
  corpus: fileSchema,
  /** Origin of the corpus; unknown, and of full quality, unless given. */
  data: v.exactOptional(dataSchema),
  seed: u32Schema,
});
export type Job = v.InferOutput<typeof jobSchema>;

export function encodeJob(job: Job): Uint8Array {
  return encodeCanonical({ ...job, corpus: fileToLinks(job.corpus) });
}

/** Throws `bad_request` or `too_large`. */
export function decodeJob(bytes: Uint8Array): Job {
  return parseExact(jobSchema, bytes, encodeJob);
}

export function jobId(job: Job): Cid {
  return cidOfSync(encodeJob(job), cborCode);
}

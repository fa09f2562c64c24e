/** What a running node is asked over its control socket, and answers: one line of JSON each way, then the connection ends. */
import * as v from 'valibot';
import { problemSchema } from '#protocol/errors.ts';

/** Of a question; an answer may be larger, since a view has sentences in it. */
export const questionBytesMax = 4 << 10;
export const answerBytesMax = 64 << 10;
/** A connection that says nothing for so long is closed. */
export const silenceMsMax = 5_000;

export const questionSchema = v.object({ command: v.picklist(['status', 'pause', 'resume', 'drain']) });
export type Question = v.InferOutput<typeof questionSchema>;

const count = v.number();
const bytes = v.optional(v.number());

/** What `status` shows. What newer nodes say besides is left out, not refused. */
export const statusSchema = v.object({
  name: v.string(),
  pid: count,
  version: v.string(),
  /** Without its credentials. */
  url: v.string(),
  /** What was asked for. */
  backend: v.string(),
  startedAt: v.string(),
  uptimeSeconds: count,
  draining: v.boolean(),
  /** Who holds the node back, in full sentences. */
  held: v.array(v.string()),
  phase: v.string(),
  reason: v.string(),
  contributor: v.nullable(v.string()),
  device: v.nullable(v.object({ backend: v.string(), label: v.string() })),
  why: v.optional(v.string()),
  unit: v.nullable(v.object({ program: v.string(), done: count, total: count })),
  pending: count,
  agreed: count,
  rejected: count,
  credit: count,
  bytesDown: count,
  bytesUp: count,
  keptBytes: bytes,
  keptBytesMax: bytes,
  peers: v.optional(v.object({ state: v.string(), direct: count, relayed: count })),
  problem: v.nullable(v.string()),
});
export type NodeStatus = v.InferOutput<typeof statusSchema>;

export const answerSchema = v.variant('ok', [
  v.object({ ok: v.literal(true), status: statusSchema }),
  v.object({ ok: v.literal(false), problem: problemSchema }),
]);
export type Answer = v.InferOutput<typeof answerSchema>;

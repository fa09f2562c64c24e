/**
 * Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a request that is sent again, because its answer was lost, gets the first one's answer and does
 * nothing twice. Kept for a day, for each owner apart; what failed on our side is not kept.
 */
import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { AtollError } from '#protocol/errors.ts';
import type { Clock } from '../service/ports.ts';
import type { Shelf } from '../storage/shelf.ts';
import type { AppContext } from './context.ts';

const kind = 'repeat';
/** A process that died in the middle of a request does not hold its key for longer. */
const busyMs = 10 * 60_000;
const keptMs = 24 * 60 * 60_000;
/** Answers are small documents; a larger one is not kept, and says so by failing. */
const answerCharsMax = 256 << 10;

const storedSchema = v.object({
  fingerprint: v.string(),
  answer: v.nullable(v.object({ status: v.number(), body: v.string(), location: v.nullable(v.string()) })),
});
type Stored = v.InferOutput<typeof storedSchema>;

export interface Repeats {
  /** Throws `bad_request`, `conflict` (the first one is still at work) or `bad_input` (another request under the same key). */
  once(context: AppContext, body: string, answer: () => Promise<Response>): Promise<Response>;
}

export function createRepeats({ shelf, clock }: { shelf: Shelf; clock: Clock }): Repeats {
  const put = (key: string, stored: Stored, ms: number) =>
    recordOf(key, JSON.stringify(stored), clock.now(), ms);
  return {
    async once(context, body, answer) {
      const given = context.req.header('idempotency-key');
      if (given === undefined) return answer();
      const key = keyOf(context, given);
      const fingerprint = fingerprintOf(context, body);
      if (!(await shelf.add(put(key, { fingerprint, answer: null }, busyMs), clock.now()))) {
        return replay(context, fingerprint, await shelf.get(kind, key, clock.now()));
      }
      try {
        const response = await answer();
        const text = await response.clone().text();
        const kept = { status: response.status, body: text, location: response.headers.get('location') };
        if (text.length > answerCharsMax) throw new AtollError('internal', 'The answer is too long to keep.');
        await shelf.put(put(key, { fingerprint, answer: kept }, keptMs));
        return response;
      } catch (error) {
        await shelf.take(kind, key, clock.now());
        throw error;
      }
    },
  };
}

function recordOf(key: string, value: string, now: number, ms: number) {
  return { kind, key, owner: '', value, createdAt: now, expiresAt: now + ms };
}

function keyOf(context: AppContext, given: string): string {
  if (!/^[\x21-\x7e]{1,128}$/.test(given)) {
    throw new AtollError('bad_request', 'An Idempotency-Key has 1 to 128 visible ASCII characters.');
  }
  const principal = context.get('principal');
  return sha256(`${principal?.owner ?? principal?.keyId ?? ''} ${given}`);
}

/** `body` is the whole of a JSON body; of an upload, which is not held in memory, the length counts. */
function fingerprintOf(context: AppContext, body: string): string {
  const { method, path } = context.req;
  return sha256(`${method} ${path} ${context.req.header('content-length') ?? ''} ${body}`);
}

function replay(context: AppContext, fingerprint: string, record: { value: string } | null): Response {
  const stored = record ? v.parse(storedSchema, JSON.parse(record.value)) : null;
  if (stored && stored.fingerprint !== fingerprint) {
    throw new AtollError('bad_input', 'This Idempotency-Key was used for another request. Take a new one.');
  }
  // Gone again meanwhile: the first one failed, so the client may try once more.
  if (!stored?.answer) {
    throw new AtollError('conflict', 'The first request with this Idempotency-Key is still at work.');
  }
  const { status, body, location } = stored.answer;
  return context.body(body, status as 200, {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    'idempotency-replayed': 'true',
    ...(location === null ? {} : { location }),
  });
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

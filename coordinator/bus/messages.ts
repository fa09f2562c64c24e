/**
 * The messages of the bus, and batches of them as bytes. What comes in is checked like anything from outside: a NATS server may carry more
 * than this network, and processes of two versions may run side by side while one is replaced.
 */
import * as v from 'valibot';
import { cidSchema } from '#protocol/codec/cid.ts';
import { anchorSchema, roundSchema } from '#protocol/http/api.ts';
import { limits } from '#protocol/limits.ts';
import { fromCoordinatorSchema } from '#protocol/messages/frames.ts';
import { addressSchema } from '#protocol/messages/hex.ts';

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const many = <S extends v.GenericSchema>(item: S) => v.pipe(v.array(item), v.maxLength(limits.busListMax));

export const busMessageSchema = v.variant('t', [
  /** A frame for a contributor that is connected elsewhere, if at all. */
  v.object({ t: v.literal('tell'), to: addressSchema, frame: fromCoordinatorSchema }),
  /** These units changed; for event streams. `accepted`: a planner may have something to do. */
  v.object({ t: v.literal('units'), units: many(cidSchema), accepted: v.boolean() }),
  /** The outputs of this unit are to be fetched by who is connected to a holder. */
  v.object({ t: v.literal('agreed'), unit: cidSchema }),
  v.object({ t: v.literal('round'), job: cidSchema, round: roundSchema }),
  v.object({ t: v.literal('anchor'), job: cidSchema, round: count, anchor: anchorSchema }),
  /** Which jobs are worked on has changed. */
  v.object({ t: v.literal('jobs') }),
  /** These contributors have left the asker. Who has them says so, and their leases stay theirs. */
  v.object({ t: v.literal('seek'), contributors: many(addressSchema) }),
  v.object({ t: v.literal('here'), contributors: many(addressSchema) }),
]);
export type BusMessage = v.InferOutput<typeof busMessageSchema>;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/** The first messages of `queue` as one batch, taken off it; null when there are none. */
export function takeBatch(queue: BusMessage[]): Uint8Array | null {
  const parts: string[] = [];
  let size = 2;
  for (const message of queue) {
    const part = JSON.stringify(message);
    // A character is at most three bytes of UTF-8.
    size += part.length * 3 + 1;
    if (parts.length > 0 && size > limits.busBatchBytesMax) break;
    parts.push(part);
  }
  queue.splice(0, parts.length);
  return parts.length > 0 ? encoder.encode(`[${parts.join()}]`) : null;
}

/** The messages of a batch; those that are malformed or of an unknown kind are left out. */
export function readBatch(bytes: Uint8Array): BusMessage[] {
  if (bytes.byteLength > limits.busBatchBytesMax) return [];
  let list: unknown;
  try {
    list = JSON.parse(decoder.decode(bytes));
  } catch {
    return [];
  }
  if (!Array.isArray(list)) return [];
  return list.flatMap((item) => {
    const parsed = v.safeParse(busMessageSchema, item);
    return parsed.success ? [parsed.output] : [];
  });
}

/**
 * A replica as it is kept beyond this process, from before its commit leaves until it is settled: all that its commit and reveal are made of.
 *
 * Canonical DAG-CBOR, so that one replica has one form. The salt is a secret until the reveal: who keeps it keeps it from others.
 */
import type { Hex } from 'viem';
import * as v from 'valibot';
import { encodeCanonical, parseDocument } from '#protocol/codec/cbor.ts';
import { type Cid, cborCode, cidOfSync, cidSchema, digestOfCid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import { commitmentOf, toHex } from '#protocol/messages/contribution.ts';
import { addressSchema, bytes32Schema, signatureSchema } from '#protocol/messages/hex.ts';
import { programIdSchema } from '#protocol/messages/workunit.ts';
import type { Replica } from './replica-book.ts';

/** A record: its result, its blocks' names and some hundred bytes. */
export const keptReplicaBytesMax = 2 * limits.documentBytesMax;

const keptReplicaSchema = v.object({
  v: v.literal(1),
  contributor: addressSchema,
  network: bytes32Schema,
  assignment: bytes32Schema,
  unit: cidSchema,
  program: programIdSchema,
  result: v.custom<Uint8Array>((value) => value instanceof Uint8Array, 'expected bytes'),
  salt: bytes32Schema,
  commitSignature: signatureSchema,
  /** What the unit has put, with the size of each. */
  blocks: v.pipe(
    v.array(v.object({ cid: cidSchema, size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)) })),
    v.maxLength(4 * limits.fileBlocksMax + 64),
  ),
});
export type KeptReplica = v.InferOutput<typeof keptReplicaSchema>;

export function encodeKeptReplica(kept: KeptReplica): Uint8Array {
  return encodeCanonical(kept);
}

/** Throws `bad_request` or `too_large`. */
export function decodeKeptReplica(bytes: Uint8Array): KeptReplica {
  return parseDocument(keptReplicaSchema, bytes, keptReplicaBytesMax);
}

export function keptOf(
  { assignment, network, unit, program, resultBytes, salt, commitSignature }: Replica,
  contributor: Hex,
  blocks: readonly { cid: Cid; size: number }[],
): KeptReplica {
  const own = { assignment, network, unit, program, salt, commitSignature };
  return { v: 1, contributor, ...own, result: resultBytes, blocks: [...blocks] };
}

/** As it stands after a start: whether its commit arrived, and whether it was opened, the coordinator is asked. */
export function restored(kept: KeptReplica, isRevealed: boolean): Replica {
  const { contributor, network, assignment, unit, program, result, salt, commitSignature } = kept;
  const digestBytes = digestOfCid(cidOfSync(result, cborCode));
  return {
    ...{ assignment, network, unit, program, salt, commitSignature },
    resultBytes: result,
    digest: toHex(digestBytes),
    commitment: commitmentOf(assignment, contributor, salt, digestBytes),
    blocks: kept.blocks.map(({ cid }) => cid),
    waitedMs: 0,
    isPinned: false,
    isRestored: true,
    state: 'committing',
    commitSent: false,
    revealSignature: null,
    revealSent: isRevealed,
  };
}

/** Whoever could not keep it says why, and that it was not committed to. */
export function notKept(why: string, cause?: unknown): AtollError {
  return new AtollError(
    'storage_failed',
    `A result could not be kept, so it was not committed to: ${why}`,
    cause === undefined ? {} : { cause },
  );
}

/**
 * The frames of `/v1/contribute`: one DAG-CBOR map per WebSocket message, told apart by `t`.
 *
 * Order of a life: challenge -> hello -> welcome -> (ask -> lease | idle) -> commit -> committed -> open -> reveal -> revealed -> pull -> block -> verdict.
 * Frames are not hashed, so CIDs travel as strings. A change is additive or a new `v`.
 */
import * as v from 'valibot';
import type { Hex } from 'viem';
import { decodeCanonical, encodeCanonical, parseValue } from '../codec/cbor.ts';
import { cidSchema } from '../codec/cid.ts';
import { decodeFlat } from '../codec/flat-map.ts';
import { AtollError, problemSchema } from '../errors.ts';
import { limits } from '../limits.ts';
import { addressSchema, bytes32Schema, signatureSchema } from './hex.ts';
import { peerIdSchema, signedPeerRecordSchema } from '../p2p/record.ts';
import { programIdSchema, u32Schema } from './workunit.ts';

const label = v.pipe(v.string(), v.maxLength(limits.labelCharsMax));
const reason = v.pipe(v.string(), v.maxLength(limits.reasonCharsMax));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const bytesUpTo = (max: number) =>
  v.pipe(
    v.custom<Uint8Array>((value) => value instanceof Uint8Array, 'expected bytes'),
    v.check((bytes) => bytes.byteLength <= max, `expected at most ${max} bytes`),
  );

const resultBytesMax = 64 << 10;
const cids = (max: number) => v.pipe(v.array(cidSchema), v.maxLength(max));
/** Multiaddrs at which a peer is found; none means by way of the coordinator's relay. */
const addresses = v.pipe(
  v.array(v.pipe(v.string(), v.maxLength(limits.peerAddressCharsMax))),
  v.maxLength(limits.peerAddressesMax),
);

/** How the round's update after a checkpoint is applied, and what is to be applied: see kernels/programs/train-apply/spec.ts. A hint; the CID decides. */
export const syncHintSchema = v.object({
  /** A checkpoint that the contributor said it holds. */
  from: cidSchema,
  /** Of the rounds after it, oldest first. */
  updates: v.pipe(
    v.array(v.object({ update: cidSchema, packed: v.optional(cidSchema) })),
    v.minLength(1),
    v.maxLength(limits.syncRoundsMax),
  ),
  steps: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(1000)),
  outerLr: u32Schema,
  outerMomentum: u32Schema,
});
export type SyncHint = v.InferOutput<typeof syncHintSchema>;

/** Why a peer is complained of. Weak evidence: anybody can say it of anybody. */
export const peerFaultSchema = v.picklist([
  'bad_block',
  'false_have',
  'stall',
  'flood',
  'bad_frame',
  'bad_record',
]);
export type PeerFault = v.InferOutput<typeof peerFaultSchema>;

/** Peers to exchange blocks with. */
export const neighbourSchema = v.object({
  peer: peerIdSchema,
  addresses,
  /** This side dials; the other waits. */
  dial: v.boolean(),
});
export type Neighbour = v.InferOutput<typeof neighbourSchema>;

export const backendSchema = v.picklist(['reference', 'wasm', 'webgpu', 'cuda']);
export type Backend = v.InferOutput<typeof backendSchema>;

/** What runs the work, as shown to people. Nothing here is trusted. */
export const deviceInfoSchema = v.object({
  backend: backendSchema,
  label,
  vendor: label,
  software: v.boolean(),
  /** What a unit may take, as far as the device tells. */
  memoryBytes: v.optional(count),
});
export type DeviceInfo = v.InferOutput<typeof deviceInfoSchema>;

export const fromContributorSchema = v.variant('t', [
  v.object({
    t: v.literal('hello'),
    v: v.literal(1),
    contributor: addressSchema,
    signature: signatureSchema,
    device: deviceInfoSchema,
    /** Digest of the conformance probe's outputs on this device. */
    probe: bytes32Schema,
    programs: v.pipe(v.array(programIdSchema), v.maxLength(limits.programsMax)),
    /** Fresh and random: the server is to sign it, so that it can be known by its key. */
    nonce: v.optional(bytes32Schema),
  }),
  v.object({
    t: v.literal('ask'),
    /** Checkpoints it has at hand, the newest first: work on one of them costs no download. */
    holds: v.optional(v.pipe(v.array(cidSchema), v.maxLength(limits.holdsMax))),
    /** A referee that leaves to others what they can decide: see `isDuty`. Nothing to who is no referee. */
    duty: v.optional(v.literal('referee')),
  }),
  v.object({
    t: v.literal('commit'),
    assignment: bytes32Schema,
    commitment: bytes32Schema,
    signature: signatureSchema,
  }),
  v.object({
    t: v.literal('reveal'),
    assignment: bytes32Schema,
    salt: bytes32Schema,
    /** Canonical bytes of the `Result`; its CID is the digest that was committed to. */
    result: bytesUpTo(resultBytesMax),
    signature: signatureSchema,
  }),
  v.object({ t: v.literal('release'), assignment: bytes32Schema, reason }),
  v.object({ t: v.literal('block'), cid: cidSchema, bytes: bytesUpTo(limits.blockBytesMax) }),
  v.object({ t: v.literal('missing'), cid: cidSchema }),
  v.object({ t: v.literal('progress'), assignment: bytes32Schema, done: count, total: count }),
  /** Takes part in the exchange of blocks between contributors; said again with a new record, or addresses. */
  v.object({ t: v.literal('announce'), record: signedPeerRecordSchema, addresses }),
  /** Where an announced peer stands; replaces what was said before. */
  v.object({
    t: v.literal('swarm'),
    /** Roots (checkpoints, updates) of which it has everything, and those that it is fetching. */
    holds: cids(limits.swarmRootsMax),
    wants: cids(limits.swarmRootsMax),
    /** Neighbours by how they are reached, and those that could not be. */
    direct: count,
    relayed: count,
    failed: v.pipe(v.array(peerIdSchema), v.maxLength(limits.neighboursMax)),
  }),
  v.object({ t: v.literal('report'), peer: peerIdSchema, fault: peerFaultSchema }),
]);
export type FromContributor = v.InferOutput<typeof fromContributorSchema>;

/** How one replica ended. `agreed`: it holds the accepted digest. `rejected`: it does not. `void`: the unit was given up, or decided without it. */
export const outcomeSchema = v.picklist(['agreed', 'rejected', 'void']);
export type Outcome = v.InferOutput<typeof outcomeSchema>;

/** Who the server is: the address of its key, and its signature (`Server`) over the nonce of the hello. */
export const serverProofSchema = v.object({ address: addressSchema, signature: signatureSchema });
export type ServerProof = v.InferOutput<typeof serverProofSchema>;

export const fromCoordinatorSchema = v.variant('t', [
  v.object({
    t: v.literal('challenge'),
    v: v.literal(1),
    network: bytes32Schema,
    nonce: bytes32Schema,
  }),
  v.object({
    t: v.literal('welcome'),
    contributor: addressSchema,
    credit: count,
    agreed: count,
    /** One of the operator's own, whose word is final. */
    referee: v.optional(v.literal(true)),
    /** To a hello with a nonce. */
    server: v.optional(serverProofSchema),
    /** The server's clock: milliseconds since 1970. */
    now: v.optional(count),
  }),
  v.object({
    t: v.literal('lease'),
    assignment: bytes32Schema,
    /** Canonical bytes of the `Workunit`. */
    unit: bytesUpTo(limits.documentBytesMax),
    /** Time left to commit. */
    leaseMs: count,
    /** How the unit's checkpoint follows from one that is held. */
    sync: v.optional(syncHintSchema),
  }),
  v.object({ t: v.literal('idle'), reason, retryMs: count }),
  v.object({ t: v.literal('committed'), assignment: bytes32Schema }),
  /** Every replica has committed or timed out: reveal now. */
  v.object({ t: v.literal('open'), assignment: bytes32Schema }),
  v.object({ t: v.literal('revealed'), assignment: bytes32Schema }),
  v.object({ t: v.literal('pull'), cids: v.pipe(v.array(cidSchema), v.maxLength(limits.pullCidsMax)) }),
  v.object({
    t: v.literal('verdict'),
    assignment: bytes32Schema,
    unit: cidSchema,
    outcome: outcomeSchema,
    /** Credit posted for this replica, in exact operations (see ledger). */
    credit: count,
    reason,
  }),
  v.object({ t: v.literal('problem'), problem: problemSchema, assignment: v.optional(bytes32Schema) }),
  /** The neighbours from now on; only to who has announced itself. */
  v.object({
    t: v.literal('peers'),
    peers: v.pipe(v.array(neighbourSchema), v.maxLength(limits.neighboursMax)),
  }),
]);
export type FromCoordinator = v.InferOutput<typeof fromCoordinatorSchema>;

export type FrameOf<F extends { t: string }, T extends F['t']> = Extract<F, { t: T }>;

export function encodeFrame(frame: FromContributor | FromCoordinator): Uint8Array {
  const bytes = encodeCanonical(frame);
  if (bytes.byteLength > limits.frameBytesMax) {
    throw new AtollError('too_large', `The ${frame.t} frame has ${bytes.byteLength} bytes.`);
  }
  return bytes;
}

/** Throws `too_large` or `bad_frame`. */
export function decodeFromContributor(bytes: Uint8Array): FromContributor {
  return decodeFrame(fromContributorSchema, bytes, usualFrame);
}

const bytes32 = /^0x[0-9a-f]{64}$/;
const signatureForm = /^0x[0-9a-f]{130}$/;
const isBytes32 = (value: unknown): value is Hex => typeof value === 'string' && bytes32.test(value);
const isSignature = (value: unknown): value is Hex => typeof value === 'string' && signatureForm.test(value);

/**
 * The three frames that a contributor sends for every replica, checked as the schema does and with nothing in them that it would leave out, in a tenth
 * of its time. Null for anything else: then the schema has to look. A test compares the two.
 */
function usualFrame(map: Readonly<Record<string, unknown>>): FromContributor | null {
  const count = Object.keys(map).length;
  const { t, assignment, signature } = map;
  if (t === 'ask') return count === 1 ? { t } : null;
  if (!isBytes32(assignment) || !isSignature(signature)) return null;
  if (t === 'commit' && count === 4) {
    const { commitment } = map;
    return isBytes32(commitment) ? { t, assignment, commitment, signature } : null;
  }
  if (t !== 'reveal' || count !== 5) return null;
  const { salt, result } = map;
  if (!isBytes32(salt) || !(result instanceof Uint8Array) || result.byteLength > resultBytesMax) return null;
  return { t, assignment, salt, result, signature };
}

/** Throws `too_large` or `bad_frame`. */
export function decodeFromCoordinator(bytes: Uint8Array): FromCoordinator {
  return decodeFrame(fromCoordinatorSchema, bytes);
}

/** `usual`: the frame in a flat map where that is plain to see. */
function decodeFrame<S extends v.GenericSchema>(
  schema: S,
  bytes: Uint8Array,
  usual: (map: Readonly<Record<string, unknown>>) => v.InferOutput<S> | null = () => null,
): v.InferOutput<S> {
  try {
    const flat = bytes.byteLength > limits.frameBytesMax ? null : decodeFlat(bytes);
    const known = flat && usual(flat);
    if (known) return known;
    return parseValue(schema, flat ?? decodeCanonical(bytes, limits.frameBytesMax));
  } catch (error) {
    if (!(error instanceof AtollError) || error.code === 'too_large') throw error;
    throw new AtollError('bad_frame', error.message, { cause: error, details: error.details });
  }
}

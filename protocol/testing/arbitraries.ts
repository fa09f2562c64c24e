/**
 * fast-check generators for everything that travels: CIDs, documents, frames. For tests only; nothing that ships imports this.
 */
import * as fc from 'fast-check';
import type { Hex } from 'viem';
import { type Cid, cborCode, cidOfSync, rawCode } from '../codec/cid.ts';
import { type ErrorCode, AtollError, errorCodes, toProblem } from '../errors.ts';
import { limits } from '../limits.ts';
import { toHex } from '../messages/hex.ts';
import { type FromContributor, type FromCoordinator, peerFaultSchema } from '../messages/frames.ts';
import { peerIdOfKey } from '../p2p/record.ts';
import type { Job } from '../messages/job.ts';
import type { Param, Result, Workunit } from '../messages/workunit.ts';

const hexArb = (size: number): fc.Arbitrary<Hex> =>
  fc.uint8Array({ minLength: size, maxLength: size }).map(toHex);
export const bytes32Arb = hexArb(32);
export const addressArb = hexArb(20);
const signatureArb = hexArb(65);

export const cidArb: fc.Arbitrary<Cid> = fc
  .tuple(fc.uint8Array({ maxLength: 64 }), fc.constantFrom(rawCode, cborCode))
  .map(([bytes, code]) => cidOfSync(bytes, code));

export const u32Arb = fc.integer({ min: 0, max: 0xffffffff });
const countArb = fc.maxSafeNat();
const intArb = fc.maxSafeInteger();

/** Well-formed text of at most `max` UTF-16 units. */
export const textArb = (max: number) =>
  fc.string({ unit: 'grapheme', maxLength: max }).filter((text) => text.length <= max);

/** Names that a schema library may skip are left out here; tests of their refusal name them. */
const skipped = new Set(['constructor', 'prototype']);
const nameArb = fc.stringMatching(/^[a-z][a-zA-Z0-9.-]{0,12}$/).filter((name) => !skipped.has(name));
const named = <T>(value: fc.Arbitrary<T>, min: number, max: number) =>
  fc.dictionary(nameArb, value, { minKeys: min, maxKeys: max, noNullPrototype: true });

export const programIdArb = fc.stringMatching(/^[a-z][a-z0-9.]{0,20}@[1-9][0-9]{0,3}(\+[a-z0-9]{1,8})?$/);

const paramArb: fc.Arbitrary<Param> = fc.oneof(
  intArb,
  textArb(40),
  fc.boolean(),
  fc.uint8Array({ maxLength: 40 }),
  fc.array(intArb, { maxLength: 12 }),
  named(intArb, 0, 4),
);

export const workunitArb: fc.Arbitrary<Workunit> = fc.record({
  v: fc.constant(1 as const),
  program: programIdArb,
  inputs: named(cidArb, 0, 6),
  params: named(paramArb, 0, 6),
  seed: u32Arb,
});

export const resultArb: fc.Arbitrary<Result> = fc.record({
  v: fc.constant(1 as const),
  unit: cidArb,
  outputs: named(cidArb, 1, limits.resultOutputsMax),
});

const modelArb = fc
  .record({
    L: fc.integer({ min: 1, max: 96 }),
    head: fc.integer({ min: 8, max: 64 }),
    NH: fc.integer({ min: 1, max: 128 }),
    T: fc.integer({ min: 4, max: 4096 }),
    V: fc.integer({ min: 2, max: 131_072 }),
  })
  .map(({ L, head, NH, T, V }) => ({ L, C: head * NH, NH, T, V }));

const plainJobArb: fc.Arbitrary<Job> = fc.record({
  v: fc.constant(1 as const),
  kind: fc.constant('train' as const),
  name: textArb(limits.labelCharsMax).filter((text) => text.length > 0),
  model: modelArb,
  policy: fc.constantFrom('i8sr' as const, 'i10sr' as const, 'i15' as const),
  training: fc.record({
    lanes: fc.integer({ min: 1, max: 64 }),
    steps: fc.integer({ min: 1, max: 1000 }),
    batch: fc.integer({ min: 1, max: 1024 }),
    lr: u32Arb,
    warmup: fc.integer({ min: 0, max: 100_000 }),
    beta1: u32Arb,
    beta2: u32Arb,
    eps: u32Arb,
    weightDecay: u32Arb,
    outerLr: u32Arb,
    outerMomentum: u32Arb,
    heldOut: fc.integer({ min: 1, max: 65_536 }),
  }),
  corpus: fc.record({ size: countArb, blocks: fc.array(cidArb, { maxLength: 8 }) }),
  seed: u32Arb,
});

const dataArb = fc.record({
  source: textArb(limits.reasonCharsMax).filter((text) => text.length > 0),
  licence: textArb(limits.labelCharsMax).filter((text) => text.length > 0),
  quality: fc.integer({ min: 0, max: 1000 }),
});

/** With and without the origin of its text. */
export const jobArb: fc.Arbitrary<Job> = fc.oneof(
  plainJobArb,
  fc.record({ job: plainJobArb, data: dataArb }).map(({ job, data }) => ({ ...job, data })),
);

export const atollErrorArb = fc
  .record({
    code: fc.constantFrom(...(Object.keys(errorCodes) as ErrorCode[])),
    message: textArb(80),
    details: fc.dictionary(nameArb, fc.oneof(fc.anything({ maxDepth: 2 }), fc.bigInt()), {
      noNullPrototype: true,
    }),
  })
  .map(({ code, message, details }) => new AtollError(code, message, { details }));

/** Problems as they arrive, with details that survive a wire. */
const problemArb = fc
  .record({
    code: fc.constantFrom(...(Object.keys(errorCodes) as ErrorCode[])),
    message: textArb(80),
    details: fc.dictionary(nameArb, fc.oneof(intArb, textArb(20), fc.boolean(), fc.constant(null)), {
      noNullPrototype: true,
    }),
  })
  .map(({ code, message, details }) => toProblem(new AtollError(code, message, { details })));

const reasonArb = textArb(limits.reasonCharsMax);
const labelArb = textArb(limits.labelCharsMax);
const deviceArb = fc.record(
  {
    backend: fc.constantFrom('reference' as const, 'wasm' as const, 'webgpu' as const, 'cuda' as const),
    label: labelArb,
    vendor: labelArb,
    software: fc.boolean(),
    memoryBytes: countArb,
  },
  { requiredKeys: ['backend', 'label', 'vendor', 'software'], noNullPrototype: true },
);

const peerArb = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((key) => peerIdOfKey(toHex(key)));
const addressesArb = fc.array(textArb(40), { maxLength: limits.peerAddressesMax });

const t = <T extends string>(name: T) => fc.constant(name);

/** Every frame a contributor sends, by type. */
export const fromContributorArbs: {
  [T in FromContributor['t']]: fc.Arbitrary<Extract<FromContributor, { t: T }>>;
} = {
  hello: fc.record(
    {
      t: t('hello'),
      v: fc.constant(1 as const),
      contributor: addressArb,
      signature: signatureArb,
      device: deviceArb,
      probe: bytes32Arb,
      programs: fc.array(programIdArb, { maxLength: limits.programsMax }),
      nonce: bytes32Arb,
    },
    {
      requiredKeys: ['t', 'v', 'contributor', 'signature', 'device', 'probe', 'programs'],
      noNullPrototype: true,
    },
  ),
  ask: fc.record(
    { t: t('ask'), holds: fc.array(cidArb, { maxLength: limits.holdsMax }) },
    { requiredKeys: ['t'] },
  ),
  commit: fc.record({
    t: t('commit'),
    assignment: bytes32Arb,
    commitment: bytes32Arb,
    signature: signatureArb,
  }),
  reveal: fc.record({
    t: t('reveal'),
    assignment: bytes32Arb,
    salt: bytes32Arb,
    result: fc.uint8Array({ maxLength: 200 }),
    signature: signatureArb,
  }),
  release: fc.record({ t: t('release'), assignment: bytes32Arb, reason: reasonArb }),
  block: fc.record({ t: t('block'), cid: cidArb, bytes: fc.uint8Array({ maxLength: 300 }) }),
  missing: fc.record({ t: t('missing'), cid: cidArb }),
  progress: fc.record({ t: t('progress'), assignment: bytes32Arb, done: countArb, total: countArb }),
  announce: fc.record({
    t: t('announce'),
    record: fc.record({
      v: fc.constant(1 as const),
      contributor: addressArb,
      peer: peerArb,
      expires: countArb,
      signature: signatureArb,
    }),
    addresses: addressesArb,
  }),
  swarm: fc.record({
    t: t('swarm'),
    holds: fc.array(cidArb, { maxLength: limits.swarmRootsMax }),
    wants: fc.array(cidArb, { maxLength: limits.swarmRootsMax }),
    direct: countArb,
    relayed: countArb,
    failed: fc.array(peerArb, { maxLength: limits.neighboursMax }),
  }),
  report: fc.record({ t: t('report'), peer: peerArb, fault: fc.constantFrom(...peerFaultSchema.options) }),
};

/** Every frame the coordinator sends, by type. */
export const fromCoordinatorArbs: {
  [T in FromCoordinator['t']]: fc.Arbitrary<Extract<FromCoordinator, { t: T }>>;
} = {
  challenge: fc.record({
    t: t('challenge'),
    v: fc.constant(1 as const),
    network: bytes32Arb,
    nonce: bytes32Arb,
  }),
  welcome: fc.record(
    {
      t: t('welcome'),
      contributor: addressArb,
      credit: countArb,
      agreed: countArb,
      server: fc.record({ address: addressArb, signature: signatureArb }, { noNullPrototype: true }),
      now: countArb,
    },
    { requiredKeys: ['t', 'contributor', 'credit', 'agreed'], noNullPrototype: true },
  ),
  lease: fc.record(
    {
      t: t('lease'),
      assignment: bytes32Arb,
      unit: fc.uint8Array({ maxLength: 300 }),
      leaseMs: countArb,
      sync: fc.record({
        from: cidArb,
        updates: fc.array(
          fc.record({ update: cidArb, packed: cidArb }, { requiredKeys: ['update'], noNullPrototype: true }),
          {
            minLength: 1,
            maxLength: limits.syncRoundsMax,
          },
        ),
        steps: fc.integer({ min: 1, max: 1000 }),
        outerLr: u32Arb,
        outerMomentum: u32Arb,
      }),
    },
    { requiredKeys: ['t', 'assignment', 'unit', 'leaseMs'], noNullPrototype: true },
  ),
  idle: fc.record({ t: t('idle'), reason: reasonArb, retryMs: countArb }),
  committed: fc.record({ t: t('committed'), assignment: bytes32Arb }),
  open: fc.record({ t: t('open'), assignment: bytes32Arb }),
  revealed: fc.record({ t: t('revealed'), assignment: bytes32Arb }),
  pull: fc.record({ t: t('pull'), cids: fc.array(cidArb, { maxLength: limits.pullCidsMax }) }),
  verdict: fc.record({
    t: t('verdict'),
    assignment: bytes32Arb,
    unit: cidArb,
    outcome: fc.constantFrom('agreed' as const, 'rejected' as const, 'void' as const),
    credit: countArb,
    reason: reasonArb,
  }),
  problem: fc.record(
    { t: t('problem'), problem: problemArb, assignment: bytes32Arb },
    { requiredKeys: ['t', 'problem'], noNullPrototype: true },
  ),
  peers: fc.record({
    t: t('peers'),
    peers: fc.array(fc.record({ peer: peerArb, addresses: addressesArb, dial: fc.boolean() }), {
      maxLength: limits.neighboursMax,
    }),
  }),
};

/**
 * Fixed values of everything that is hashed, signed or sent, and what they encode to: the source of the golden vectors.
 *
 * The committed JSON files beside this one are the protocol as others may have implemented it. A change of theirs is a new version
 * of the protocol, never a repair. `node protocol/vectors/write.ts` adds what is new.
 */
import type { Hex } from 'viem';
import { type Cid, cborCode, cidOfSync, digestOfCid, rawCode } from '../codec/cid.ts';
import { AtollError, toProblem } from '../errors.ts';
import { merkleTree, resultLeaf, rewardLeaf } from '../merkle.ts';
import { commitmentOf, type SignedKind, type SignedMessages, signingHash } from '../messages/contribution.ts';
import { encodeFrame, type FromContributor, type FromCoordinator } from '../messages/frames.ts';
import { toHex } from '../messages/hex.ts';
import { encodeJob, type Job, jobId } from '../messages/job.ts';
import {
  encodeResult,
  encodeWorkunit,
  type Result,
  resultDigest,
  type Workunit,
  workunitId,
} from '../messages/workunit.ts';
import { encodePeerRecord, peerIdOfKey, signPeerRecord } from '../p2p/record.ts';
import { signerFromKey } from '../signer.ts';

const bytes32 = (fill: number): Hex => toHex(new Uint8Array(32).fill(fill));
const block = (text: string): Cid => cidOfSync(new TextEncoder().encode(text), rawCode);
const document = (text: string): Cid => cidOfSync(new TextEncoder().encode(text), cborCode);

/** A well-known test key; it guards nothing. */
export const key: Hex = '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80';
const contributor: Hex = '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266';
export const network = bytes32(0x5a);
const assignment = bytes32(0x11);
const salt = bytes32(0x22);

export const workunit: Workunit = {
  v: 1,
  program: 'train.steps@1+i10sr',
  inputs: { checkpoint: document('checkpoint'), tokens: block('tokens') },
  params: {
    bytes: new Uint8Array([0, 1, 255]),
    flag: true,
    list: [0, -1, 65_536, Number.MAX_SAFE_INTEGER],
    model: { c: 64, l: 2 },
    n: Number.MIN_SAFE_INTEGER,
    text: 'naïve 𝛼',
  },
  seed: 0xffffffff,
};

export const result: Result = {
  v: 1,
  unit: workunitId(workunit),
  outputs: { delta: document('delta'), losses: block('losses') },
};

export const job: Job = {
  v: 1,
  kind: 'train',
  name: 'golden',
  model: { L: 2, C: 64, NH: 4, T: 32, V: 256 },
  policy: 'i10sr',
  training: {
    lanes: 4,
    steps: 25,
    batch: 8,
    lr: 0x3a83126f,
    warmup: 100,
    beta1: 0x3f666666,
    beta2: 0x3f7d70a4,
    eps: 0x322bcc77,
    weightDecay: 0x3dcccccd,
    outerLr: 0x3f800000,
    outerMomentum: 0x3f333333,
    heldOut: 16,
  },
  corpus: { size: 6, blocks: [block('corpus')] },
  seed: 7,
};

/** A job that says where its text comes from. */
export const jobWithData: Job = {
  ...job,
  data: { source: 'https://example.org/corpus', licence: 'CC0-1.0', quality: 900 },
};

const hash = digestOfCid(resultDigest(result));
const commitment = commitmentOf(assignment, contributor, salt, hash);

export const signed: { [K in SignedKind]: SignedMessages[K] } = {
  Hello: { contributor, nonce: bytes32(0x33) },
  Commit: { assignment, commitment },
  Reveal: { assignment, salt, digest: toHex(hash) },
  Link: { contributor, wallet: `0x${'12'.repeat(20)}`, nonce: bytes32(0x55) },
  Peer: { contributor, peerKey: bytes32(0x66), expires: '0x000001933b2e8c00' },
  Server: { contributor, nonce: bytes32(0x77) },
};

const signature = `0x${'ab'.repeat(64)}1b` as Hex;
const peer = peerIdOfKey(bytes32(0x66));

export const fromContributor: { [T in FromContributor['t']]: Extract<FromContributor, { t: T }> } = {
  hello: {
    t: 'hello',
    v: 1,
    contributor,
    signature,
    device: { backend: 'webgpu', label: 'a device', vendor: 'a vendor', software: false, memoryBytes: 8e9 },
    probe: bytes32(0x44),
    programs: ['train.steps@1+i10sr', 'train.outer@1', 'eval.loss@1+i10sr'],
  },
  ask: { t: 'ask' },
  commit: { t: 'commit', assignment, commitment, signature },
  reveal: { t: 'reveal', assignment, salt, result: encodeResult(result), signature },
  release: { t: 'release', assignment, reason: 'the page is closing' },
  block: { t: 'block', cid: block('corpus'), bytes: new TextEncoder().encode('corpus') },
  missing: { t: 'missing', cid: block('losses') },
  progress: { t: 'progress', assignment, done: 3, total: 25 },
  announce: {
    t: 'announce',
    record: { v: 1, contributor, peer, expires: Number(signed.Peer.expires), signature },
    addresses: ['/dns4/example.org/tcp/443/wss/p2p-circuit'],
  },
  swarm: {
    t: 'swarm',
    holds: [document('checkpoint')],
    wants: [document('update')],
    direct: 4,
    relayed: 1,
    failed: [peer],
  },
  report: { t: 'report', peer, fault: 'bad_block' },
};

export const fromCoordinator: { [T in FromCoordinator['t']]: Extract<FromCoordinator, { t: T }> } = {
  challenge: { t: 'challenge', v: 1, network, nonce: bytes32(0x33) },
  welcome: { t: 'welcome', contributor, credit: 123_456_789, agreed: 12 },
  lease: { t: 'lease', assignment, unit: encodeWorkunit(workunit), leaseMs: 60_000 },
  idle: { t: 'idle', reason: 'nothing to do now', retryMs: 500 },
  committed: { t: 'committed', assignment },
  open: { t: 'open', assignment },
  revealed: { t: 'revealed', assignment },
  pull: { t: 'pull', cids: [block('losses'), document('delta')] },
  verdict: {
    t: 'verdict',
    assignment,
    unit: workunitId(workunit),
    outcome: 'agreed',
    credit: 42,
    reason: '2 of 2 agree',
  },
  problem: {
    t: 'problem',
    problem: toProblem(new AtollError('stale_lease', 'The lease is over.', { details: { lane: 1 } })),
    assignment,
  },
  peers: { t: 'peers', peers: [{ peer, addresses: [], dial: true }] },
};

/** With what frames may carry besides. */
export const fuller = {
  hello: { ...fromContributor.hello, nonce: bytes32(0x77) },
  welcome: {
    ...fromCoordinator.welcome,
    server: { address: contributor, signature },
    now: 1_763_774_400_000,
  },
};

/** A peer record as it travels, with its peer id in text. */
async function peerRecord() {
  const record = await signPeerRecord(signerFromKey(key), network, peer, Number(signed.Peer.expires));
  return { record, hex: toHex(encodePeerRecord(record)) };
}

function documents() {
  return [
    { name: 'workunit', hex: toHex(encodeWorkunit(workunit)), cid: workunitId(workunit) },
    { name: 'result', hex: toHex(encodeResult(result)), cid: resultDigest(result) },
    { name: 'job', hex: toHex(encodeJob(job)), cid: jobId(job) },
    { name: 'job with data', hex: toHex(encodeJob(jobWithData)), cid: jobId(jobWithData) },
  ];
}

function frames() {
  const all = [
    ...Object.values(fromContributor).map((frame) => ({ from: 'contributor', frame })),
    ...Object.values(fromCoordinator).map((frame) => ({ from: 'coordinator', frame })),
  ];
  return all.map(({ from, frame }) => ({ from, t: frame.t, hex: toHex(encodeFrame(frame)) }));
}

function fullerFrames() {
  return Object.values(fuller).map((frame) => ({ t: frame.t, hex: toHex(encodeFrame(frame)) }));
}

async function contribution() {
  const typed = [];
  for (const kind of Object.keys(signed) as SignedKind[]) {
    typed.push({
      kind,
      message: signed[kind],
      hash: signingHash(network, kind, signed[kind]),
      signature: await signerFromKey(key).sign(network, kind, signed[kind]),
    });
  }
  return {
    key,
    contributor,
    network,
    commitment: { assignment, salt, digest: toHex(hash), commitment },
    typed,
  };
}

/** Trees of one to seven results, so that odd levels and lone leaves are among them. */
function merkle() {
  return [1, 2, 3, 5, 7].map((size) => {
    const results = Array.from({ length: size }, (_, i) => {
      const unit = document(`unit ${i}`);
      const digest = document(`digest ${i}`);
      return { unit, digest, leaf: resultLeaf(unit, digest) };
    });
    const tree = merkleTree(results.map(({ leaf }) => leaf));
    return {
      root: tree.root,
      results: results.map((entry) => ({
        ...entry,
        unitDigest: toHex(digestOfCid(entry.unit)),
        resultDigest: toHex(digestOfCid(entry.digest)),
        proof: tree.proof(entry.leaf),
      })),
    };
  });
}

/** Cumulative rewards, among them none and one beyond 2^64. */
function rewards() {
  const amounts = ['1', '0', '18446744073709551617', '42', '7'];
  const leaves = amounts.map((amount, i) => {
    const address: Hex = `0x${String(i + 1).repeat(40)}`;
    return { address, amount, leaf: rewardLeaf(address, BigInt(amount)) };
  });
  const tree = merkleTree(leaves.map(({ leaf }) => leaf));
  return { root: tree.root, rewards: leaves.map((entry) => ({ ...entry, proof: tree.proof(entry.leaf) })) };
}

/** Each golden file's name and what it must hold. */
export async function goldenFiles(): Promise<Record<string, unknown>> {
  return {
    'documents.json': documents(),
    'frames.json': frames(),
    'fuller-frames.json': fullerFrames(),
    'contribution.json': await contribution(),
    'merkle.json': merkle(),
    'rewards.json': rewards(),
    'peer-record.json': await peerRecord(),
  };
}

/**
 * The audit of one unit: is the accepted result what the unit computes, and is it the one that was anchored?
 *
 * Four questions, each answered from bytes and never from a claim: (1) are the documents what their CIDs say, (2) does recomputing
 * the unit give the same digest, (3) does the Merkle proof lead from (unit, digest) to the round's root, (4) does
 * the chain hold that root for that round, in a history that hashes to the contract's tip.
 */
import { Buffer } from 'node:buffer';
import { type ChainVerdict, verifyJobOnChain } from '#coordinator/anchor/verify.ts';
import { type Device, executeWorkunit } from '#kernels/index.ts';
import { isOuter } from '#kernels/programs/train-outer/spec.ts';
import { type Cid, cborCode, cidOfBlock, cidOfSync, digestOfCid, verifyBlock } from '#protocol/codec/cid.ts';
import { AtollError, toProblem } from '#protocol/errors.ts';
import type { UnitInfo } from '#protocol/http/api.ts';
import { resultLeaf, verifyProof } from '#protocol/merkle.ts';
import type { BlockStore } from '#protocol/messages/file.ts';
import { toHex } from '#protocol/messages/hex.ts';
import {
  decodeResult,
  decodeWorkunit,
  type Result,
  resultDigest,
  type Workunit,
} from '#protocol/messages/workunit.ts';
import type { AuditSource } from './source.ts';

/** `confirmed`: all four hold. `refuted`: one does not. `unchecked`: something is missing that would be needed. */
export type Outcome = 'confirmed' | 'refuted' | 'unchecked';

export interface Finding {
  outcome: Outcome;
  /** A sentence. */
  says: string;
}

export interface UnitAudit {
  unit: Cid;
  outcome: Outcome;
  program: string | null;
  job: Cid | null;
  round: number | null;
  digest: Cid | null;
  anchorTx: string | null;
  findings: Finding[];
}

export interface AuditContext {
  source: AuditSource;
  /** What recomputes; all devices give the same bits. */
  device: Device;
  signal?: AbortSignal;
  /** An RPC node that the auditor trusts more than the one the network names. */
  rpcUrl?: string;
  /** What the chain says about a job is asked once. */
  verdicts: Map<Cid, Promise<ChainVerdict | { kind: 'none'; reason: string }>>;
}

/** Never throws for what the evidence lacks or says wrongly; `cancelled` when the signal says so. */
export async function auditUnit(cid: Cid, context: AuditContext): Promise<UnitAudit> {
  const audit: UnitAudit = {
    unit: cid,
    outcome: 'unchecked',
    program: null,
    job: null,
    round: null,
    digest: null,
    anchorTx: null,
    findings: [],
  };
  try {
    await examine(audit, context);
  } catch (error) {
    context.signal?.throwIfAborted();
    const { code, detail } = toProblem(error);
    // Bytes that are not what they are called are a lie; bytes that are not there are only missing.
    const isLie = code === 'bad_block' || code === 'bad_input';
    audit.findings.push({ outcome: isLie ? 'refuted' : 'unchecked', says: detail });
  }
  const outcomes = audit.findings.map((finding) => finding.outcome);
  audit.outcome = outcomes.includes('refuted')
    ? 'refuted'
    : outcomes.includes('unchecked')
      ? 'unchecked'
      : 'confirmed';
  return audit;
}

async function examine(audit: UnitAudit, context: AuditContext): Promise<void> {
  const note = (outcome: Outcome, says: string) => void audit.findings.push({ outcome, says });
  const info = await context.source.unit(audit.unit, context.signal);
  const unit = readUnit(info, audit.unit);
  Object.assign(audit, { program: unit.program, job: info.job, round: info.round, digest: info.digest });
  if (info.resultBytes === null || info.digest === null) {
    return note('unchecked', `The unit has no accepted result: it is ${info.state}.`);
  }
  const accepted = readResult(info.resultBytes, info.digest, audit.unit);
  const startedAt = performance.now();
  const computed = await recompute(unit, context);
  const took = `${((performance.now() - startedAt) / 1000).toFixed(1)} s on ${context.device.info.label}`;
  const digest = resultDigest(computed);
  if (digest === info.digest) note('confirmed', `Recomputed in ${took}: the same digest ${digest}.`);
  else
    note(
      'refuted',
      `Recomputed in ${took}: ${digest}, but ${info.digest} was accepted (${differing(accepted, computed)}).`,
    );

  if (info.proof === null) return note('unchecked', 'Its round is not closed yet, so there is no proof.');
  const leads = verifyProof(info.proof.root, resultLeaf(audit.unit, info.digest), info.proof.siblings);
  if (!leads) return note('refuted', `The Merkle proof does not lead to the root ${info.proof.root}.`);
  note('confirmed', `The Merkle proof leads to the root of round ${info.round}, ${info.proof.root}.`);
  await compareWithChain(audit, { info, root: info.proof.root, unit, accepted }, context, note);
}

interface Claim {
  info: UnitInfo;
  root: string;
  unit: Workunit;
  accepted: Result;
}

async function compareWithChain(
  audit: UnitAudit,
  { info, root, unit, accepted }: Claim,
  context: AuditContext,
  note: (outcome: Outcome, says: string) => void,
): Promise<void> {
  const verdict = await chainVerdict(info.job, context);
  if (verdict.kind === 'none') return note('unchecked', `No chain was asked: ${verdict.reason}.`);
  if (verdict.kind === 'no_contract')
    return note('unchecked', 'The chain has no RoundAnchor at the given address.');
  if (verdict.kind === 'broken')
    return note('refuted', `The chain's record of the job is broken: ${verdict.reason}.`);
  const anchored = verdict.kind === 'consistent' ? verdict.rounds[info.round - 1] : undefined;
  if (!anchored) return note('unchecked', `Round ${info.round} is not on the chain yet.`);
  audit.anchorTx = anchored.tx;
  const where = `transaction ${anchored.tx}, block ${anchored.blockNumber}`;
  if (anchored.root !== root)
    return note(
      'refuted',
      `The chain holds another root for round ${info.round} (${where}): ${anchored.root}.`,
    );
  const checkpoint = accepted.outputs['checkpoint'];
  if (isOuter(unit.program) && checkpoint && toHex(digestOfCid(checkpoint)) !== anchored.checkpoint) {
    return note('refuted', `The chain names another checkpoint for round ${info.round} (${where}).`);
  }
  note(
    'confirmed',
    `The chain holds that root for round ${info.round} (${where}), in a history that hashes to its tip.`,
  );
}

async function chainVerdict(job: Cid, context: AuditContext) {
  const { source, signal, rpcUrl, verdicts } = context;
  const ask = async () => {
    const access = await source.chain(signal);
    if ('reason' in access) return { kind: 'none' as const, reason: access.reason };
    const { contract, fromBlock } = access;
    return verifyJobOnChain({
      chain: rpcUrl ?? access.rpcUrl,
      contract,
      job,
      ...(fromBlock === undefined ? {} : { fromBlock }),
      ...(signal ? { signal } : {}),
    });
  };
  const known = verdicts.get(job) ?? ask();
  verdicts.set(job, known);
  return known;
}

function readUnit(info: UnitInfo, cid: Cid): Workunit {
  const bytes = Buffer.from(info.unitBytes, 'base64');
  if (info.unit !== cid || cidOfSync(bytes, cborCode) !== cid) {
    throw new AtollError('bad_block', 'The unit that was given is not the one that was asked for.');
  }
  return decodeWorkunit(bytes);
}

function readResult(base64: string, digest: Cid, unit: Cid): Result {
  const bytes = Buffer.from(base64, 'base64');
  const result = decodeResult(bytes);
  if (cidOfSync(bytes, cborCode) !== digest)
    throw new AtollError('bad_block', 'The result does not have the accepted digest.');
  if (result.unit !== unit) throw new AtollError('bad_block', 'The result is that of another unit.');
  return result;
}

/** Runs the unit; inputs are checked against their CIDs, outputs stay in memory. */
async function recompute(unit: Workunit, { source, device, signal }: AuditContext): Promise<Result> {
  const made = new Map<Cid, Uint8Array>();
  const blocks: BlockStore = {
    async get(cid) {
      const own = made.get(cid);
      if (own) return own;
      const bytes = await source.block(cid, signal);
      await verifyBlock(cid, bytes);
      return bytes;
    },
    async put(bytes, code) {
      const cid = await cidOfBlock(bytes, code);
      made.set(cid, bytes.slice());
      return cid;
    },
  };
  return executeWorkunit(unit, { device, blocks, ...(signal ? { signal } : {}) });
}

function differing(accepted: Result, computed: Result): string {
  const names = new Set([...Object.keys(accepted.outputs), ...Object.keys(computed.outputs)]);
  const odd = [...names].filter((name) => accepted.outputs[name] !== computed.outputs[name]);
  return `other ${odd.length > 0 ? odd.join(', ') : 'encoding'}`;
}

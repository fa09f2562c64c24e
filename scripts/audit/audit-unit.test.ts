/** An honest round on a real chain is confirmed; each kind of lie is refuted; what is missing is said to be missing. */
import { Buffer } from 'node:buffer';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type EmbeddedAnchor, openEmbeddedAnchor } from '#coordinator/anchor/embedded.ts';
import { runJob, type RunRecord } from '#coordinator/planner/run-job.ts';
import { createDevice, executeWorkunit } from '#kernels/index.ts';
import { initialCheckpoint } from '#kernels/model/init.ts';
import { type Cid, cidOfBlock } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { UnitInfo } from '#protocol/http/api.ts';
import { merkleTree, resultLeaf } from '#protocol/merkle.ts';
import { type BlockStore, writeFile } from '#protocol/messages/file.ts';
import { jobId } from '#protocol/messages/job.ts';
import { encodeResult, encodeWorkunit, type Workunit, workunitId } from '#protocol/messages/workunit.ts';
import { generateCorpus } from '../corpus/generate.ts';
import { jobOf } from '../network.ts';
import { parseOptions } from '../start-options.ts';
import { auditUnit } from './audit-unit.ts';
import type { AuditSource } from './source.ts';

const blocks = new Map<Cid, Uint8Array>();
const store: BlockStore = {
  async get(cid) {
    const bytes = blocks.get(cid);
    if (!bytes) throw new AtollError('not_found', `The block ${cid} is not here.`);
    return bytes;
  },
  async put(bytes, code) {
    const cid = await cidOfBlock(bytes, code);
    blocks.set(cid, bytes.slice());
    return cid;
  },
};
const units = new Map<Cid, Workunit>();
/** Other code than the reference, which made the records. */
const auditor = await createDevice('wasm');
let records: RunRecord[];
let job: Cid;
let dir: string;
let chain: EmbeddedAnchor;

beforeAll(async () => {
  const args = ['--model', '1,8,1,8', '--lanes', '1', '--steps', '2', '--batch', '1', '--held-out', '2'];
  const { text } = generateCorpus({ bytes: 2_000, seed: 1 });
  const wanted = {
    ...jobOf(parseOptions(args, {}, '/'), { name: 'tiny' }),
    corpus: await writeFile(store, text),
  };
  const device = await createDevice('reference');
  const execute = (unit: Workunit) => {
    units.set(workunitId(unit), unit);
    return executeWorkunit(unit, { device, blocks: store });
  };
  const outcome = await runJob(wanted, 1, store, execute, { initial: initialCheckpoint });
  records = outcome.units;
  job = jobId(wanted);
  dir = mkdtempSync(path.join(tmpdir(), 'atoll-audit-test-'));
  chain = await openEmbeddedAnchor({ dir, recorded: null });
  await chain.anchorRound({ job, round: 1, root: tree().root, checkpoint: outcome.checkpoints[0] as Cid });
});
afterAll(async () => {
  await chain?.close();
  rmSync(dir, { recursive: true, force: true });
});

const leafOf = (record: RunRecord) => resultLeaf(record.unit, record.digest);
const tree = () => merkleTree(records.map(leafOf));
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');

function infoOf(cid: Cid): UnitInfo {
  const record = records.find((each) => each.unit === cid) as RunRecord;
  const unit = units.get(cid) as Workunit;
  return {
    unit: cid,
    unitBytes: base64(encodeWorkunit(unit)),
    job,
    round: 1,
    state: 'accepted',
    resultBytes: base64(encodeResult({ v: 1, unit: cid, outputs: record.outputs })),
    digest: record.digest,
    replicas: [],
    proof: { root: tree().root, siblings: tree().proof(leafOf(record)) },
    anchor: null,
  };
}

function audit(cid: Cid, change: Partial<AuditSource> = {}) {
  const source: AuditSource = {
    unit: async (asked) => infoOf(asked),
    units: async () => records.map((record) => record.unit),
    block: (asked) => store.get(asked),
    chain: async () => {
      const { rpcUrl, contract } = chain.info();
      return { rpcUrl, contract };
    },
    close: async () => undefined,
    ...change,
  };
  return auditUnit(cid, { source, device: auditor, verdicts: new Map() });
}

const unitOf = (kind: string) => records.find((record) => record.slot.kind === kind)?.unit as Cid;

test('every unit of an honest round is confirmed, with its transaction', async () => {
  expect(records.map((record) => record.slot.kind).toSorted()).toEqual(['eval', 'first', 'outer', 'train']);
  for (const { unit } of records) {
    const { outcome, anchorTx, findings } = await audit(unit);
    expect(findings.map((finding) => finding.outcome)).toEqual(['confirmed', 'confirmed', 'confirmed']);
    expect(outcome).toBe('confirmed');
    expect(anchorTx).toMatch(/^0x[0-9a-f]{64}$/);
  }
});

describe('refuted', () => {
  /** A result with another unit's output in place of its own, and everything around it made to fit. */
  function forged(cid: Cid): UnitInfo {
    const outputs = { ...(records.find((record) => record.unit === cid) as RunRecord).outputs };
    const name = Object.keys(outputs)[0] as string;
    outputs[name] = Object.values((records[0] as RunRecord).outputs)[0] as Cid;
    const bytes = encodeResult({ v: 1, unit: cid, outputs });
    return { ...infoOf(cid), resultBytes: base64(bytes) };
  }

  test('a result that was never computed, with root and proof to match', async () => {
    const cid = unitOf('train');
    const info = forged(cid);
    const digest = await cidOfBlock(Buffer.from(info.resultBytes as string, 'base64'), 0x71);
    const lone = merkleTree([resultLeaf(cid, digest)]);
    const { outcome, findings } = await audit(cid, {
      unit: async () => ({ ...info, digest, proof: { root: lone.root, siblings: [] } }),
    });
    expect(outcome).toBe('refuted');
    expect(findings[0]?.says).toMatch(/but .* was accepted \(other/);
    expect(findings.at(-1)?.says).toContain('The chain holds another root');
  });

  test('a result that is not the one of its digest', async () => {
    expect(await audit(unitOf('train'), { unit: async (cid) => forged(cid) })).toMatchObject({
      outcome: 'refuted',
      findings: [{ says: 'The result does not have the accepted digest.' }],
    });
  });

  test('a unit that is not the one asked for', async () => {
    const { outcome } = await audit(unitOf('train'), { unit: async () => infoOf(unitOf('eval')) });
    expect(outcome).toBe('refuted');
  });

  test('a proof that leads elsewhere', async () => {
    const cid = unitOf('eval');
    const info = infoOf(cid);
    const proof = { root: info.proof?.root as `0x${string}`, siblings: [] };
    const { outcome, findings } = await audit(cid, { unit: async () => ({ ...info, proof }) });
    expect(outcome).toBe('refuted');
    expect(findings.at(-1)?.says).toContain('does not lead to the root');
  });

  test('an input whose bytes were exchanged', async () => {
    const { outcome, findings } = await audit(unitOf('eval'), { block: async () => new Uint8Array(64) });
    expect(outcome).toBe('refuted');
    expect(findings[0]?.says).toContain('do not match their CID');
  });
});

describe('not checked', () => {
  test('without a chain the rest still is', async () => {
    const { outcome, findings } = await audit(unitOf('eval'), {
      chain: async () => ({ reason: 'this network runs without a chain' }),
    });
    expect(outcome).toBe('unchecked');
    expect(findings.map((finding) => finding.outcome)).toEqual(['confirmed', 'confirmed', 'unchecked']);
  });

  test('a round that the chain does not have', async () => {
    const info = { ...infoOf(unitOf('eval')), round: 2 };
    const { outcome, findings } = await audit(unitOf('eval'), { unit: async () => info });
    expect(outcome).toBe('unchecked');
    expect(findings.at(-1)?.says).toBe('Round 2 is not on the chain yet.');
  });

  test('a block that nobody has', async () => {
    const block = async () => Promise.reject(new AtollError('not_found', 'Nobody has it.'));
    expect(await audit(unitOf('train'), { block })).toMatchObject({ outcome: 'unchecked' });
  });

  test('a unit that is still being worked on', async () => {
    const info: UnitInfo = { ...infoOf(unitOf('train')), resultBytes: null, digest: null, state: 'leased' };
    const { outcome, findings } = await audit(unitOf('train'), { unit: async () => info });
    expect(outcome).toBe('unchecked');
    expect(findings[0]?.says).toContain('it is leased');
  });
});

/**
 * The anchor adapter and the auditor's check, against the real anvil. One chain serves most tests; each test has a job of its own.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  createPublicClient,
  createTestClient,
  type Hex,
  http,
  keccak256,
  publicActions,
  walletActions,
  zeroHash,
} from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { roundAnchorAbi } from '#contracts/abi/round-anchor.ts';
import { type Cid, cborCode, cidOfSync, digestOfCid } from '#protocol/codec/cid.ts';
import { merkleTree, resultLeaf, verifyProof } from '#protocol/merkle.ts';
import { toHex } from '#protocol/messages/hex.ts';
import { type Anvil, anvilKey, startAnvil } from './anvil.ts';
import { checkHistory } from './events.ts';
import { openEvmAnchor, type RecordedContract } from './evm.ts';
import type { Anchor, RoundToAnchor } from './port.ts';
import { verifyJobOnChain } from './verify.ts';

const otherKey: Hex = '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d';
const bytes = (text: string) => new TextEncoder().encode(text);
const cid = (text: string): Cid => cidOfSync(bytes(text), cborCode);
const hash = (text: string): Hex => keccak256(bytes(text));
const round = (job: string, n: number, salt = ''): RoundToAnchor => ({
  job: cid(job),
  round: n,
  root: hash(`${job} ${n}${salt}`),
  checkpoint: cid(`checkpoint ${job} ${n}`),
});
const coded = (code: string) => expect.objectContaining({ code });

let dir: string;
let anvil: Anvil;
let anchor: Anchor;

const open = (recorded: RecordedContract | null, more: { privateKey?: Hex; devChain?: boolean } = {}) =>
  openEvmAnchor({ rpcUrl: anvil.rpcUrl, privateKey: anvilKey, recorded, devChain: true, ...more });
/** anvil's own methods, to play the network's bad luck. */
const anvilClient = () =>
  createTestClient({
    mode: 'anvil',
    transport: http(anvil.rpcUrl),
    account: privateKeyToAccount(anvilKey),
    pollingInterval: 20,
  })
    .extend(publicActions)
    .extend(walletActions);

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'atoll-anchor-'));
  anvil = await startAnvil({ dir });
  anchor = await open(null);
});

afterAll(async () => {
  await anchor?.close();
  await anvil?.stop();
  await rm(dir, { recursive: true, force: true });
});

describe('anchoring', () => {
  it('puts rounds on the chain, where an auditor finds them', async () => {
    const wanted = [1, 2, 3].map((n) => round('plain', n));
    for (const one of wanted) await anchor.anchorRound(one);
    const verdict = await verifyJobOnChain({
      chain: anvil.rpcUrl,
      contract: anchor.info().contract,
      job: cid('plain'),
    });
    if (verdict.kind !== 'consistent') throw new Error(verdict.kind);
    expect(verdict.rounds.map(({ round: n, root }) => [n, root])).toEqual(
      wanted.map((one) => [one.round, one.root]),
    );
    expect(verdict.rounds[2]?.checkpoint).toBe(toHex(digestOfCid(cid('checkpoint plain 3'))));
    expect(await anchor.rounds(cid('plain'))).toEqual(verdict.rounds);
  });

  it('returns the same transaction for a round that is there, and refuses another root for it', async () => {
    const first = await anchor.anchorRound(round('again', 1));
    expect(await anchor.anchorRound(round('again', 1))).toEqual(first);
    await anchor.anchorRound(round('again', 2));
    expect(await anchor.anchorRound(round('again', 1))).toEqual(first);
    await expect(anchor.anchorRound(round('again', 1, 'x'))).rejects.toEqual(coded('conflict'));
    await expect(anchor.anchorRound({ ...round('again', 1), checkpoint: cid('y') })).rejects.toEqual(
      coded('conflict'),
    );
    expect((await anchor.rounds(cid('again'))).length).toBe(2);
  });

  it('refuses a gap and an empty root', async () => {
    await expect(anchor.anchorRound(round('gap', 2))).rejects.toEqual(coded('conflict'));
    await expect(anchor.anchorRound({ ...round('gap', 1), root: zeroHash })).rejects.toEqual(
      coded('bad_input'),
    );
    expect(await anchor.rounds(cid('gap'))).toEqual([]);
  });

  it('takes many at once, of several jobs, and keeps each job in order', async () => {
    const jobs = ['many a', 'many b', 'many c'];
    const all = jobs.flatMap((job) => Array.from({ length: 8 }, (_, i) => round(job, i + 1)));
    const receipts = await Promise.all(all.map((one) => anchor.anchorRound(one)));
    expect(new Set(receipts.map(({ tx }) => tx)).size).toBe(all.length);
    for (const job of jobs) expect((await anchor.rounds(cid(job))).length).toBe(8);
  });

  it('ends what waits when it is told to, and leaves nothing half done', async () => {
    const stop = AbortSignal.abort();
    await expect(anchor.anchorRound(round('abort', 1), stop)).rejects.toEqual(coded('cancelled'));
    await expect(anchor.anchorRound(round('abort', 1))).resolves.toHaveProperty('tx');
  });

  it('anchors a root against which a result proves itself', async () => {
    const results = ['a', 'b', 'c'].map((name) => ({
      unit: cid(`unit ${name}`),
      digest: cid(`digest ${name}`),
    }));
    const leaves = results.map(({ unit, digest }) => resultLeaf(unit, digest));
    const tree = merkleTree(leaves);
    await anchor.anchorRound({ ...round('proof', 1), root: tree.root });
    const [anchored] = await anchor.rounds(cid('proof'));
    const leaf = leaves[1] as Hex;
    expect(verifyProof(anchored?.root as Hex, leaf, tree.proof(leaf))).toBe(true);
  });
});

describe('reconciling', () => {
  it('anchors what the chain lacks, in order, and nothing twice', async () => {
    const wanted = [1, 2, 3, 4].map((n) => round('reconcile', n));
    await anchor.anchorRound(wanted[0] as RoundToAnchor);
    await anchor.anchorRound(wanted[1] as RoundToAnchor);
    const done = await anchor.reconcile([...wanted].reverse());
    expect(done.map(({ round: n, anchoredNow }) => [n, anchoredNow])).toEqual([
      [1, false],
      [2, false],
      [3, true],
      [4, true],
    ]);
    const again = await anchor.reconcile(wanted);
    expect(again.map(({ tx }) => tx)).toEqual(done.map(({ tx }) => tx));
    expect(again.every(({ anchoredNow }) => !anchoredNow)).toBe(true);
    await expect(anchor.reconcile([round('reconcile', 3, 'x')])).rejects.toEqual(coded('conflict'));
  });

  it('repairs a chain that went back in time', async () => {
    const client = anvilClient();
    const snapshot = await client.snapshot();
    const wanted = [1, 2].map((n) => round('back', n));
    for (const one of wanted) await anchor.anchorRound(one);
    await client.revert({ id: snapshot });
    expect(await anchor.rounds(cid('back'))).toEqual([]);
    await expect(anchor.anchorRound(round('back', 3))).rejects.toEqual(coded('conflict'));
    expect((await anchor.reconcile(wanted)).every(({ anchoredNow }) => anchoredNow)).toBe(true);
    await anchor.anchorRound(round('back', 3));
    expect((await anchor.rounds(cid('back'))).length).toBe(3);
  });
});

describe('a chain that is slow or shared', () => {
  it('is asked to mine when it leaves a transaction lying', async () => {
    const client = anvilClient();
    await client.setAutomine(true); // only then can it be switched off: mixed mining counts as off
    await client.setAutomine(false);
    try {
      await expect(anchor.anchorRound(round('slow', 1))).resolves.toHaveProperty('tx');
    } finally {
      await client.setAutomine(true);
    }
  });

  it('gives up in time when nothing is mined, and finds the transaction at the next try', async () => {
    const client = anvilClient();
    const options = { rpcUrl: anvil.rpcUrl, privateKey: anvilKey, recorded: anchor.info(), devChain: false };
    await client.setAutomine(true);
    const patient = await openEvmAnchor({ ...options, receiptMsMax: 200, pollMs: 20 });
    await client.setAutomine(false);
    try {
      await expect(patient.anchorRound(round('late', 1))).rejects.toEqual(coded('unavailable'));
      // The second try finds the first one in its way and pays more; one of them is mined, and the round is there once.
      await expect(patient.anchorRound(round('late', 1))).rejects.toEqual(coded('unavailable'));
      await client.mine({ blocks: 1 });
      await expect(patient.anchorRound(round('late', 1))).resolves.toHaveProperty('tx');
      await client.mine({ blocks: 1 });
    } finally {
      await client.setAutomine(true);
      await patient.close();
    }
    expect((await anchor.rounds(cid('late'))).length).toBe(1);
    await expect(anchor.anchorRound(round('late', 2))).resolves.toHaveProperty('tx');
  });

  it('lets a stuck transaction of the same key be outbid', async () => {
    const client = anvilClient();
    await client.setAutomine(true);
    await client.setAutomine(false);
    try {
      const stuck = await client.sendTransaction({
        chain: null,
        to: anchor.info().contract,
        data: '0x',
        gas: 50_000n,
      });
      const { tx } = await anchor.anchorRound(round('outbid', 1));
      expect(tx).not.toBe(stuck);
      await expect(client.getTransactionReceipt({ hash: stuck })).rejects.toThrow(/could not be found/);
    } finally {
      await client.setAutomine(true);
    }
    expect((await anchor.rounds(cid('outbid'))).length).toBe(1);
  });

  it('is waited for no longer once the adapter is closed', async () => {
    const client = anvilClient();
    const options = { rpcUrl: anvil.rpcUrl, privateKey: anvilKey, recorded: anchor.info(), devChain: false };
    const second = await openEvmAnchor({ ...options, pollMs: 20 });
    await client.setAutomine(true);
    await client.setAutomine(false);
    try {
      const waiting = second.anchorRound(round('closed', 1)).catch((error: unknown) => error);
      await second.close();
      expect(await waiting).toEqual(coded('cancelled'));
    } finally {
      await client.mine({ blocks: 1 });
      await client.setAutomine(true);
    }
  });

  it('may be used by another process with the same key', async () => {
    const second = await open(anchor.info());
    const wanted = Array.from({ length: 6 }, (_, i) => round('shared', i + 1));
    for (const one of wanted) {
      const [a, b] = await Promise.all([anchor.anchorRound(one), second.anchorRound(one)]);
      expect(a).toEqual(b);
    }
    await second.close();
    expect((await anchor.rounds(cid('shared'))).length).toBe(6);
  });
});

describe('opening', () => {
  it('goes on with a recorded contract and deploys another only where it must', async () => {
    const again = await open(anchor.info());
    expect(again.info()).toEqual(anchor.info());
    expect(again.info()).toMatchObject({ chainId: 31_337, rpcUrl: anvil.rpcUrl });
    const ofAnotherChain = await open({ ...anchor.info(), chainId: 1 });
    expect(ofAnotherChain.info().contract).not.toBe(anchor.info().contract);
    const lost = await open({ contract: '0x00000000000000000000000000000000000a7011' });
    expect(lost.info().contract).not.toBe('0x00000000000000000000000000000000000a7011');
    await expect(lost.anchorRound(round('lost', 1))).resolves.toHaveProperty('tx');
  });

  it('never replaces a lost contract on a chain that is no development chain', async () => {
    const nowhere = { contract: '0x00000000000000000000000000000000000a7011' } as const;
    await expect(open(nowhere, { devChain: false })).rejects.toEqual(coded('bad_config'));
  });

  it('refuses a contract of another owner, a foreign contract and a bad key', async () => {
    await expect(open(anchor.info(), { privateKey: otherKey })).rejects.toEqual(coded('bad_config'));
    // A contract whose code is one STOP.
    const foreign = '0x00000000000000000000000000000000000f0e19';
    await anvilClient().setCode({ address: foreign, bytecode: '0x00' });
    await expect(open({ contract: foreign }, { devChain: false })).rejects.toEqual(coded('bad_config'));
    await expect(open(null, { privateKey: '0x12' })).rejects.toEqual(coded('bad_config'));
    const verdict = await verifyJobOnChain({ chain: anvil.rpcUrl, contract: foreign, job: cid('x') });
    expect(verdict).toEqual({ kind: 'no_contract' });
  });

  it('says that an account is empty', async () => {
    const empty: Hex = `0x${'17'.repeat(32)}`;
    const failure = open(null, { privateKey: empty });
    await expect(failure).rejects.toEqual(coded('unavailable'));
    await expect(failure).rejects.toThrow(/funds/);
  });

  it('says that a chain is away, without its URL, which may hold a key', async () => {
    const server = createServer((_, response) => response.writeHead(503).end()).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    const rpcUrl = `http://127.0.0.1:${port}/v2/secret-key`;
    try {
      const failure = openEvmAnchor({ rpcUrl, privateKey: anvilKey, recorded: null });
      await expect(failure).rejects.toEqual(coded('unavailable'));
      const error = (await failure.catch((caught: unknown) => caught)) as Error;
      expect(`${error.message} ${String(error.cause)} ${error.stack}`).not.toContain('secret-key');
    } finally {
      server.close();
    }
    const gone = openEvmAnchor({ rpcUrl, privateKey: anvilKey, recorded: null });
    await expect(gone).rejects.toEqual(coded('unavailable'));
  });

  it('tells others a remote chain by its origin alone', async () => {
    const withKey = {
      rpcUrl: anvil.rpcUrl,
      privateKey: anvilKey,
      recorded: anchor.info(),
      devChain: true,
    } as const;
    const told = await openEvmAnchor({ ...withKey, publicRpcUrl: 'https://rpc.example' });
    expect(told.info().rpcUrl).toBe('https://rpc.example');
  });
});

describe('the auditor', () => {
  it('knows what was never anchored from what is not there', async () => {
    const { contract } = anchor.info();
    const chain = createPublicClient({ transport: http(anvil.rpcUrl) });
    expect(await verifyJobOnChain({ chain, contract, job: cid('never') })).toEqual({ kind: 'absent' });
    const nowhere = {
      chain,
      contract: '0x00000000000000000000000000000000000a7011',
      job: cid('never'),
    } as const;
    expect(await verifyJobOnChain(nowhere)).toEqual({ kind: 'no_contract' });
  });

  it('sees that an event is missing', async () => {
    await anchor.anchorRound(round('hidden', 1));
    const { blockNumber } = await anchor.anchorRound(round('hidden', 2));
    const { contract } = anchor.info();
    const query = { chain: anvil.rpcUrl, contract, job: cid('hidden') };
    expect(await verifyJobOnChain({ ...query, fromBlock: blockNumber })).toMatchObject({
      kind: 'broken',
      round: 2,
    });
    expect(await verifyJobOnChain({ ...query, fromBlock: blockNumber + 1 })).toMatchObject({
      kind: 'broken',
      round: null,
    });
  });

  it('sees that a node lies about any part of the history', async () => {
    const wanted = [1, 2, 3].map((n) => round('lies', n));
    for (const one of wanted) await anchor.anchorRound(one);
    const job = toHex(digestOfCid(cid('lies')));
    const rounds = await anchor.rounds(cid('lies'));
    const tip = rounds[2]?.tip as Hex;
    expect(checkHistory(job, rounds, tip).kind).toBe('consistent');
    const [a, b, c] = rounds as [(typeof rounds)[0], (typeof rounds)[0], (typeof rounds)[0]];
    const other = hash('other');
    for (const lie of [
      [a, b],
      [b, c],
      [a, c, b],
      [a, b, c, c],
      [a, { ...b, root: other }, c],
      [a, { ...b, checkpoint: other }, c],
      [a, b, { ...c, tip: other }],
      [],
    ]) {
      expect(checkHistory(job, lie, tip).kind).toBe('broken');
    }
    expect(checkHistory(other, rounds, tip).kind).toBe('broken');
    expect(checkHistory(job, [b, c], tip)).toMatchObject({ round: 2, reason: 'round 1 was expected' });
  });

  it('reads a contract that its own tip confirms', async () => {
    const { contract } = anchor.info();
    const job = cid('tip');
    await anchor.anchorRound(round('tip', 1));
    const client = createPublicClient({ transport: http(anvil.rpcUrl) });
    const args = [toHex(digestOfCid(job))] as const;
    const tip = await client.readContract({
      address: contract,
      abi: roundAnchorAbi,
      functionName: 'tipOf',
      args,
    });
    expect(await verifyJobOnChain({ chain: client, contract, job })).toMatchObject({
      kind: 'consistent',
      tip,
    });
  });

  it('splits a range that a provider refuses as too wide', async () => {
    for (const n of [1, 2]) await anchor.anchorRound(round('wide', n));
    await anvilClient().mine({ blocks: 300 });
    await anchor.anchorRound(round('wide', 3));
    const { fake, asked, close } = await pickyProvider(anvil.rpcUrl, 100);
    try {
      const verdict = await verifyJobOnChain({
        chain: fake,
        contract: anchor.info().contract,
        job: cid('wide'),
      });
      expect(verdict).toMatchObject({ kind: 'consistent', rounds: { length: 3 } });
      expect(asked()).toBeGreaterThan(1);
    } finally {
      close();
    }
  });
});

/** A provider that passes everything on but refuses logs of more than `blocksMax` blocks, as public ones do. */
async function pickyProvider(rpcUrl: string, blocksMax: number) {
  let asked = 0;
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const call = JSON.parse(body) as {
      id: number;
      method: string;
      params: { fromBlock: Hex; toBlock: Hex }[];
    };
    response.setHeader('content-type', 'application/json');
    const [filter] = call.params ?? [];
    if (call.method === 'eth_getLogs' && filter) {
      asked += 1;
      if (Number(filter.toBlock) - Number(filter.fromBlock) >= blocksMax) {
        const error = { code: -32_602, message: `query exceeds max block range ${blocksMax}` };
        response.end(JSON.stringify({ jsonrpc: '2.0', id: call.id, error }));
        return;
      }
    }
    const passed = await fetch(rpcUrl, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    response.end(await passed.text());
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  return { fake: `http://127.0.0.1:${port}`, asked: () => asked, close: () => server.close() };
}

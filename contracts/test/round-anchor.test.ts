/**
 * RoundAnchor beside protocol/merkle.ts: both must give the same leaves, roots and verdicts on the committed vectors, or a proof that the
 * coordinator hands out would not convince the chain. Also what a round costs, and that the committed ABI is the compiled one.
 *
 * `ATOLL_WRITE_SNAPSHOTS=1 npx hardhat test` writes the gas snapshot anew; look at its diff.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { network } from 'hardhat';
import { encodeAbiParameters, encodeFunctionData, type Hex, keccak256 } from 'viem';
import { merkleTree, resultLeaf, verifyProof } from '#protocol/merkle.ts';
import { toHex } from '#protocol/messages/hex.ts';
import vectors from '#protocol/vectors/merkle.json' with { type: 'json' };
import { digestOfCid } from '#protocol/codec/cid.ts';
import { abiFile, renderAbi } from '../script/generate-abi.ts';

interface Tree {
  root: Hex;
  results: { unit: string; digest: string; leaf: Hex; unitDigest: Hex; resultDigest: Hex; proof: Hex[] }[];
}

const snapshot = new URL('../snapshots/round-anchor.json', import.meta.url);
const trees = vectors as Tree[];

const { viem } = await network.create();
const [owner, stranger] = await viem.getWalletClients();
assert(owner && stranger);
const deploy = () => viem.deployContract('RoundAnchor', [owner.account.address]);
const hash = (text: string): Hex => keccak256(toHex(new TextEncoder().encode(text)));
const job = hash('job');

/** The hash chain's next tip, as an auditor computes it. */
function nextTip(tip: Hex, round: bigint, root: Hex, checkpoint: Hex): Hex {
  const types = [
    { type: 'bytes32' },
    { type: 'bytes32' },
    { type: 'uint64' },
    { type: 'bytes32' },
    { type: 'bytes32' },
  ];
  return keccak256(encodeAbiParameters(types, [tip, job, round, root, checkpoint]));
}

describe('RoundAnchor and protocol/merkle.ts', () => {
  it('agree on every leaf, root and proof of the vectors', async () => {
    const anchor = await deploy();
    assert.equal(trees.length, 5);
    for (const { root, results } of trees) {
      assert.equal(merkleTree(results.map(({ leaf }) => leaf)).root, root);
      for (const { unit, digest, leaf, unitDigest, resultDigest, proof } of results) {
        assert.equal(toHex(digestOfCid(unit)), unitDigest);
        assert.equal(resultLeaf(unit, digest), leaf);
        assert.equal(await anchor.read.resultLeaf([unitDigest, resultDigest]), leaf);
        assert.equal(await anchor.read.verify([root, unitDigest, resultDigest, proof]), true);
      }
    }
  });

  it('agree on what proves nothing', async () => {
    const anchor = await deploy();
    const all = trees.flatMap(({ root, results }) => results.map((result) => ({ root, ...result })));
    for (const [i, { root, unitDigest, resultDigest, leaf, proof }] of all.entries()) {
      const other = all[(i + 1) % all.length] as (typeof all)[number];
      const wrong: [Hex, Hex, Hex, Hex[]][] = [
        [root, unitDigest, other.unitDigest, proof],
        [root, resultDigest, unitDigest, proof],
        [hash('another root'), unitDigest, resultDigest, proof],
        [root, unitDigest, resultDigest, [...proof, leaf]],
      ];
      if (proof.length > 0) wrong.push([root, unitDigest, resultDigest, proof.slice(1)]);
      for (const parameters of wrong) assert.equal(await anchor.read.verify(parameters), false);
      assert.equal(verifyProof(root, leaf, [...proof, leaf]), false);
    }
  });

  it('take an inner node for no leaf', async () => {
    const anchor = await deploy();
    const tree = trees.find(({ results }) => results.length === 5) as Tree;
    const leaf = (tree.results[0] as Tree['results'][number]).leaf;
    const [sibling] = merkleTree(tree.results.map((result) => result.leaf)).proof(leaf);
    const [low, high] = leaf < (sibling as Hex) ? [leaf, sibling as Hex] : [sibling as Hex, leaf];
    assert.equal(await anchor.read.verify([tree.root, low, high, []]), false);
  });
});

describe('RoundAnchor', () => {
  it('leaves events from which its tip can be computed', async () => {
    const anchor = await deploy();
    let tip: Hex = `0x${'00'.repeat(32)}`;
    for (const [i, { root }] of trees.entries()) {
      const round = BigInt(i + 1);
      const checkpoint = hash(`checkpoint ${round}`);
      await anchor.write.anchor([job, round, root, checkpoint]);
      tip = nextTip(tip, round, root, checkpoint);
    }
    const events = await anchor.getEvents.Anchored({ job }, { fromBlock: 0n });
    assert.deepEqual(
      events.map((event) => event.args.round),
      [1n, 2n, 3n, 4n, 5n],
    );
    assert.deepEqual(
      events.map((event) => event.args.root),
      trees.map(({ root }) => root),
    );
    assert.equal(events.at(-1)?.args.tip, tip);
    assert.equal(await anchor.read.tipOf([job]), tip);
    assert.equal(await anchor.read.nextRound([job]), 6n);
  });

  it('tells a stranger so', async () => {
    const anchor = await deploy();
    const root = hash('root');
    await assert.rejects(
      anchor.write.anchor([job, 1n, root, root], { account: stranger.account }),
      /OwnableUnauthorizedAccount/,
    );
    await assert.rejects(anchor.write.anchor([job, 2n, root, root]), /RoundOutOfOrder/);
    await assert.rejects(anchor.write.anchor([job, 1n, `0x${'00'.repeat(32)}`, root]), /EmptyRoot/);
  });
});

describe('what is committed', () => {
  it('the ABI and bytecode are those of the contract', async () => {
    const remedy = 'stale: run `npx hardhat run contracts/script/generate-abi.ts`';
    assert.equal(await readFile(abiFile, 'utf8'), await renderAbi(), remedy);
  });

  it('a round costs what the snapshot says', async () => {
    const gas = await measureGas();
    if (process.env.ATOLL_WRITE_SNAPSHOTS) {
      await writeFile(snapshot, `${JSON.stringify(gas, null, 2)}\n`);
    }
    assert.deepEqual(gas, JSON.parse(await readFile(snapshot, 'utf8')));
  });
});

/** Gas of whole transactions, calldata included; the calls' alone for what is only read. */
async function measureGas(): Promise<Record<string, number>> {
  const client = await viem.getPublicClient();
  const { contract: anchor, deploymentTransaction } = await viem.sendDeploymentTransaction('RoundAnchor', [
    owner?.account.address as Hex,
  ]);
  const gasOf = async (tx: Hex) => Number((await client.waitForTransactionReceipt({ hash: tx })).gasUsed);
  const root = hash('root');
  const first = await anchor.write.anchor([job, 1n, root, hash('checkpoint 1')]);
  const later = await anchor.write.anchor([job, 2n, root, hash('checkpoint 2')]);
  const proof = Array.from({ length: 20 }, (_, i) => hash(`sibling ${i}`));
  return {
    deploy: await gasOf(deploymentTransaction.hash),
    'anchor, first round of a job': await gasOf(first),
    'anchor, later round': await gasOf(later),
    'verify, as a transaction, depth 20': Number(
      await client.estimateGas({
        to: anchor.address,
        data: encodeFunctionData({
          abi: anchor.abi,
          functionName: 'verify',
          args: [root, root, root, proof],
        }),
      }),
    ),
  };
}

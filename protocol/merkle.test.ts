/** The Merkle tree on its own. That the contract agrees with it is shown in contracts/test/round-anchor.test.ts. */
import * as fc from 'fast-check';
import { encodeAbiParameters, type Hex, keccak256, parseAbiParameters, toHex } from 'viem';
import { describe, expect, it } from 'vitest';
import { merkleTree, merkleTreeInSlices, resultLeaf, rewardLeaf, verifyProof } from './merkle.ts';
import { bytes32Arb, cidArb } from './testing/arbitraries.ts';

const leavesArb = fc.uniqueArray(bytes32Arb, { minLength: 1, maxLength: 40 });

function flipped(hash: Hex, nibble: number): Hex {
  const at = 2 + (nibble % 64);
  const digit = ((parseInt(hash[at] as string, 16) + 1) % 16).toString(16);
  return `${hash.slice(0, at)}${digit}${hash.slice(at + 1)}` as Hex;
}

describe('merkle tree', () => {
  it('proves every leaf', () => {
    fc.assert(
      fc.property(leavesArb, (leaves) => {
        const tree = merkleTree(leaves);
        for (const leaf of leaves) expect(verifyProof(tree.root, leaf, tree.proof(leaf))).toBe(true);
      }),
    );
  });

  it('is the same when it is built in slices, with pauses', async () => {
    const leaves = Array.from({ length: 1500 }, (_, i) => keccak256(toHex(i)));
    let pauses = 0;
    const sliced = await merkleTreeInSlices(leaves, async () => void (pauses += 1));
    const whole = merkleTree(leaves);
    expect([sliced.root, sliced.proof(leaves[7] as Hex)]).toEqual([
      whole.root,
      whole.proof(leaves[7] as Hex),
    ]);
    expect(pauses).toBe(3);
    await expect(merkleTreeInSlices([], async () => undefined)).rejects.toThrow(RangeError);
  });

  it('proves no tampered leaf, sibling or root', () => {
    fc.assert(
      fc.property(leavesArb, fc.nat(), fc.nat(), (leaves, pick, nibble) => {
        const tree = merkleTree(leaves);
        const leaf = leaves[pick % leaves.length] as Hex;
        const proof = tree.proof(leaf);
        expect(verifyProof(tree.root, flipped(leaf, nibble), proof)).toBe(false);
        expect(verifyProof(flipped(tree.root, nibble), leaf, proof)).toBe(false);
        if (proof.length === 0) return;
        const at = pick % proof.length;
        const broken = proof.with(at, flipped(proof[at] as Hex, nibble));
        expect(verifyProof(tree.root, leaf, broken)).toBe(false);
        expect(verifyProof(tree.root, leaf, proof.slice(1))).toBe(false);
      }),
    );
  });

  it('has one root, whatever the order of acceptance', () => {
    fc.assert(
      fc.property(leavesArb, (leaves) => {
        expect(merkleTree([...leaves].reverse()).root).toBe(merkleTree(leaves).root);
      }),
    );
  });

  it('has another root when a leaf is added', () => {
    fc.assert(
      fc.property(leavesArb, bytes32Arb, (leaves, extra) => {
        fc.pre(!leaves.includes(extra));
        expect(merkleTree([...leaves, extra]).root).not.toBe(merkleTree(leaves).root);
      }),
    );
  });

  it('has proofs no longer than the depth of the tree', () => {
    fc.assert(
      fc.property(leavesArb, (leaves) => {
        const tree = merkleTree(leaves);
        const depth = Math.ceil(Math.log2(leaves.length));
        for (const leaf of leaves) expect(tree.proof(leaf).length).toBeLessThanOrEqual(depth);
      }),
    );
  });

  it('binds a leaf to unit and digest, in this order', () => {
    fc.assert(
      fc.property(cidArb, cidArb, (unit, digest) => {
        expect(resultLeaf(unit, digest)).toMatch(/^0x[0-9a-f]{64}$/);
        if (unit.slice(6) !== digest.slice(6)) {
          expect(resultLeaf(unit, digest)).not.toBe(resultLeaf(digest, unit));
        }
      }),
    );
  });

  it('has leaves of rewards as a contract computes them', () => {
    const tag = keccak256(toHex('atoll/reward/1'));
    const addressArb = bytes32Arb.map((bytes) => bytes.slice(0, 42) as Hex);
    fc.assert(
      fc.property(addressArb, fc.bigInt(0n, 2n ** 256n - 1n), (address, amount) => {
        const words = parseAbiParameters('bytes32, address, uint256');
        const inner = keccak256(encodeAbiParameters(words, [tag, address, amount]));
        expect(rewardLeaf(address, amount)).toBe(keccak256(inner));
      }),
    );
  });

  it('refuses an empty round and a leaf it does not hold', () => {
    expect(() => merkleTree([])).toThrow(RangeError);
    const tree = merkleTree([`0x${'11'.repeat(32)}`]);
    expect(() => tree.proof(`0x${'22'.repeat(32)}`)).toThrow(RangeError);
  });
});

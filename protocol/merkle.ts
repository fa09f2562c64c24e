/**
 * Merkle trees over a round's accepted results and over all rewards, with the shape of OpenZeppelin's `MerkleProof`: double-hashed, tagged leaves; sorted pairs; keccak256.
 * Leaves are sorted, so the root does not depend on the order in which units were accepted.
 */
import { keccak_256 } from '@noble/hashes/sha3.js';
import { concatBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { type Hex, hexToBytes } from 'viem';
import { type Cid, digestOfCid } from './codec/cid.ts';
import { toHex } from './messages/hex.ts';

const leafTag = keccak_256(utf8ToBytes('atoll/result/1'));
const rewardTag = keccak_256(utf8ToBytes('atoll/reward/1'));

/** keccak256(keccak256(tag | unit | digest)), each 32 bytes. */
export function resultLeaf(unit: Cid, digest: Cid): Hex {
  return toHex(keccak_256(keccak_256(concatBytes(leafTag, digestOfCid(unit), digestOfCid(digest)))));
}

/** keccak256(keccak256(tag | address | amount)), each 32 bytes as in Solidity's ABI; the amount is what the address has earned in all. */
export function rewardLeaf(address: Hex, amount: bigint): Hex {
  const words = address.slice(2).padStart(64, '0') + amount.toString(16).padStart(64, '0');
  return toHex(keccak_256(keccak_256(concatBytes(rewardTag, hexToBytes(`0x${words}`)))));
}

export interface MerkleTree {
  root: Hex;
  /** Siblings from the leaf up. Throws RangeError for a leaf that is not in the tree. */
  proof(leaf: Hex): Hex[];
}

/** Throws RangeError on no leaves: an empty round has nothing to anchor. */
export function merkleTree(leaves: readonly Hex[]): MerkleTree {
  const growing = grow(leaves);
  for (;;) {
    const step = growing.next();
    if (step.done) return step.value;
  }
}

/** The same in slices, with a pause after each: a large tree takes seconds, and others want their turn. */
export async function merkleTreeInSlices(
  leaves: readonly Hex[],
  pause: () => Promise<void>,
): Promise<MerkleTree> {
  const growing = grow(leaves);
  for (;;) {
    const step = growing.next();
    if (step.done) return step.value;
    await pause();
  }
}

/** Pairs hashed between two pauses: a few milliseconds. */
const slicePairs = 256;

function* grow(leaves: readonly Hex[]): Generator<undefined, MerkleTree> {
  if (leaves.length === 0) throw new RangeError('A Merkle tree needs at least one leaf.');
  const levels: Hex[][] = [[...leaves].sort()];
  for (let level = levels[0] as Hex[]; level.length > 1; level = levels.at(-1) as Hex[]) {
    const next: Hex[] = [];
    for (let i = 0; i < level.length; i += 2) {
      next.push(parentOf(level[i] as Hex, level[i + 1]));
      if (next.length % slicePairs === 0) yield;
    }
    levels.push(next);
  }
  return treeOf(levels);
}

function treeOf(levels: readonly Hex[][]): MerkleTree {
  return {
    root: (levels.at(-1) as Hex[])[0] as Hex,
    proof(leaf) {
      let index = (levels[0] as Hex[]).indexOf(leaf);
      if (index < 0) throw new RangeError('The leaf is not in the tree.');
      const siblings: Hex[] = [];
      for (const level of levels.slice(0, -1)) {
        const sibling = level[index ^ 1];
        if (sibling !== undefined) siblings.push(sibling);
        index >>= 1;
      }
      return siblings;
    },
  };
}

export function verifyProof(root: Hex, leaf: Hex, siblings: readonly Hex[]): boolean {
  return siblings.reduce<Hex>((node, sibling) => parentOf(node, sibling), leaf) === root;
}

/** An odd node without a sibling moves up unchanged. */
function parentOf(a: Hex, b: Hex | undefined): Hex {
  if (b === undefined) return a;
  const [low, high] = a < b ? [a, b] : [b, a];
  return toHex(keccak_256(concatBytes(hexToBytes(low), hexToBytes(high))));
}

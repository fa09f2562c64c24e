/**
 * What results are in the simulation: names instead of tensors. An honest result is a function of its unit alone, a false one of whoever made it up.
 *
 * `exact` makes real CIDs and real commitments, so that the real planner and the real check of an opening take part. `cheap` makes short strings of
 * the same meaning, for runs of a million units: nothing in consensus, trust or ledger looks into them.
 */
import { type Cid, cidOfSync, digestOfCid, rawCode } from '#protocol/codec/cid.ts';
import { commitmentOf } from '#protocol/messages/contribution.ts';
import type { Hex } from 'viem';

export interface Contents {
  honest(unit: Cid): Cid;
  /** Whoever uses the same tag for the same unit tells the same lie. */
  lie(unit: Cid, tag: string): Cid;
  isHonest(unit: Cid, digest: Cid): boolean;
  salt(random: number): Hex;
  commitment(assignment: Hex, contributor: Hex, salt: Hex, digest: Cid): Hex;
  assignment(count: number): Hex;
  address(count: number): Hex;
}

const text = new TextEncoder();
const named = (name: string): Cid => cidOfSync(text.encode(name), rawCode);
const padded = (value: number, digits: number): Hex => `0x${value.toString(16).padStart(digits, '0')}`;

export const exactContents: Contents = {
  honest: (unit) => named(`${unit}/honest`),
  lie: (unit, tag) => named(`${unit}/${tag}`),
  isHonest: (unit, digest) => digest === named(`${unit}/honest`),
  salt: (random) => padded(random, 64),
  commitment: (assignment, contributor, salt, digest) =>
    commitmentOf(assignment, contributor, salt, digestOfCid(digest)),
  assignment: (count) => padded(count, 64),
  address: (count) => padded(count, 40),
};

export const cheapContents: Contents = {
  honest: (unit) => `h${unit}`,
  lie: (unit, tag) => `${tag}!${unit}`,
  isHonest: (unit, digest) => digest === `h${unit}`,
  salt: (random) => padded(random, 1),
  commitment: (assignment, contributor, salt, digest) => `${assignment}${contributor}${salt}${digest}`,
  assignment: (count) => padded(count, 1),
  address: (count) => padded(count, 1),
};

/** Commitments of the digest and its salt alone: anybody can open a copy. To see what the binding is for. */
export function unbound(contents: Contents): Contents {
  const nobody: Hex = `0x${'00'.repeat(32)}`;
  return {
    ...contents,
    commitment: (_assignment, _contributor, salt, digest) =>
      contents.commitment(nobody, nobody, salt, digest),
  };
}

/** The named outputs of a result, as the planner takes them. */
export function outputsOf(digest: Cid, contents: Contents): Record<string, Cid> {
  const made = (name: string) => contents.lie(digest, name);
  return {
    update: made('update'),
    checkpoint: made('checkpoint'),
    loss: made('loss'),
    losses: made('losses'),
  };
}

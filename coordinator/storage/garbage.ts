/**
 * The collector of garbage: removes blocks that nothing needs any more. Needed is what the database speaks of (jobs, every checkpoint, units that are
 * open, disputed, being checked, or of the last rounds) and everything that it links to.
 *
 * A block is left alone for a time after it was stored, since it may be about to be spoken of. Collecting twice, or by two processes, harms
 * nothing. A unit of a round that is long closed loses its inputs and its update: from then on nobody can compute it again.
 */
import { linksOf } from '#protocol/codec/cbor.ts';
import { type Cid, cborCode, parseCid } from '#protocol/codec/cid.ts';
import { codeOf } from '#protocol/errors.ts';
import type { BlobStore } from './blobs.ts';
import type { Storage } from './port.ts';

export interface GarbageRules {
  /** Closed rounds of a job whose units can still be computed again. */
  lastRounds: number;
  /** How long a block is left alone after it was stored. */
  graceMs: number;
  /** Removed in one go. */
  most: number;
}

export const defaultGarbageRules: GarbageRules = {
  lastRounds: 16,
  // Blobs refresh the age of a block at most once an hour (see blobs.ts).
  graceMs: 24 * 3_600_000,
  most: 10_000,
};

export type Collected =
  | { done: true; kept: number; removed: number }
  /** Outputs of an agreed unit are still on their way, so what they link to is not known. */
  | { done: false; reason: string };

/** Throws `storage_failed`. */
export async function collectGarbage(
  ports: { storage: Pick<Storage, 'blockRoots' | 'forgetBlocks'>; blobs: BlobStore },
  now: number,
  rules: GarbageRules = defaultGarbageRules,
  signal?: AbortSignal,
): Promise<Collected> {
  const { storage, blobs } = ports;
  const before = await mark(ports, rules, signal);
  if (!before) return onItsWay;
  const old: Cid[] = [];
  for await (const { cid, storedAt } of blobs.entries()) {
    signal?.throwIfAborted();
    if (before.has(cid) || now - storedAt < rules.graceMs) continue;
    old.push(cid);
    if (old.length === rules.most) break;
  }
  if (old.length === 0) return { done: true, kept: before.size, removed: 0 };
  // What has come to be spoken of while the folders were read.
  const after = await mark(ports, rules, signal);
  if (!after) return onItsWay;
  const garbage = old.filter((cid) => !after.has(cid));
  // First nobody is told any more that they are here.
  await storage.forgetBlocks(garbage);
  for (const cid of garbage) {
    signal?.throwIfAborted();
    await blobs.remove(cid);
  }
  return { done: true, kept: after.size, removed: garbage.length };
}

const onItsWay: Collected = { done: false, reason: 'outputs of an agreed unit are still being fetched' };

/** Everything that is needed; null while it cannot be known. */
async function mark(
  { storage, blobs }: { storage: Pick<Storage, 'blockRoots'>; blobs: BlobStore },
  { lastRounds }: GarbageRules,
  signal?: AbortSignal,
): Promise<Set<Cid> | null> {
  const { roots, pending } = await storage.blockRoots(lastRounds);
  const awaited = new Set(pending);
  const marked = new Set<Cid>();
  const open = [...pending, ...roots];
  for (let cid = open.pop(); cid !== undefined; cid = open.pop()) {
    signal?.throwIfAborted();
    if (marked.has(cid)) continue;
    marked.add(cid);
    if (parseCid(cid).code !== cborCode) continue;
    const links = await linksIn(blobs, cid);
    if (links === null && awaited.has(cid)) return null;
    for (const link of links ?? []) {
      if (awaited.has(cid)) awaited.add(link);
      open.push(link);
    }
  }
  return marked;
}

/** What a stored block links to; null when it is not here. */
async function linksIn(blobs: BlobStore, cid: Cid): Promise<Cid[] | null> {
  let bytes: Uint8Array;
  try {
    bytes = await blobs.get(cid);
  } catch (error) {
    if (codeOf(error) === 'not_found' || codeOf(error) === 'bad_block') return null;
    throw error;
  }
  try {
    return linksOf(bytes);
  } catch {
    return [];
  }
}

/**
 * From a checkpoint that is held to the one that a unit needs, by the updates of the rounds between: some 2 bytes a parameter in place of the checkpoint's 10.
 *
 * The coordinator's hint says by which. Nothing is believed: the device computes the checkpoint (train.apply), and unless its CID is the one that the unit
 * names, the whole checkpoint is fetched as if there had been no hint.
 */
import { decodeCanonical } from '#protocol/codec/cbor.ts';
import { type Cid, cborCode, parseCid } from '#protocol/codec/cid.ts';
import { AtollError, codeOf } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import { type BlockStore, type File, fileSchema } from '#protocol/messages/file.ts';
import type { SyncHint } from '#protocol/messages/frames.ts';
import type { Workunit } from '#protocol/messages/workunit.ts';
import { trainApply } from '#kernels/programs/train-apply/spec.ts';
import * as v from 'valibot';
import { fetchBlock, type FetchPorts } from './block-fetcher.ts';
import type { BlockCache, ComputeDevice, SwarmPort } from './ports.ts';

/** Rounds up to which packed updates cost less than plain ones, of which those in between need only their deltas. */
const packedRoundsMax = 2;

/** The files that a document names, in its order; none for what is no such document. */
export function filesOf(cid: Cid, bytes: Uint8Array): File[] {
  if (parseCid(cid).code !== cborCode) return [];
  const document: unknown = decodeCanonical(bytes, limits.documentBytesMax);
  if (typeof document !== 'object' || document === null) return [];
  return Object.values(document).flatMap((value) => {
    const parsed = v.safeParse(fileSchema, value);
    return parsed.success ? [parsed.output] : [];
  });
}

/** Whether the document and every block of its files are here. */
export async function holdsWhole(cache: BlockCache, cid: Cid): Promise<boolean> {
  if (!cache.has(cid)) return false;
  const bytes = await cache.find(cid);
  return (
    bytes !== undefined &&
    filesOf(cid, bytes).every(({ blocks }) => blocks.every((block) => cache.has(block)))
  );
}

export interface CatchUp {
  hint: SyncHint;
  /** The checkpoint that the unit needs. */
  checkpoint: Cid;
  device: ComputeDevice;
  signal: AbortSignal;
  onBytes: (count: number) => void;
}

/** True when the checkpoint is here afterwards. Throws only when `signal` has fired. */
export async function catchUp(
  ports: FetchPorts & { swarm?: Pick<SwarmPort, 'files'> },
  task: CatchUp,
): Promise<boolean> {
  const { hint, checkpoint, device, signal } = task;
  const { cache, log } = ports;
  if (!device.programs.includes(trainApply) || (await holdsWhole(cache, checkpoint))) return false;
  if (!(await holdsWhole(cache, hint.from))) return false;
  const made: Cid[] = [];
  const updates = new Set(hint.updates.flatMap(({ update, packed }) => [update, packed]));
  const blocks: BlockStore = {
    async get(cid) {
      const bytes = await fetchBlock(ports, cid, signal, task.onBytes);
      if (updates.has(cid)) ports.swarm?.files(cid, filesOf(cid, bytes));
      return bytes;
    },
    async put(bytes, code) {
      const cid = await cache.put(bytes, code);
      made.push(cid);
      return cid;
    },
  };
  try {
    const { outputs } = await device.execute(applyUnit(hint), { blocks, signal, progress: () => {} });
    if (outputs['checkpoint'] !== checkpoint) {
      throw new AtollError('bad_block', 'The updates do not lead to the checkpoint.');
    }
  } catch (error) {
    signal.throwIfAborted();
    log.warn(
      { checkpoint, code: codeOf(error), err: error },
      'A checkpoint could not be made from updates; it is fetched whole.',
    );
    return false;
  }
  for (const cid of made) cache.publish(cid);
  return true;
}

function applyUnit({ from, updates, steps, outerLr, outerMomentum }: SyncHint): Workunit {
  const packed = updates.length <= packedRoundsMax && updates.every((each) => each.packed !== undefined);
  const inputs = updates.map((each, i): [string, Cid] => [
    `update${i}`,
    (packed ? each.packed : each.update) as Cid,
  ]);
  return {
    v: 1,
    program: trainApply,
    inputs: { checkpoint: from, ...Object.fromEntries(inputs) },
    params: { rounds: updates.length, steps, outerLr, outerMomentum, packed },
    seed: 0,
  };
}

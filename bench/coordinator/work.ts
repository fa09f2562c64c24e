/**
 * The work that the load consists of: any number of eval.loss units of one job that nobody plans any further, all with the same output, whose one block
 * is stored already. So a cycle is lease, commit, reveal, the verdict and the ledger, with real documents and signatures; moving blocks about is
 * another matter, measured nowhere here.
 */
import { writeFile } from '#protocol/messages/file.ts';
import { encodeJob, jobId } from '#protocol/messages/job.ts';
import { encodeWorkunit, type Workunit, workunitId } from '#protocol/messages/workunit.ts';
import { cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import { evalLoss } from '#kernels/programs/eval-loss/spec.ts';
import type { Blobs } from '#coordinator/storage/blobs.ts';
import type { NewUnit, Storage } from '#coordinator/storage/port.ts';
import { testJob, testText } from '#coordinator/testing/fake-programs.ts';

/** The output of every unit. */
export const lossBlock = new Uint8Array(new Float32Array([2.5]).buffer);
export const lossCid = cidOfSync(lossBlock, rawCode);

const program = `${evalLoss}+i10sr`;
const lanesPerRound = 1_000;
const unitsPerCall = 1_000;

function unitOf(index: number): NewUnit {
  const unit: Workunit = {
    v: 1,
    program,
    inputs: { checkpoint: lossCid, tokens: lossCid },
    params: { sequences: 4, batch: 2, index },
    seed: index,
  };
  const slot = {
    round: 1 + Math.floor(index / lanesPerRound),
    kind: 'train',
    lane: index % lanesPerRound,
  } as const;
  return { slot, cid: workunitId(unit), bytes: encodeWorkunit(unit), program, operations: 1_000, blocks: [] };
}

/** Adds the job, resting, and its units. */
export async function seedWork(storage: Storage, blobs: Blobs, units: number): Promise<void> {
  const corpus = await writeFile(blobs, testText());
  await blobs.put(lossBlock);
  const job = { ...testJob(), corpus };
  const id = jobId(job);
  const now = Date.now();
  await storage.addJob(
    { id, bytes: encodeJob(job), initial: lossCid, unigramEntropy: 4, sourceEntropy: null, createdAt: now },
    [lossCid],
  );
  await storage.setActiveJobs([]);
  for (let from = 0; from < units; from += unitsPerCall) {
    const count = Math.min(unitsPerCall, units - from);
    await storage.addUnits(
      id,
      Array.from({ length: count }, (_, i) => unitOf(from + i)),
      now,
    );
  }
}

/**
 * Drives the same plan in one process: the honest reference run that a network's checkpoint CIDs are compared with.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { type BlockStore, readFile } from '#protocol/messages/file.ts';
import type { Job } from '#protocol/messages/job.ts';
import { type Result, resultDigest, type Workunit, workunitId } from '#protocol/messages/workunit.ts';
import { createPlan, type PlannedUnit, type Slot } from './plan.ts';

export interface RunRecord {
  slot: Slot;
  unit: Cid;
  digest: Cid;
  outputs: Record<string, Cid>;
}

export interface RunOutcome {
  /** The checkpoint after each round, round 1 first. */
  checkpoints: Cid[];
  /** Held-out loss of the initial checkpoint, then after each round; nats per byte. */
  losses: number[];
  /** Every unit in the order in which it was computed. */
  units: RunRecord[];
}

export interface RunOptions {
  /** Makes the initial checkpoint and puts its blocks into the store. */
  initial: (model: Job['model'], seed: number, blocks: BlockStore) => Promise<Cid>;
  onUnit?: (record: RunRecord) => void;
  signal?: AbortSignal;
}

/** Runs `rounds` rounds one unit at a time. The corpus is read from `blocks`. */
export async function runJob(
  job: Job,
  rounds: number,
  blocks: BlockStore,
  execute: (unit: Workunit) => Promise<Result>,
  options: RunOptions,
): Promise<RunOutcome> {
  const plan = createPlan(job, await readFile(blocks, job.corpus, options.signal));
  let state = plan.start(await options.initial(job.model, job.seed, blocks));
  const outcome: RunOutcome = { checkpoints: [], losses: [], units: [] };
  for (let slot = plan.due(state, rounds)[0]; slot; slot = plan.due(state, rounds)[0]) {
    options.signal?.throwIfAborted();
    const record = await runUnit(plan.build(state, slot), blocks, execute);
    state = plan.apply(state, slot, record.outputs);
    outcome.units.push(record);
    if (slot.kind === 'outer') outcome.checkpoints.push(state.checkpoint);
    if (slot.kind === 'first' || slot.kind === 'eval') {
      outcome.losses.push(readLoss(await blocks.get(record.outputs['loss'] as Cid)));
    }
    options.onUnit?.(record);
  }
  return outcome;
}

async function runUnit(
  planned: PlannedUnit,
  blocks: BlockStore,
  execute: (unit: Workunit) => Promise<Result>,
): Promise<RunRecord> {
  for (const block of planned.blocks) await blocks.put(block.bytes);
  const unit = workunitId(planned.unit);
  const result = await execute(planned.unit);
  if (result.unit !== unit) throw new AtollError('bad_input', 'The result is not of the unit that was run.');
  return { slot: planned.slot, unit, digest: resultDigest(result), outputs: result.outputs };
}

/** The last f32 of a raw block: a loss, or the loss of the last local step. NaN for a block without one. */
export function readLoss(bytes: Uint8Array): number {
  if (bytes.byteLength < 4) return Number.NaN;
  return new DataView(bytes.buffer, bytes.byteOffset).getFloat32(bytes.byteLength - 4, true);
}

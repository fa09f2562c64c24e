/**
 * Pure planning: a training job -> rounds of workunits.
 *
 * Round r, from 1: `lanes` train.steps units on the current checkpoint, one train.outer over their updates, one eval.loss of the new
 * checkpoint; round 1 also evaluates the initial checkpoint. The next round's lanes follow train.outer, while eval.loss runs beside.
 * Every unit is a function of the job, the text and what was accepted before, so any machine plans the same ones.
 */
import { type Cid, cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { Job } from '#protocol/messages/job.ts';
import { encodeTokens } from '#protocol/messages/model.ts';
import type { Workunit } from '#protocol/messages/workunit.ts';
import { evalLoss, evalLossOperations } from '#kernels/programs/eval-loss/spec.ts';
import { trainOuter, trainOuterOperations } from '#kernels/programs/train-outer/spec.ts';
import { trainSteps, trainStepsOperations } from '#kernels/programs/train-steps/spec.ts';
import { batchesOf, checkText, type CorpusShape, corpusShape, packWindows } from './corpus.ts';
import { checkReals, stepScalars } from './optimiser.ts';
import { evalMemory, outerMemory, trainMemory } from './memory.ts';
import { mix, permutation } from './random.ts';

/** `first` is the evaluation of the initial checkpoint, in round 1. */
export const slotKinds = ['first', 'train', 'outer', 'eval'] as const;
export type SlotKind = (typeof slotKinds)[number];

/** A place in a job's plan; `lane` is 0 where there are no lanes. */
export interface Slot {
  round: number;
  kind: SlotKind;
  lane: number;
}

export function slotKey(slot: Slot): string {
  return `${slot.round}/${slot.kind}/${slot.lane}`;
}

/** What a job has come to. */
export interface PlanState {
  /** The round whose lanes are being trained. */
  round: number;
  checkpoint: Cid;
  updates: readonly (Cid | null)[];
  /** Checkpoints still to be evaluated. */
  unevaluated: readonly { kind: 'first' | 'eval'; round: number; checkpoint: Cid }[];
}

export interface PlannedUnit {
  slot: Slot;
  unit: Workunit;
  /** Exact operations: what one replica of it earns. */
  operations: number;
  /** Memory that it takes, roughly. */
  memoryBytes: number;
  /** Raw blocks that the unit brings with it. */
  blocks: { cid: Cid; bytes: Uint8Array }[];
}

export interface Plan {
  readonly job: Job;
  readonly shape: CorpusShape;
  start(initial: Cid): PlanState;
  /** The state after a round that is closed, that is, with every unit of it accepted. */
  after(round: number, checkpoint: Cid): PlanState;
  /** The state after a slot's outputs were accepted. What is not expected changes nothing. */
  apply(state: PlanState, slot: Slot, outputs: Readonly<Record<string, Cid>>): PlanState;
  /** Every slot that can be computed now; no lanes beyond `stopAfterRounds`. */
  due(state: PlanState, stopAfterRounds?: number): Slot[];
  /** The unit of a due slot. Throws `conflict` for a slot that is not due. */
  build(state: PlanState, slot: Slot): PlannedUnit;
  /** All slots of a round: it is closed when each has an accepted result. */
  slotsOf(round: number): Slot[];
}

/** Throws `bad_input` on a text or a job that cannot be planned. */
export function createPlan(job: Job, corpus: Uint8Array): Plan {
  const shape = checkJob(job, corpus);
  const { lanes } = job.training;
  let epochOrder: { epoch: number; order: Uint32Array } | null = null;
  const orderOf = (epoch: number) => {
    if (epochOrder?.epoch !== epoch) {
      epochOrder = { epoch, order: permutation(shape.windows, mix(job.seed, epoch, seedTags.order)) };
    }
    return epochOrder.order;
  };
  const heldOut = packWindows(
    corpus,
    job.model.T,
    Array.from({ length: job.training.heldOut }, (_, i) => i),
    shape.heldOutAt,
  );
  const laneTokens = (round: number, lane: number) => {
    const epoch = Math.floor((round - 1) / shape.roundsPerEpoch);
    const start = ((round - 1) % shape.roundsPerEpoch) * shape.windowsPerRound;
    const [from, to] = shape.windowsOfLane(lane);
    return packWindows(corpus, job.model.T, orderOf(epoch).subarray(start + from, start + to));
  };
  return {
    job,
    shape,
    start: (initial) => ({
      ...freshRound(lanes, 1, initial),
      unevaluated: [{ kind: 'first', round: 1, checkpoint: initial }],
    }),
    after: (round, checkpoint) => freshRound(lanes, round + 1, checkpoint),
    apply: (state, slot, outputs) => applyAccepted(lanes, state, slot, outputs),
    due: dueSlots,
    build(state, slot) {
      if (!dueSlots(state).some((due) => slotKey(due) === slotKey(slot))) {
        throw new AtollError('conflict', `The slot ${slotKey(slot)} is not due.`);
      }
      if (slot.kind === 'train') return trainUnit(job, state, slot, laneTokens(slot.round, slot.lane));
      if (slot.kind === 'outer') return outerUnit(job, state, slot);
      return evalUnit(job, state, slot, heldOut);
    },
    slotsOf: (round) => slotsOfRound(lanes, round),
  };
}

export function slotsOfRound(lanes: number, round: number): Slot[] {
  const slots: Slot[] = round === 1 ? [{ round, kind: 'first', lane: 0 }] : [];
  for (let lane = 0; lane < lanes; lane++) slots.push({ round, kind: 'train', lane });
  slots.push({ round, kind: 'outer', lane: 0 }, { round, kind: 'eval', lane: 0 });
  return slots;
}

function checkJob(job: Job, corpus: Uint8Array): CorpusShape {
  checkText(corpus);
  checkReals(job.training);
  const { T, V } = job.model;
  const { lanes, steps, batches, heldOut } = job.training;
  if (batches !== undefined && batches.length !== lanes) {
    const given = `${batches.length} batch sizes are given for ${lanes} lanes`;
    throw new AtollError('bad_input', `${given}; each lane needs one.`);
  }
  const batch = Math.max(...batchesOf(job.training));
  if (lanes > lanesMax) {
    throw new AtollError('bad_input', `The job has ${lanes} lanes; train.outer takes at most ${lanesMax}.`);
  }
  const blockBytes = Math.max(steps * batch, heldOut) * (T + 1);
  if (blockBytes > limits.blockBytesMax) {
    throw new AtollError(
      'bad_input',
      `A unit would need ${blockBytes} bytes of tokens; one block holds ${limits.blockBytesMax}. Lower steps x batch, heldOut or T.`,
      { details: { blockBytes } },
    );
  }
  const highest = corpus.reduce((most, byte) => Math.max(most, byte), 0);
  if (highest >= V) {
    throw new AtollError(
      'bad_input',
      `The text holds the byte ${highest}, but the model's vocabulary ends at ${V - 1}. Use V = 256.`,
    );
  }
  return corpusShape(job, corpus.byteLength);
}

const lanesMax = 60;

function applyAccepted(
  lanes: number,
  state: PlanState,
  slot: Slot,
  outputs: Readonly<Record<string, Cid>>,
): PlanState {
  if (slot.kind === 'first' || slot.kind === 'eval') {
    const unevaluated = state.unevaluated.filter((e) => e.kind !== slot.kind || e.round !== slot.round);
    return { ...state, unevaluated };
  }
  if (slot.round !== state.round) return state;
  if (slot.kind === 'train') {
    const updates = state.updates.with(slot.lane, required(outputs, 'update'));
    return { ...state, updates };
  }
  const checkpoint = required(outputs, 'checkpoint');
  return {
    ...freshRound(lanes, slot.round + 1, checkpoint),
    unevaluated: [...state.unevaluated, { kind: 'eval', round: slot.round, checkpoint }],
  };
}

function freshRound(lanes: number, round: number, checkpoint: Cid): PlanState {
  return { round, checkpoint, updates: Array<Cid | null>(lanes).fill(null), unevaluated: [] };
}

function required(outputs: Readonly<Record<string, Cid>>, name: string): Cid {
  const cid = outputs[name];
  if (cid === undefined) throw new AtollError('bad_input', `The result has no output named ${name}.`);
  return cid;
}

function dueSlots(state: PlanState, stopAfterRounds = Infinity): Slot[] {
  const slots: Slot[] = state.unevaluated.map(({ kind, round }) => ({ kind, round, lane: 0 }));
  if (state.round > stopAfterRounds) return slots;
  const { round } = state;
  if (state.updates.every((update) => update !== null)) return [...slots, { round, kind: 'outer', lane: 0 }];
  state.updates.forEach((update, lane) => {
    if (update === null) slots.push({ round, kind: 'train', lane });
  });
  return slots;
}

const seedTags = { first: 1, train: 2, outer: 3, eval: 4, order: 5 } as const;

function seedOf(job: Job, slot: Slot): number {
  return mix(job.seed, slot.round, slot.lane, seedTags[slot.kind]);
}

function tokensBlock(bytes: Uint8Array): { cid: Cid; bytes: Uint8Array } {
  return { cid: cidOfSync(bytes, rawCode), bytes };
}

function trainUnit(job: Job, state: PlanState, slot: Slot, bytes: Uint8Array): PlannedUnit {
  const { steps, beta1, beta2, eps, weightDecay, clipNorm } = job.training;
  const batch = batchesOf(job.training)[slot.lane] as number;
  const tokens = tokensBlock(encodeTokens(bytes, job.model));
  const unit: Workunit = {
    v: 1,
    program: `${trainSteps}+${job.policy}`,
    inputs: { checkpoint: state.checkpoint, tokens: tokens.cid },
    params: {
      steps,
      batch,
      ...stepScalars(job.training, slot.round),
      beta1,
      beta2,
      eps,
      weightDecay,
      ...(clipNorm === undefined ? {} : { clipNorm }),
    },
    seed: seedOf(job, slot),
  };
  const operations = trainStepsOperations(job.model, { steps, batch });
  return { slot, unit, blocks: [tokens], operations, memoryBytes: trainMemory(job.model, batch) };
}

function outerUnit(job: Job, state: PlanState, slot: Slot): PlannedUnit {
  const { lanes, steps, outerLr, outerMomentum } = job.training;
  const updates = state.updates.map((update, lane) => [`update${lane}`, update as Cid]);
  const unit: Workunit = {
    v: 1,
    program: trainOuter,
    inputs: { checkpoint: state.checkpoint, ...Object.fromEntries(updates) },
    params: { lanes, steps, outerLr, outerMomentum },
    seed: seedOf(job, slot),
  };
  const operations = trainOuterOperations(job.model, lanes);
  return { slot, unit, blocks: [], operations, memoryBytes: outerMemory(job.model) };
}

function evalUnit(job: Job, state: PlanState, slot: Slot, heldOut: Uint8Array): PlannedUnit {
  const subject = state.unevaluated.find((e) => e.kind === slot.kind && e.round === slot.round);
  const tokens = tokensBlock(encodeTokens(heldOut, job.model));
  const params = { sequences: job.training.heldOut, batch: evalBatch(job) };
  const unit: Workunit = {
    v: 1,
    program: `${evalLoss}+${job.policy}`,
    inputs: { checkpoint: (subject as { checkpoint: Cid }).checkpoint, tokens: tokens.cid },
    params,
    seed: seedOf(job, slot),
  };
  const operations = evalLossOperations(job.model, params);
  return { slot, unit, blocks: [tokens], operations, memoryBytes: evalMemory(job.model, params.batch) };
}

/** The largest divisor of `heldOut` that is no more than the training batch. */
function evalBatch(job: Job): number {
  const { heldOut, batch } = job.training;
  for (let size = Math.min(batch, heldOut); size > 1; size--) if (heldOut % size === 0) return size;
  return 1;
}

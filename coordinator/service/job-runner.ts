/**
 * Keeps one job going: looks at what is accepted, plans what is due, closes rounds. Always from the database, so a restart is nothing special,
 * and always idempotent, so being woken once too often costs only time.
 */
import { type Cid, cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import { codeOf, toProblem } from '#protocol/errors.ts';
import type { RewardsRoot, RoundSummary } from '#protocol/http/api.ts';
import { limits } from '#protocol/limits.ts';
import { merkleTree, resultLeaf } from '#protocol/merkle.ts';
import { decodeResult, encodeWorkunit, workunitId } from '#protocol/messages/workunit.ts';
import { type Plan, type PlanState, type PlannedUnit, slotKey } from '../planner/plan.ts';
import { readLoss } from '../planner/run-job.ts';
import type { Blobs } from '../storage/blobs.ts';
import type { Change, JobRecord, NewUnit, RoundRecord, SlotRecord, Storage } from '../storage/port.ts';
import type { Clock, Logger } from './ports.ts';
import { Outputs } from './outputs.ts';
import type { RewardsBoard } from './rewards-board.ts';
import type { UpdateChain } from './update-chain.ts';

export interface JobRunnerPorts {
  storage: Storage;
  blobs: Blobs;
  clock: Clock;
  log: Logger;
  rewards: RewardsBoard;
  /** Told how checkpoints follow from each other. */
  chain: Pick<UpdateChain, 'note'>;
  onRound: (record: RoundRecord) => void;
  onPlanned: (units: readonly Cid[]) => void;
  onChange: (change: Change) => void;
}

const retryMs = 1_000;

export class JobRunner {
  readonly id: Cid;
  readonly plan: Plan;
  readonly record: JobRecord;
  /** Rounds to compute in all; no new ones are planned beyond. */
  stopAfterRounds: number;
  readonly #ports: JobRunnerPorts;
  readonly #outputs: Outputs;
  /** Slots of open rounds whose units this runner has stored the inputs of. */
  readonly #stored = new Set<string>();
  #running: Promise<void> = Promise.resolve();
  #active = false;
  #recalled = false;
  #again = false;
  #closed = false;
  #retry: NodeJS.Timeout | null = null;

  constructor(record: JobRecord, plan: Plan, stopAfterRounds: number, ports: JobRunnerPorts) {
    this.id = record.id;
    this.record = record;
    this.plan = plan;
    this.stopAfterRounds = stopAfterRounds;
    this.#ports = ports;
    this.#outputs = new Outputs(ports.storage, ports.blobs);
  }

  /** Looks again, now or as soon as the look in progress is over. */
  wake(): void {
    if (this.#closed) return;
    this.#again = true;
    if (!this.#active) this.#running = this.#run();
  }

  /** Resolves when nothing is left to plan for now. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#retry) clearTimeout(this.#retry);
    await this.#running;
  }

  async #run(): Promise<void> {
    this.#active = true;
    while (this.#again && !this.#closed) {
      this.#again = false;
      try {
        await this.#advance();
      } catch (error) {
        if (codeOf(error) === 'not_found') this.#outputs.doubt();
        this.#ports.log.error(
          { job: this.id, problem: toProblem(error) },
          'A job could not go on; trying again.',
        );
        if (!this.#closed) this.#retry = setTimeout(() => this.wake(), retryMs);
      }
    }
    // In the same turn as the last look at `#again`, so that no wake falls between.
    this.#active = false;
  }

  async #advance(): Promise<void> {
    const { storage, clock, onPlanned } = this.#ports;
    const { closed, slots, state } = await this.#look();
    const known = new Set(slots.map((record) => slotKey(record.slot)));
    // Those that are known are stored once too: what they read may have been collected while the job was cancelled.
    const due = this.plan
      .due(state, this.stopAfterRounds)
      .filter((slot) => !known.has(slotKey(slot)) || !this.#stored.has(slotKey(slot)));
    const planned: NewUnit[] = [];
    for (const slot of due) {
      const unit = this.plan.build(state, slot);
      if (!(await this.#unseal(sourcesOf(unit, slots)))) continue;
      planned.push(await this.#store(unit));
      this.#stored.add(slotKey(slot));
    }
    if (planned.length > 0) {
      await storage.addUnits(this.id, planned, clock.now());
      onPlanned(planned.map((unit) => unit.cid));
      // A unit that was computed for another job is accepted already.
      this.#again = true;
    }
    await this.#closeRounds(closed, slots);
  }

  async #look(): Promise<{ closed: number; slots: SlotRecord[]; state: PlanState }> {
    const { storage } = this.#ports;
    const last = (await storage.rounds(this.id, 1))[0];
    const slots = await this.#withOutputs(await storage.slotsAfter(this.id, last?.round ?? 0));
    let state = last ? this.plan.after(last.round, last.checkpoint) : this.plan.start(this.record.initial);
    if (!this.#recalled) await this.#recall(last?.round ?? 0);
    this.#recalled = true;
    for (const record of slots) {
      const { slot, result } = record;
      if (!result || !isUsable(record)) continue;
      const before = state.checkpoint;
      state = this.plan.apply(state, slot, decodeResult(result).outputs);
      if (slot.kind === 'outer') this.#noteUpdate(before, result);
    }
    return { closed: last?.round ?? 0, slots, state };
  }

  /** The updates of rounds that were closed in an earlier life. */
  async #recall(closed: number): Promise<void> {
    const { storage } = this.#ports;
    const first = Math.max(1, closed - limits.syncRoundsMax + 1);
    for (let round = first; round <= closed; round++) {
      const outer = (await storage.slotsOfRound(this.id, round)).find(({ slot }) => slot.kind === 'outer');
      const before =
        round === 1 ? this.record.initial : (await storage.round(this.id, round - 1))?.checkpoint;
      if (outer?.result && before !== undefined) this.#noteUpdate(before, outer.result);
    }
  }

  #noteUpdate(from: Cid, result: Uint8Array): void {
    const { checkpoint, update, packed } = decodeResult(result).outputs;
    const { steps, outerLr, outerMomentum } = this.plan.job.training;
    if (checkpoint === undefined || update === undefined || checkpoint === from) return;
    const coded = packed === undefined ? {} : { packed };
    this.#ports.chain.note({ checkpoint, from, update, ...coded, steps, outerLr, outerMomentum });
  }

  /** A unit that another job has had computed may have lost its outputs since: until they are here again it has no result. */
  async #withOutputs(slots: SlotRecord[]): Promise<SlotRecord[]> {
    const { storage, clock, onChange } = this.#ports;
    const looked: SlotRecord[] = [];
    for (const record of slots) {
      const isLost = record.result !== null && !(await this.#outputs.areHere(record));
      if (isLost && record.phase === 'accepted') {
        const why = 'its outputs have been collected and are wanted again';
        const change = await storage.restore(record.unit, why, clock.now());
        if (change.ok) onChange(change);
      }
      looked.push(isLost ? { ...record, result: null } : record);
    }
    return looked;
  }

  /**
   * Shows results that the plan goes on from. False when they cannot be used as they were read: one is being checked, or they have been sealed
   * until now and are read again.
   */
  async #unseal(records: readonly SlotRecord[]): Promise<boolean> {
    const sealed = records.filter((record) => record.sealed).map((record) => record.unit);
    if (sealed.length === 0) return true;
    if (await this.#ports.storage.unseal(sealed)) this.#again = true;
    return false;
  }

  async #store({ slot, unit, operations, memoryBytes, blocks }: PlannedUnit): Promise<NewUnit> {
    for (const block of blocks) await this.#ports.blobs.put(block.bytes);
    return {
      slot,
      cid: workunitId(unit),
      bytes: encodeWorkunit(unit),
      program: unit.program,
      operations,
      memoryBytes,
      ...(unit.inputs['checkpoint'] === undefined ? {} : { checkpoint: unit.inputs['checkpoint'] }),
      quality: this.plan.job.data?.quality ?? 1_000,
      blocks: blocks.map((block) => block.cid),
    };
  }

  async #closeRounds(closed: number, slots: readonly SlotRecord[]): Promise<void> {
    const { storage, clock, onRound } = this.#ports;
    for (let round = closed + 1; ; round++) {
      const ofRound = slots.filter((record) => record.slot.round === round);
      const complete = ofRound.length === this.plan.slotsOf(round).length;
      if (!complete || !ofRound.every(isSettled)) return;
      if (!(await this.#unseal(ofRound))) return;
      const record = await this.#summarise(round, ofRound);
      const rewards = await this.#reward(record, ofRound);
      await storage.closeRound({ ...record, summary: { ...record.summary, rewards } }, clock.now());
      for (const { slot } of ofRound) this.#stored.delete(slotKey(slot));
      // Another process may have closed it first, with rewards as it found them.
      const kept = (await storage.round(this.id, round)) ?? record;
      if (kept.summary.rewards) await this.#ports.rewards.keep(kept.summary.rewards);
      onRound(kept);
    }
  }

  /** Pays the round's bonus and makes the root over all rewards. Done twice, the second time pays nothing. */
  async #reward({ round, summary }: RoundRecord, slots: readonly SlotRecord[]): Promise<RewardsRoot | null> {
    const { storage, rewards } = this.#ports;
    const before = await this.#lossBefore(round, slots);
    const units = slots.filter(({ slot }) => slot.kind === 'train').map(({ unit }) => unit);
    await storage.bonus({ job: this.id, round, units, before, after: summary.loss });
    return rewards.make();
  }

  /** Held-out loss before a round: that of the round before, or of the initial checkpoint. */
  async #lossBefore(round: number, slots: readonly SlotRecord[]): Promise<number> {
    const first = slots.find(({ slot }) => slot.kind === 'first');
    if (first) return this.#loss(first, 'loss');
    return (await this.#ports.storage.round(this.id, round - 1))?.summary.loss ?? 0;
  }

  async #summarise(round: number, slots: readonly SlotRecord[]): Promise<RoundRecord> {
    const { storage } = this.#ports;
    const outer = slots.find((record) => record.slot.kind === 'outer') as SlotRecord;
    const evaluated = slots.find((record) => record.slot.kind === 'eval') as SlotRecord;
    const trained = slots.filter((record) => record.slot.kind === 'train');
    const checkpoint = outputOf(outer, 'checkpoint');
    const { lanes } = this.plan.job.training;
    const tokens = this.plan.shape.windowsPerRound * this.plan.job.model.T;
    const seconds = elapsedSeconds(trained, outer);
    const laneLosses = await Promise.all(trained.map((record) => this.#loss(record, 'losses')));
    const summary: RoundSummary = {
      round,
      loss: await this.#loss(evaluated, 'loss'),
      trainLoss: finite(laneLosses.reduce((sum, loss) => sum + loss, 0) / laneLosses.length),
      checkpoint,
      lanes,
      tokens,
      seconds,
      tokensPerSecond: tokens / seconds,
      contributors: await storage.contributorsOfRound(this.id, round),
      ...(await storage.counts(this.id, round)),
      anchor: null,
    };
    return { job: this.id, round, root: merkleTree(leavesOf(slots)).root, checkpoint, summary };
  }

  async #loss(record: SlotRecord, name: string): Promise<number> {
    return finite(readLoss(await this.#ports.blobs.get(outputOf(record, name))));
  }
}

/** Accepted, with every check of it seen through. */
function isSettled({ phase, rechecks, result }: SlotRecord): boolean {
  return phase === 'accepted' && rechecks === 0 && result !== null;
}

/** What the plan may go on from: it has been already, or nothing speaks against it. */
function isUsable(record: SlotRecord): boolean {
  return !record.sealed || isSettled(record);
}

/** The slots whose outputs a unit reads. */
function sourcesOf({ unit }: PlannedUnit, slots: readonly SlotRecord[]): SlotRecord[] {
  const inputs = new Set(Object.values(unit.inputs));
  return slots.filter(
    ({ result }) => result && Object.values(decodeResult(result).outputs).some((cid) => inputs.has(cid)),
  );
}

/** The Merkle leaves of a round: (unit, digest) of every accepted result. */
export function leavesOf(slots: readonly SlotRecord[]) {
  return slots.map(({ unit, result }) => resultLeaf(unit, cidOfSync(result as Uint8Array, cborCode)));
}

export function outputOf(record: SlotRecord, name: string): Cid {
  return decodeResult(record.result as Uint8Array).outputs[name] as Cid;
}

/** From the planning of the round's lanes to the acceptance of its new checkpoint; never zero. */
function elapsedSeconds(trained: readonly SlotRecord[], outer: SlotRecord): number {
  const from = Math.min(...trained.map((record) => record.plannedAt));
  return Math.max(1, (outer.acceptedAt ?? from) - from) / 1000;
}

/** JSON has no NaN; a diverged model shows as the largest number. */
function finite(value: number): number {
  return Number.isFinite(value) ? value : Number.MAX_VALUE;
}

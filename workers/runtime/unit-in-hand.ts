/**
 * One lease from its arrival to its commit: decode, fetch the inputs, compute, seal. It ends exactly once: committed, or dropped with or
 * without a `release` frame.
 */
import { AtollError, codeOf, toProblem } from '#protocol/errors.ts';
import type { FrameOf, FromCoordinator, SyncHint } from '#protocol/messages/frames.ts';
import { decodeWorkunit, type Result, type Workunit, workunitId } from '#protocol/messages/workunit.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import { catchUp, filesOf } from './catch-up.ts';
import { fetchBlock, type FetchPorts, UnitStore } from './block-fetcher.ts';
import type { ComputeDevice, SwarmPort } from './ports.ts';
import type { Settlement } from './settlement.ts';
import { orAborted } from './timing.ts';

/**
 * How work on a lease ended. `dropped`: somebody else ended it and has said what there is to say. `late`: the lease ran out first.
 */
export type HandOutcome =
  | { kind: 'committed' }
  | { kind: 'dropped' }
  | { kind: 'late'; error: AtollError }
  | { kind: 'failed'; error: AtollError };

export type HandPorts = FetchPorts & {
  swarm?: Pick<SwarmPort, 'files'>;
  settlement: Pick<Settlement, 'seal' | 'commit' | 'discard'>;
};

export interface HandEvents {
  /** Stage or progress changed. */
  changed(): void;
  downloaded(count: number): void;
}

export class UnitInHand {
  readonly assignment: Hex;
  readonly network: Hex;
  program = '';
  /** The checkpoint it computes on, once it is here. */
  checkpoint: Cid | null = null;
  stage: 'fetching' | 'computing' = 'fetching';
  done = 0;
  total = 0;
  /** How it ended, as soon as that is known. */
  readonly ended: Promise<HandOutcome>;
  /** Settles when the device is free again, which may be later: a program stops between steps only. */
  readonly idle: Promise<unknown>;
  #committed = false;
  #dropped = false;
  #late = false;
  readonly #abort = new AbortController();
  readonly #ports: HandPorts;
  readonly #events: HandEvents;

  constructor(
    lease: FrameOf<FromCoordinator, 'lease'>,
    network: Hex,
    device: ComputeDevice,
    ports: HandPorts,
    events: HandEvents,
  ) {
    this.assignment = lease.assignment;
    this.network = network;
    this.#ports = ports;
    this.#events = events;
    const cancelDeadline = ports.clock.after(lease.leaseMs, () => {
      this.#late = this.#end(
        new AtollError('unavailable', 'The unit was not computed within the time of its lease.'),
      );
    });
    const run = Promise.resolve().then(() => this.#run(lease, device)); // not before the caller holds this
    this.idle = run.catch(() => {});
    this.ended = orAborted(run, this.#abort.signal)
      .then((): HandOutcome => ({ kind: 'committed' }))
      .catch((error: unknown) => this.#outcomeOf(asAtollError(error)))
      .finally(cancelDeadline);
  }

  /** Ends the work; `ended` then says `dropped`. False when it is too late: the commit is out. */
  drop(): boolean {
    this.#dropped = !this.#committed;
    return this.#end(new AtollError('cancelled', 'The unit was dropped.'));
  }

  /** The device went away under the unit. */
  deviceLost(error: AtollError): boolean {
    return this.#end(error);
  }

  #outcomeOf(error: AtollError): HandOutcome {
    if (this.#dropped) return { kind: 'dropped' };
    return { kind: this.#late ? 'late' : 'failed', error };
  }

  #end(reason: AtollError): boolean {
    if (this.#committed) return false;
    this.#abort.abort(reason);
    return true;
  }

  async #run({ unit: bytes, sync }: FrameOf<FromCoordinator, 'lease'>, device: ComputeDevice): Promise<void> {
    const { signal } = this.#abort;
    const store = new UnitStore(this.#ports, signal, (count) => this.#events.downloaded(count));
    try {
      const unit = this.#decode(bytes, device);
      if (sync) await this.#catchUp(unit, sync, device, signal);
      await this.#fetchInputs(unit, signal);
      const result = await this.#execute(unit, device, store, signal);
      const { assignment, network, program } = this;
      const finished = {
        assignment,
        network,
        unit: workunitId(unit),
        program,
        result,
        blocks: store.outputs,
      };
      const replica = await this.#ports.settlement.seal(finished);
      signal.throwIfAborted();
      this.#committed = true; // first: whoever hears of the commit may try to drop the unit at once
      this.#ports.settlement.commit(replica);
    } catch (error) {
      this.#committed = false;
      store.release();
      this.#ports.settlement.discard(this.assignment);
      const known = asAtollError(error);
      this.#abort.abort(known); // stops downloads that still run side by side
      throw known;
    }
  }

  #decode(bytes: Uint8Array, device: ComputeDevice): Workunit {
    const unit = decodeWorkunit(bytes);
    if (!device.programs.includes(unit.program)) {
      throw new AtollError('unknown_program', `This contributor does not know the program ${unit.program}.`);
    }
    this.program = unit.program;
    this.#events.changed();
    return unit;
  }

  async #catchUp(
    { inputs }: Workunit,
    hint: SyncHint,
    device: ComputeDevice,
    signal: AbortSignal,
  ): Promise<void> {
    const checkpoint = inputs['checkpoint'];
    if (checkpoint === undefined) return;
    const onBytes = (count: number) => this.#events.downloaded(count);
    await catchUp(this.#ports, { hint, checkpoint, device, signal, onBytes });
  }

  /** The inputs themselves, side by side; blocks that they link to come when the program asks for them. */
  async #fetchInputs(unit: Workunit, signal: AbortSignal): Promise<void> {
    const cids = [...new Set<Cid>(Object.values(unit.inputs))];
    const onBytes = (count: number) => this.#events.downloaded(count);
    const fetch = async (cid: Cid) => {
      const bytes = await fetchBlock(this.#ports, cid, signal, onBytes);
      this.#ports.swarm?.files(cid, filesOf(cid, bytes));
    };
    await Promise.all(cids.map(fetch));
    this.checkpoint = unit.inputs['checkpoint'] ?? null;
  }

  async #execute(
    unit: Workunit,
    device: ComputeDevice,
    blocks: UnitStore,
    signal: AbortSignal,
  ): Promise<Result> {
    this.stage = 'computing';
    this.#events.changed();
    const progress = (done: number, total: number) => {
      if (signal.aborted) return;
      this.done = done;
      this.total = total;
      this.#events.changed();
    };
    const result = await device.execute(unit, { blocks, signal, progress });
    signal.throwIfAborted();
    return result;
  }
}

function asAtollError(error: unknown): AtollError {
  if (error instanceof AtollError) return error;
  return new AtollError(codeOf(error), toProblem(error).detail, { cause: error });
}

/**
 * The visitor's own part. Nothing of it exists before `start()`: the contributor's code, its workers, the device and the connection are
 * all behind the function that is passed in and called on the click.
 */
import { type Problem, toProblem } from '#protocol/errors.ts';
import type { ContributorInfo } from '#protocol/http/api.ts';
import type { ContributorControl, ContributorView, Phase } from '#workers/runtime/view.ts';
import type { Api } from './api.ts';

export const idleView: ContributorView = {
  phase: 'stopped',
  reason: 'Nothing runs until you press Start.',
  problem: null,
  contributor: null,
  device: null,
  unit: null,
  pending: 0,
  agreed: 0,
  rejected: 0,
  credit: 0,
  bytesDown: 0,
  bytesUp: 0,
};

export interface ContributorPorts {
  /** Loads the contributor's code and makes one, not yet started. */
  create: (choice: { direct: boolean }) => Promise<ContributorControl>;
  api: Pick<Api, 'contributor'>;
  /** What this origin keeps of blocks, while no contributor runs. */
  kept?: { bytes: () => Promise<number>; remove: () => Promise<void> };
}

export type Action = 'start' | 'pause' | 'resume' | 'stop';

const settled: readonly Phase[] = ['stopped', 'failed'];

export class ContributorState {
  view = $state.raw<ContributorView>(idleView);
  /** What the coordinator's ledger says of this contributor; null until the first verdict. */
  recorded = $state.raw<ContributorInfo | null>(null);
  /** Whether Start was ever pressed: from then on there are figures to show. */
  begun = $state(false);
  busy = $state<Action | null>(null);
  /** Bytes of blocks that are kept on this device, as far as is known. */
  keptBytes = $state(0);

  /** Whether other contributors may see this device's address, to exchange blocks with it. Counts from the next Start on. */
  direct = $state(false);

  readonly #ports: ContributorPorts;
  #madeFor: boolean | null = null;
  #control: ContributorControl | null = null;
  #verdicts = 0;

  constructor(ports: ContributorPorts) {
    this.#ports = ports;
  }

  get running(): boolean {
    return !settled.includes(this.view.phase);
  }

  /** What the one main button does now. */
  get mainAction(): Exclude<Action, 'stop'> {
    if (!this.running) return 'start';
    return this.view.phase === 'paused' ? 'resume' : 'pause';
  }

  /** Looks what is kept from an earlier visit. Starts nothing. */
  async lookAtKept(): Promise<void> {
    this.keptBytes = (await this.#ports.kept?.bytes()) ?? 0;
  }

  /** Deletes every block that is kept. False when something is left, as while another tab uses it. */
  async forgetBlocks(): Promise<boolean> {
    try {
      await (this.#control?.forgetBlocks() ?? this.#ports.kept?.remove());
      return true;
    } catch {
      return false;
    } finally {
      if (!this.running) await this.lookAtKept();
    }
  }

  async act(action: Action): Promise<void> {
    if (this.busy !== null) return;
    this.busy = action;
    try {
      await this.#perform(action);
    } catch (error) {
      this.#fail(toProblem(error));
    } finally {
      this.busy = null;
    }
  }

  async #perform(action: Action): Promise<void> {
    if (action === 'start') return this.#start();
    await this.#control?.[action]();
    if (action === 'stop' && this.running) {
      this.view = { ...this.view, phase: 'stopped', reason: 'Stopped.', unit: null };
    }
  }

  async #start(): Promise<void> {
    this.begun = true;
    this.view = { ...this.view, phase: 'starting', reason: 'Loading the contributor.', problem: null };
    if (this.#madeFor !== this.direct) this.#control = null; // it has stopped: nothing runs before Start
    const control = (this.#control ??= await this.#make());
    // A start may go on for as long as the contributor needs for its device and its connection; Stop must work meanwhile.
    control.start().catch((error: unknown) => {
      if (this.#control !== control || this.busy === 'stop') return;
      // Its worker may be gone for good: the next Start makes a new one.
      this.#control = null;
      this.#fail(toProblem(error));
    });
  }

  /** One contributor serves every Start, so that its key and its figures stay. */
  async #make(): Promise<ContributorControl> {
    this.#madeFor = this.direct;
    const control = await this.#ports.create({ direct: this.direct });
    await control.subscribe((view) => {
      // The first view is of a contributor not yet started, which nobody needs to see between click and start.
      if (this.busy !== 'start' || view.phase !== 'stopped') this.#show(view);
    });
    return control;
  }

  #show(view: ContributorView): void {
    this.view = view;
    if (view.kept) this.keptBytes = view.kept.heldBytes;
    const verdicts = view.agreed + view.rejected;
    if (verdicts !== this.#verdicts && view.contributor !== null) {
      this.#verdicts = verdicts;
      void this.#readRecord(view.contributor);
    }
  }

  /** A figure beside the contributor's own count; without an answer the last one stays. */
  async #readRecord(address: string): Promise<void> {
    const fetched = await this.#ports.api.contributor(address, new AbortController().signal);
    if (fetched.ok) this.recorded = fetched.value;
  }

  #fail(problem: Problem): void {
    this.view = { ...this.view, phase: 'failed', reason: problem.title, problem, unit: null };
  }
}

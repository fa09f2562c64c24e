/**
 * The contributor that shells start: `ContributorControl` over ports. Nothing is asked of any port before `start()`; every `start()` is a
 * run of its own, and what a person has seen counted stays counted.
 */
import type { RuntimePorts } from './ports.ts';
import { Run, type Figures } from './run.ts';
import type { ContributorControl, ContributorView } from './view.ts';
import { ViewPublisher } from './view-publisher.ts';

/** What a shell on this thread may ask besides. */
export interface ShellControl extends ContributorControl {
  /** Finishes the unit in hand and takes no more; undone by `resume`. */
  drain(): Promise<void>;
}

/** `notice` is shown in every view. */
export function createRuntime(ports: RuntimePorts, notice?: string): ShellControl {
  return new Contributor(ports, notice);
}

class Contributor implements ShellControl {
  readonly #ports: RuntimePorts;
  readonly #notice: string | undefined;
  readonly #publisher: ViewPublisher;
  readonly #figures: Figures = {
    agreed: 0,
    rejected: 0,
    credit: 0,
    bytesDown: 0,
    bytesUp: 0,
    blockBytesDown: 0,
    connections: 0,
  };
  #run: Run | null = null;
  #stopping: Promise<void> | null = null;

  constructor(ports: RuntimePorts, notice: string | undefined) {
    this.#ports = ports;
    this.#notice = notice;
    this.#publisher = new ViewPublisher(ports.clock, ports.log, () => this.#view());
  }

  /** Begins a run, unless one is going on. Resolves at once: the view tells how it goes. */
  async start(): Promise<void> {
    if (this.#run?.failed) await this.stop();
    await this.#stopping;
    if (this.#run) return;
    const run: Run = new Run(this.#ports, this.#figures, () => {
      if (this.#run === run) this.#publisher.changed();
    });
    this.#run = run;
    run.begin();
  }

  async pause(): Promise<void> {
    this.#run?.pause();
  }

  async drain(): Promise<void> {
    this.#run?.drain();
  }

  async resume(): Promise<void> {
    this.#run?.resume();
  }

  async stop(): Promise<void> {
    const run = this.#run;
    if (!run) return this.#stopping ?? undefined;
    this.#run = null;
    this.#stopping = run.stop();
    this.#publisher.changed();
    await this.#stopping;
    this.#stopping = null;
  }

  async subscribe(onView: (view: ContributorView) => void): Promise<void> {
    this.#publisher.subscribe(onView);
  }

  async forgetBlocks(): Promise<void> {
    await this.#ports.cache.clear?.();
    this.#publisher.changed();
  }

  #view(): ContributorView {
    const view = this.#run?.view() ?? this.#stoppedView();
    const { kept } = this.#ports.cache;
    return {
      ...view,
      ...(kept ? { kept } : {}),
      ...(this.#notice === undefined ? {} : { notice: this.#notice }),
    };
  }

  #stoppedView(): ContributorView {
    return {
      phase: 'stopped',
      reason: 'Nothing runs until you start it.',
      problem: null,
      contributor: this.#ports.signer.address,
      device: null,
      unit: null,
      pending: 0,
      ...this.#figures,
    };
  }
}

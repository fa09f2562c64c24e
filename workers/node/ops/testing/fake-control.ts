/** A contributor for tests: does what it is told and shows the views it is given. */
import type { Clock } from '../../../runtime/ports.ts';
import type { ContributorControl, ContributorView } from '../../../runtime/view.ts';

export const idleView: ContributorView = {
  phase: 'waiting',
  reason: 'Asking for work.',
  problem: null,
  contributor: null,
  device: null,
  checks: { conforming: true, connected: true },
  connections: 1,
  unit: null,
  pending: 0,
  agreed: 0,
  rejected: 0,
  credit: 0,
  bytesDown: 0,
  bytesUp: 0,
};

export class FakeControl implements ContributorControl {
  /** What it was told, in order. */
  readonly calls: string[] = [];
  view: ContributorView;
  readonly #listeners: ((view: ContributorView) => void)[] = [];

  constructor(view: Partial<ContributorView> = {}) {
    this.view = { ...idleView, ...view };
  }

  show(view: Partial<ContributorView>): void {
    this.view = { ...this.view, ...view };
    for (const listener of this.#listeners) listener(this.view);
  }

  async start(): Promise<void> {
    this.calls.push('start');
    this.show({ phase: 'starting' });
  }

  async pause(): Promise<void> {
    this.calls.push('pause');
    this.show({ phase: 'paused', unit: null });
  }

  async resume(): Promise<void> {
    this.calls.push('resume');
    this.show({ phase: 'waiting' });
  }

  async stop(): Promise<void> {
    this.calls.push('stop');
    this.show({ phase: 'stopped' });
  }

  async subscribe(onView: (view: ContributorView) => void): Promise<void> {
    this.#listeners.push(onView);
    onView(this.view);
  }

  async forgetBlocks(): Promise<void> {
    this.calls.push('forgetBlocks');
  }
}

/** Time that passes when it is told to. */
export class FakeClock implements Clock {
  #now = 0;
  readonly #timers = new Map<number, { at: number; run: () => void }>();
  #next = 0;

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const id = this.#next++;
    this.#timers.set(id, { at: this.#now + Math.max(0, ms), run });
    return () => void this.#timers.delete(id);
  }

  /** Runs what falls due on the way, in order. */
  pass(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const [next] = [...this.#timers].sort(([a, x], [b, y]) => x.at - y.at || a - b);
      if (!next || next[1].at > end) break;
      this.#timers.delete(next[0]);
      this.#now = Math.max(this.#now, next[1].at);
      next[1].run();
    }
    this.#now = end;
  }
}

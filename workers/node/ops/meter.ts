/**
 * What a contributor has done since this process began, counted from its views: seconds of computing, units by how they ended, connections.
 *
 * A view's totals are those of the account, which the coordinator says again at every welcome; only what changes in between is counted here.
 */
import type { ContributorView, Phase } from '../../runtime/view.ts';

export const phases: readonly Phase[] = [
  'stopped',
  'starting',
  'probing',
  'connecting',
  'waiting',
  'fetching',
  'computing',
  'paused',
  'failed',
];

export class Meter {
  agreed = 0;
  rejected = 0;
  /** The last view; null before the first. */
  view: ContributorView | null = null;
  readonly #now: () => number;
  #computingMs = 0;
  #since: number | null = null;

  /** `now` in milliseconds from any fixed moment. */
  constructor(now: () => number) {
    this.#now = now;
  }

  seen(view: ContributorView): void {
    const last = this.view;
    this.view = view;
    if (last && last.connections === view.connections) {
      this.agreed += Math.max(0, view.agreed - last.agreed);
      this.rejected += Math.max(0, view.rejected - last.rejected);
    }
    if (view.phase === 'computing') this.#since ??= this.#now();
    else this.#stopClock();
  }

  /** The process that was seen is gone; another begins with the account's totals. */
  forget(): void {
    this.view = null;
    this.#stopClock();
  }

  get computingSeconds(): number {
    const running = this.#since === null ? 0 : this.#now() - this.#since;
    return (this.#computingMs + running) / 1000;
  }

  get reconnects(): number {
    return Math.max(0, (this.view?.connections ?? 0) - 1);
  }

  #stopClock(): void {
    if (this.#since !== null) this.#computingMs += this.#now() - this.#since;
    this.#since = null;
  }
}

/** Whether it takes part, and what is missing otherwise, for /readyz. */
export function readiness(view: ContributorView | null): { ready: boolean; checks: Record<string, boolean> } {
  const checks = {
    device: view?.device != null,
    conforming: view?.checks?.conforming ?? false,
    connected: view?.checks?.connected ?? false,
  };
  return { ready: view?.phase !== 'failed' && Object.values(checks).every(Boolean), checks };
}

/**
 * Sends views out: at once when something a person would notice has changed, else (progress, bytes) not more often than
 * `limits.viewMsMin`. The last view always arrives.
 */
import { limits } from '#protocol/limits.ts';
import type { Clock, Logger } from './ports.ts';
import type { ContributorView } from './view.ts';

export class ViewPublisher {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #current: () => ContributorView;
  readonly #listeners = new Set<(view: ContributorView) => void>();
  #last: ContributorView | null = null;
  #lastAt = 0;
  #cancel: (() => void) | null = null;

  constructor(clock: Clock, log: Logger, current: () => ContributorView) {
    this.#clock = clock;
    this.#log = log;
    this.#current = current;
  }

  subscribe(onView: (view: ContributorView) => void): void {
    this.#listeners.add(onView);
    this.#tell(onView, this.#current());
  }

  /** Something may have changed. */
  changed(): void {
    const view = this.#current();
    if (this.#last === null || isNotable(this.#last, view)) return this.#publish(view);
    if (this.#cancel) return;
    const waitMs = Math.max(0, this.#lastAt + limits.viewMsMin - this.#clock.now());
    this.#cancel = this.#clock.after(waitMs, () => this.#publish(this.#current()));
  }

  #publish(view: ContributorView): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#last = view;
    this.#lastAt = this.#clock.now();
    for (const listener of this.#listeners) this.#tell(listener, view);
  }

  #tell(listener: (view: ContributorView) => void, view: ContributorView): void {
    try {
      listener(view);
    } catch (error) {
      this.#log.error({ err: error }, 'A subscriber of the view failed.');
    }
  }
}

function isNotable(a: ContributorView, b: ContributorView): boolean {
  if (a.phase !== b.phase || a.problem?.detail !== b.problem?.detail) return true;
  if (b.unit === null && a.reason !== b.reason) return true; // with a unit it counts steps
  if (a.connections !== b.connections || a.checks?.connected !== b.checks?.connected) return true;
  if (a.unit?.program !== b.unit?.program || a.device?.label !== b.device?.label) return true;
  return (['contributor', 'pending', 'agreed', 'rejected', 'credit'] as const).some(
    (key) => a[key] !== b[key],
  );
}

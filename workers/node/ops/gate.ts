/**
 * Holds a contributor back for as long as anybody has a reason to: the operator, the schedule, a cap on duty, power or data.
 *
 * It runs when nobody holds it. Who pauses a contributor does it here and not at the control, or the others would undo it. A unit in hand may be finished within
 * the shortest grace of those that hold; between units nothing is lost, since the runtime asks for the next one only after its view has been told.
 */
import type { Clock } from '../../runtime/ports.ts';
import type { ContributorControl, ContributorView } from '../../runtime/view.ts';

/** Who holds, and by which label the metrics say so. */
export type Holder = 'operator' | 'schedule' | 'duty' | 'power' | 'data';

export interface HoldOptions {
  /** So long a unit in hand may take to be finished before it is given back; as long as it takes unless given. */
  graceMs?: number;
  /** Leaves the network too, once what is computed is settled or `settleMsMax` has passed: for caps on data. */
  offline?: boolean;
}

export interface Gate {
  /** `reason` is a full sentence. Holding twice changes the reason and the grace. */
  hold(who: Holder, reason: string, options?: HoldOptions): void;
  letGo(who: Holder): void;
  /** Who holds now, and why. */
  readonly held: ReadonlyMap<Holder, string>;
  /** Nothing is paused or resumed from here on. */
  close(): void;
}

/** After this, what is computed and not settled is left for the next connection. */
const settleMsMax = 10 * 60_000;

interface Hold {
  reason: string;
  since: number;
  graceMs: number;
  offline: boolean;
}

/** `changed` hears when somebody begins or ceases to hold. Subscribes to the control, so it is made before what holds. */
export async function createGate(
  control: ContributorControl,
  clock: Clock,
  changed: (held: ReadonlyMap<Holder, string>) => void = () => {},
): Promise<Gate> {
  const gate = new ContributorGate(control, clock, changed);
  await control.subscribe((view) => gate.onView(view));
  return gate;
}

class ContributorGate implements Gate {
  readonly #control: ContributorControl;
  readonly #clock: Clock;
  readonly #changed: (held: ReadonlyMap<Holder, string>) => void;
  readonly #holds = new Map<Holder, Hold>();
  #view: ContributorView | null = null;
  #paused = false;
  #network: 'online' | 'offline' | 'starting' = 'online';
  #closed = false;
  #cancelTimer: () => void = () => {};

  constructor(
    control: ContributorControl,
    clock: Clock,
    changed: (held: ReadonlyMap<Holder, string>) => void,
  ) {
    this.#control = control;
    this.#clock = clock;
    this.#changed = changed;
  }

  get held(): ReadonlyMap<Holder, string> {
    return new Map([...this.#holds].map(([who, { reason }]) => [who, reason]));
  }

  hold(who: Holder, reason: string, { graceMs = Infinity, offline = false }: HoldOptions = {}): void {
    const known = this.#holds.get(who);
    this.#holds.set(who, { reason, graceMs, offline, since: known?.since ?? this.#clock.now() });
    if (known?.reason !== reason) this.#changed(this.held);
    this.#apply();
  }

  letGo(who: Holder): void {
    if (!this.#holds.delete(who)) return;
    this.#changed(this.held);
    this.#apply();
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer();
  }

  onView(view: ContributorView): void {
    this.#view = view;
    // A run that begins is not paused, whatever the last one was told, or nobody while there was none.
    if (view.phase !== 'stopped' && view.phase !== 'failed') this.#paused = view.phase === 'paused';
    if (this.#holds.size > 0) this.#apply();
  }

  #apply(): void {
    if (this.#closed) return;
    this.#cancelTimer();
    const wantsOffline = [...this.#holds.values()].some(({ offline }) => offline);
    if (this.#network === 'offline' && !wantsOffline) this.#goOnline();
    if (this.#network !== 'online') return;
    if (this.#holds.size === 0) return this.#setPaused(false);
    const waitMs = this.#hasUnit() ? this.#due(({ graceMs }) => graceMs) : 0;
    if (!this.#paused && waitMs > 0) return this.#wake(waitMs);
    this.#setPaused(true);
    if (wantsOffline) this.#goOffline();
  }

  #hasUnit(): boolean {
    return this.#view?.phase === 'fetching' || this.#view?.phase === 'computing';
  }

  /** How long until the first hold has waited long enough. */
  #due(patience: (hold: Hold) => number): number {
    const now = this.#clock.now();
    return Math.min(...[...this.#holds.values()].map((hold) => hold.since + patience(hold) - now));
  }

  #setPaused(paused: boolean): void {
    if (this.#paused === paused) return;
    this.#paused = paused;
    void (paused ? this.#control.pause() : this.#control.resume());
  }

  #goOffline(): void {
    if (this.#network !== 'online') return; // the pause was heard of on the way here
    const waitMs = this.#view?.pending ? this.#due(({ offline }) => (offline ? settleMsMax : Infinity)) : 0;
    if (waitMs > 0) return this.#wake(waitMs);
    this.#network = 'offline';
    void this.#control.stop();
  }

  #goOnline(): void {
    this.#network = 'starting';
    void this.#control.start().then(() => {
      this.#network = 'online';
      this.#apply();
    });
  }

  #wake(waitMs: number): void {
    // Timers hold 31 bits; who waits longer looks in between.
    const ms = Math.min(waitMs, 2 ** 30);
    if (waitMs !== Infinity) this.#cancelTimer = this.#clock.after(ms, () => this.#apply());
  }
}

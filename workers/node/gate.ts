/**
 * Who holds the contributor back, and how: the operator, the schedule, a cap on power. Each holds and lets go for itself; work goes on when nobody
 * holds it. `finish` lets the unit in hand be finished, `give-back` gives it back at once; the stronger wins.
 */
import type { ShellControl } from '../runtime/contributor.ts';

export type HoldMode = 'finish' | 'give-back';

export interface Hold {
  mode: HoldMode;
  /** A full sentence for a person. */
  why: string;
}

type Target = 'run' | HoldMode;

export class Gate {
  readonly #control: Pick<ShellControl, 'pause' | 'drain' | 'resume'>;
  readonly #changed: () => void;
  readonly #holds = new Map<string, Hold>();
  #target: Target = 'run';

  /** `changed` hears when somebody began or ceased to hold. */
  constructor(control: Pick<ShellControl, 'pause' | 'drain' | 'resume'>, changed: () => void = () => {}) {
    this.#control = control;
    this.#changed = changed;
  }

  /** Holds in force, by who holds. */
  get holds(): ReadonlyMap<string, Hold> {
    return this.#holds;
  }

  /** `who` is a word such as `schedule`. Held again by the same, the last counts. */
  async hold(who: string, why: string, mode: HoldMode = 'finish'): Promise<void> {
    const held = this.#holds.get(who);
    if (held?.mode === mode && held.why === why) return;
    this.#holds.set(who, { mode, why });
    await this.#apply();
  }

  async release(who: string): Promise<void> {
    if (this.#holds.delete(who)) await this.#apply();
  }

  async #apply(): Promise<void> {
    const modes = [...this.#holds.values()].map(({ mode }) => mode);
    const target: Target = modes.includes('give-back') ? 'give-back' : (modes[0] ?? 'run');
    this.#changed();
    if (target === this.#target) return;
    this.#target = target;
    if (target === 'give-back') await this.#control.pause();
    else if (target === 'finish') await this.#control.drain();
    else await this.#control.resume();
  }
}

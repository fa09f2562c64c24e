/**
 * The other coordinator processes on the same database, as the service sees them: what they should hear of what happened here, and what is to be
 * done about what happened there. Alone on its database, a process talks to nobody and waits for nobody.
 *
 * Everything said is a hint. What is lost is found again by `resync`, which the service runs every few seconds and after every gap.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { RoundSummary } from '#protocol/http/api.ts';
import { limits } from '#protocol/limits.ts';
import type { FromCoordinator } from '#protocol/messages/frames.ts';
import type { Hex } from 'viem';
import type { BusMessage } from '../bus/messages.ts';
import type { EventBus } from '../bus/port.ts';
import type { Directory } from './directory.ts';
import { pause } from './pause.ts';

type Anchored = NonNullable<RoundSummary['anchor']>;

export interface FellowHooks {
  onUnits(units: readonly Cid[], accepted: boolean): void;
  /** Somebody connected here may hold the outputs of this unit. */
  onAgreed(unit: Cid): void;
  onRound(job: Cid, round: RoundSummary): void;
  onAnchor(job: Cid, round: number, anchor: Anchored): void;
  onJobs(): void;
  onGap(): void;
}

/** How long an answer to "who has this contributor?" may take. */
const seekMs = 1_500;

export class Fellows {
  readonly #bus: EventBus;
  readonly #directory: Directory;
  readonly #hooks: FellowHooks;
  readonly #undo: (() => void)[] = [];
  readonly #sought = new Set<Set<Hex>>();
  readonly #stop = new AbortController();

  constructor(bus: EventBus, directory: Directory, hooks: FellowHooks) {
    this.#bus = bus;
    this.#directory = directory;
    this.#hooks = hooks;
    if (!bus.isShared) return;
    this.#undo.push(
      bus.subscribe((message) => this.#hear(message)),
      bus.onGap(() => hooks.onGap()),
    );
    directory.onAbsent((to, frame) => this.#bus.publish({ t: 'tell', to, frame }));
  }

  get areThere(): boolean {
    return this.#bus.isShared;
  }

  tellUnits(units: Iterable<Cid>, accepted: boolean): void {
    if (!this.areThere) return;
    const list = [...units];
    for (let at = 0; at < list.length; at += limits.busListMax) {
      this.#bus.publish({ t: 'units', units: list.slice(at, at + limits.busListMax), accepted });
    }
  }

  tellAgreed(unit: Cid): void {
    this.#bus.publish({ t: 'agreed', unit });
  }

  tellRound(job: Cid, round: RoundSummary): void {
    this.#bus.publish({ t: 'round', job, round });
  }

  tellAnchor(job: Cid, round: number, anchor: Anchored): void {
    this.#bus.publish({ t: 'anchor', job, round, anchor });
  }

  tellJobs(): void {
    this.#bus.publish({ t: 'jobs' });
  }

  /** Of contributors that are not here any more, those that nobody else has. */
  async seek(gone: readonly Hex[]): Promise<Hex[]> {
    if (gone.length === 0 || !this.areThere) return [...gone];
    const missing = new Set(gone);
    this.#sought.add(missing);
    for (let at = 0; at < gone.length; at += limits.busListMax) {
      this.#bus.publish({ t: 'seek', contributors: gone.slice(at, at + limits.busListMax) });
    }
    await pause(seekMs, this.#stop.signal);
    this.#sought.delete(missing);
    return [...missing].filter((contributor) => !this.#directory.isOnline(contributor));
  }

  close(): void {
    this.#stop.abort();
    for (const undo of this.#undo.splice(0)) undo();
  }

  #hear(message: BusMessage): void {
    switch (message.t) {
      case 'tell':
        return this.#deliver(message.to, message.frame);
      case 'units':
        return this.#hooks.onUnits(message.units, message.accepted);
      case 'agreed':
        return this.#hooks.onAgreed(message.unit);
      case 'round':
        return this.#hooks.onRound(message.job, message.round);
      case 'anchor':
        return this.#hooks.onAnchor(message.job, message.round, message.anchor);
      case 'jobs':
        return this.#hooks.onJobs();
      case 'seek':
        return this.#answer(message.contributors);
      case 'here':
        for (const missing of this.#sought) for (const each of message.contributors) missing.delete(each);
    }
  }

  /** Passed on to who is here and never further: a frame that nobody can take goes round once. */
  #deliver(to: Hex, frame: FromCoordinator): void {
    for (const peer of this.#directory.peersOf(to)) peer.send(frame);
  }

  #answer(contributors: readonly Hex[]): void {
    const here = contributors.filter((contributor) => this.#directory.isOnline(contributor));
    if (here.length > 0) this.#bus.publish({ t: 'here', contributors: here });
  }
}
